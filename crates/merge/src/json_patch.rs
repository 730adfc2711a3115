//! JSON Patch (RFC 6902) over `serde_json::Value`, bounded in operations, copied bytes and depth.
//! Array indexes follow upstream's library: `-` appends, negative ones count from the end.

use serde_json::{Map, Value};

/// Most operations in one patch; upstream's `maxJSONPatchOperations`.
pub const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that all `copy` operations of one patch may add together; upstream's `JSONPatchMaxCopyBytes`.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// Deepest nesting of lists and maps that a patch may build: the most that serde_json reads back.
pub const MAX_DEPTH: usize = 127;
/// Most values that the operations of one patch may visit together (comparing, copying, shifting array items).
/// A 3 MiB body cannot come near it with honest operations; it stops 10,000 tests of one huge document.
pub const MAX_WORK: usize = 10_000_000;
/// Shifting this many array items costs about as much as visiting one value.
const SHIFTS_PER_VISIT: usize = 8;

/// Why a patch was refused. The variant decides the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchError {
    /// 400 BadRequest: the patch document itself is not a JSON Patch.
    #[error("{0}")]
    Malformed(String),
    /// 413 RequestEntityTooLarge.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// 422 Invalid with [`crate::REJECTED`]: a `test` did not hold. The text is for logs.
    #[error("testing value {0} failed: test failed")]
    TestFailed(String),
    /// 422 Invalid with [`crate::REJECTED`]: an operation cannot be done on this object. The text is for logs.
    #[error("{0}")]
    NotApplicable(String),
}

use JsonPatchError::{Malformed, NotApplicable, TestFailed};

/// Applies `patch` (a JSON array of operations) to `doc`; on an error nothing of `doc` may be used.
///
/// # Errors
/// See [`JsonPatchError`].
pub fn apply(doc: &mut Value, patch: &Value) -> Result<(), JsonPatchError> {
    let ops = patch.as_array().ok_or_else(|| {
        Malformed("error decoding patch: a JSON patch must be an array of operations".into())
    })?;
    if ops.len() > MAX_OPERATIONS {
        return Err(JsonPatchError::TooManyOperations(ops.len()));
    }
    let ops = ops
        .iter()
        .enumerate()
        .map(|(i, op)| Operation::decode(i, op))
        .collect::<Result<Vec<_>, _>>()?;
    let mut budget = Budget {
        copied_bytes: 0,
        work: 0,
    };
    ops.into_iter().try_for_each(|op| op.run(doc, &mut budget))
}

struct Budget {
    copied_bytes: usize,
    work: usize,
}

impl Budget {
    fn copy(&mut self, size_bytes: usize) -> Result<(), JsonPatchError> {
        self.copied_bytes += size_bytes;
        if self.copied_bytes > MAX_COPIED_BYTES {
            return Err(NotApplicable(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {MAX_COPIED_BYTES}",
                self.copied_bytes
            )));
        }
        Ok(())
    }

    fn work(&mut self, values: usize) -> Result<(), JsonPatchError> {
        self.work += values;
        if self.work > MAX_WORK {
            return Err(NotApplicable(format!(
                "the operations of the patch visit more than {MAX_WORK} values; send smaller patches"
            )));
        }
        Ok(())
    }
}

enum Operation<'p> {
    Add(Pointer<'p>, &'p Value),
    Remove(Pointer<'p>),
    Replace(Pointer<'p>, &'p Value),
    Move { from: Pointer<'p>, path: Pointer<'p> },
    Copy { from: Pointer<'p>, path: Pointer<'p> },
    Test(Pointer<'p>, &'p Value),
}

impl<'p> Operation<'p> {
    fn decode(index: usize, op: &'p Value) -> Result<Self, JsonPatchError> {
        let op = op.as_object().ok_or_else(|| {
            Malformed(format!(
                "error decoding patch: operation {index} is not an object"
            ))
        })?;
        let path = || Pointer::decode(index, op, "path");
        let from = || Pointer::decode(index, op, "from");
        // Upstream reads a missing value as null.
        let value = op.get("value").unwrap_or(&Value::Null);
        Ok(match op.get("op").and_then(Value::as_str) {
            Some("add") => Operation::Add(path()?, value),
            Some("remove") => Operation::Remove(path()?),
            Some("replace") => Operation::Replace(path()?, value),
            Some("move") => Operation::Move {
                from: from()?,
                path: path()?,
            },
            Some("copy") => Operation::Copy {
                from: from()?,
                path: path()?,
            },
            Some("test") => Operation::Test(path()?, value),
            Some(other) => return Err(NotApplicable(format!("Unexpected kind: {other}"))),
            None => return Err(NotApplicable("Unexpected kind: unknown".into())),
        })
    }

    fn run(self, doc: &mut Value, budget: &mut Budget) -> Result<(), JsonPatchError> {
        match self {
            Operation::Add(path, value) => add(doc, &path, value.clone(), budget),
            Operation::Remove(path) => remove(doc, &path, budget).map(drop),
            Operation::Replace(path, value) => {
                path.allows(value, budget)?;
                let slot = path.find_mut(doc).ok_or_else(|| missing("replace", path.text))?;
                *slot = value.clone();
                Ok(())
            }
            Operation::Move { from, path } => {
                if path.is_inside(&from) {
                    return Err(NotApplicable(format!(
                        "move operation does not apply: {} lies inside {}",
                        path.text, from.text
                    )));
                }
                let value = remove(doc, &from, budget)?;
                add(doc, &path, value, budget)
            }
            Operation::Copy { from, path } => {
                let value = from.find(doc).ok_or_else(|| missing("copy", from.text))?;
                let size = Size::of(value);
                budget.copy(size.bytes)?;
                let value = value.clone();
                add(doc, &path, value, budget)
            }
            Operation::Test(path, expected) => {
                // As upstream: a field that is not there equals null.
                let actual = path.find(doc).unwrap_or(&Value::Null);
                budget.work(Size::of(expected).values)?;
                if crate::value::same(actual, expected) {
                    Ok(())
                } else {
                    Err(TestFailed(path.text.to_owned()))
                }
            }
        }
    }
}

fn add(doc: &mut Value, path: &Pointer<'_>, value: Value, budget: &mut Budget) -> Result<(), JsonPatchError> {
    path.allows(&value, budget)?;
    let Some((last, parents)) = path.tokens.split_last() else {
        *doc = value;
        return Ok(());
    };
    match find_mut(doc, parents) {
        Some(Value::Object(map)) => {
            map.insert(last.clone(), value);
        }
        Some(Value::Array(items)) => {
            let index = if last == "-" {
                items.len()
            } else {
                array_index(last, items.len() + 1).ok_or_else(|| bad_index("add", path.text))?
            };
            budget.work((items.len() - index) / SHIFTS_PER_VISIT)?;
            items.insert(index, value);
        }
        _ => return Err(missing("add", path.text)),
    }
    Ok(())
}

fn remove(doc: &mut Value, path: &Pointer<'_>, budget: &mut Budget) -> Result<Value, JsonPatchError> {
    let (last, parents) = path.tokens.split_last().ok_or_else(|| {
        NotApplicable("remove operation does not apply: cannot remove the whole object".into())
    })?;
    match find_mut(doc, parents) {
        Some(Value::Object(map)) => map.remove(last).ok_or_else(|| missing("remove", path.text)),
        Some(Value::Array(items)) => {
            let index = array_index(last, items.len()).ok_or_else(|| bad_index("remove", path.text))?;
            budget.work((items.len() - index) / SHIFTS_PER_VISIT)?;
            Ok(items.remove(index))
        }
        _ => Err(missing("remove", path.text)),
    }
}

fn missing(op: &str, path: &str) -> JsonPatchError {
    NotApplicable(format!(
        "{op} operation does not apply: doc is missing path: {path}: missing value"
    ))
}

fn bad_index(op: &str, path: &str) -> JsonPatchError {
    NotApplicable(format!(
        "{op} operation does not apply: {path}: invalid array index"
    ))
}

struct Pointer<'p> {
    text: &'p str,
    tokens: Vec<String>,
}

impl<'p> Pointer<'p> {
    fn decode(index: usize, op: &'p Map<String, Value>, member: &str) -> Result<Self, JsonPatchError> {
        let text = op.get(member).and_then(Value::as_str).ok_or_else(|| {
            NotApplicable(format!(
                "operation {index} failed to decode {member}: missing value"
            ))
        })?;
        if text.is_empty() {
            return Ok(Pointer {
                text,
                tokens: Vec::new(),
            });
        }
        let rest = text.strip_prefix('/').ok_or_else(|| {
            NotApplicable(format!(
                "operation {index}: {member} {text:?} must be empty or start with \"/\""
            ))
        })?;
        Ok(Pointer {
            text,
            tokens: rest
                .split('/')
                .map(|t| t.replace("~1", "/").replace("~0", "~"))
                .collect(),
        })
    }

    fn find<'d>(&self, doc: &'d Value) -> Option<&'d Value> {
        self.tokens.iter().try_fold(doc, |at, token| match at {
            Value::Object(map) => map.get(token),
            Value::Array(items) => items.get(array_index(token, items.len())?),
            _ => None,
        })
    }

    fn find_mut<'d>(&self, doc: &'d mut Value) -> Option<&'d mut Value> {
        find_mut(doc, &self.tokens)
    }

    fn is_inside(&self, other: &Pointer<'_>) -> bool {
        self.tokens.len() > other.tokens.len() && self.tokens.starts_with(&other.tokens)
    }

    /// Refuses a value that would nest deeper than the parser would accept at this place.
    fn allows(&self, value: &Value, budget: &mut Budget) -> Result<(), JsonPatchError> {
        let size = Size::of(value);
        budget.work(size.values)?;
        if self.tokens.len() + size.depth > MAX_DEPTH {
            return Err(NotApplicable(format!(
                "{}: the value would nest deeper than {MAX_DEPTH} levels",
                self.text
            )));
        }
        Ok(())
    }
}

fn find_mut<'d>(doc: &'d mut Value, tokens: &[String]) -> Option<&'d mut Value> {
    tokens.iter().try_fold(doc, |at, token| match at {
        Value::Object(map) => map.get_mut(token),
        Value::Array(items) => {
            let index = array_index(token, items.len())?;
            items.get_mut(index)
        }
        _ => None,
    })
}

/// The index that `token` names in an array with `len` places; negative ones count from the end.
fn array_index(token: &str, len: usize) -> Option<usize> {
    let index: i64 = token.parse().ok()?;
    let len = i64::try_from(len).ok()?;
    let index = if index < 0 { index + len } else { index };
    (0..len).contains(&index).then_some(index)?.try_into().ok()
}

/// What a value costs: nesting, number of values, and about the bytes it would print as.
struct Size {
    depth: usize,
    values: usize,
    bytes: usize,
}

impl Size {
    fn of(value: &Value) -> Size {
        let mut size = Size {
            depth: 0,
            values: 1,
            bytes: 2,
        };
        let mut grow = |child: &Value, key_bytes: usize| {
            let child = Size::of(child);
            size.depth = size.depth.max(child.depth);
            size.values += child.values;
            size.bytes += child.bytes + key_bytes;
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| grow(v, k.len() + 4)),
            Value::Array(items) => items.iter().for_each(|v| grow(v, 1)),
            Value::String(s) => {
                return Size {
                    depth: 0,
                    values: 1,
                    bytes: s.len() + 2,
                };
            }
            _ => {
                return Size {
                    depth: 0,
                    values: 1,
                    bytes: 8,
                };
            }
        }
        size.depth += 1;
        size
    }
}

#[cfg(test)]
#[path = "json_patch_tests.rs"]
mod tests;
