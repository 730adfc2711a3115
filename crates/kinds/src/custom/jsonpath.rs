//! JSONPath as `kubectl` and the columns of custom resources use it: members, indices, slices, wildcards, unions, filters
//! and recursive descent. Source: the JSONPath page of the Kubernetes documentation.

use serde_json::Value;
use std::cmp::Ordering;

/// A path that was read; finds values in objects.
#[derive(Debug, Clone)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Member(String),
    /// All members or items.
    Every,
    /// All that is below, and the value itself.
    Below,
    Items(Slice),
    Union(Vec<JsonPath>),
    Filter(Box<Filter>),
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    from: Option<i64>,
    to: Option<i64>,
    step: Option<i64>,
    /// One index, not a range.
    single: bool,
}

#[derive(Debug, Clone)]
struct Filter {
    left: Operand,
    /// Without one it is asked whether the left side is there.
    compare: Option<(Compare, Operand)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
enum Operand {
    Path(JsonPath),
    Constant(Value),
}

/// How many values one path may find, and how many steps it may have.
const FOUND_MAX: usize = 10_000;
const STEPS_MAX: usize = 256;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAPath(String);

impl JsonPath {
    /// Reads `.spec.items[*].name`, with or without `$` or `@` in front.
    pub fn parse(text: &str) -> Result<Self, NotAPath> {
        let mut reader = Reader { rest: text.trim() };
        let path = reader.path()?;
        match reader.rest {
            "" => Ok(path),
            rest => Err(NotAPath(format!("unrecognized character in action: {rest:?}"))),
        }
    }

    /// All values that the path leads to, in order.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut here = vec![value];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in here {
                step.take(value, &mut next);
                next.truncate(FOUND_MAX);
            }
            here = next;
        }
        here
    }
}

impl Step {
    fn take<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        match self {
            Self::Member(name) => found.extend(value.get(name)),
            Self::Every => found.extend(children(value)),
            Self::Below => below(value, found),
            Self::Items(slice) => slice.take(value, found),
            Self::Union(paths) => paths.iter().for_each(|path| found.extend(path.find(value))),
            Self::Filter(filter) => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.filter(|item| filter.holds(item)));
            }
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn below<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    if found.len() < FOUND_MAX {
        found.push(value);
        children(value).into_iter().for_each(|child| below(child, found));
    }
}

impl Slice {
    fn take<'v>(self, value: &'v Value, found: &mut Vec<&'v Value>) {
        let Some(items) = value.as_array() else { return };
        let size = items.len() as i64;
        let at = |n: i64| if n < 0 { n + size } else { n };
        let from = at(self.from.unwrap_or(0));
        if self.single {
            found.extend(usize::try_from(from).ok().and_then(|i| items.get(i)));
            return;
        }
        let to = self.to.map_or(size, at).min(size);
        let step = usize::try_from(self.step.unwrap_or(1)).unwrap_or(1).max(1);
        let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) else {
            return;
        };
        found.extend(items.iter().take(to).skip(from).step_by(step));
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let Some(left) = self.left.value(item) else {
            return false;
        };
        let Some((compare, right)) = &self.compare else {
            return true;
        };
        right.value(item).is_some_and(|right| compare.holds(left, right))
    }
}

impl Operand {
    fn value<'v>(&'v self, item: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Constant(value) => Some(value),
            Self::Path(path) => path.find(item).into_iter().next(),
        }
    }
}

impl Compare {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            _ => None,
        };
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::Unequal => order.is_some_and(Ordering::is_ne),
            Self::Less => order.is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order.is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn path(&mut self) -> Result<JsonPath, NotAPath> {
        let mut steps = Vec::new();
        if !self.eat("$") {
            self.eat("@");
        }
        loop {
            if steps.len() > STEPS_MAX {
                return Err(NotAPath("the path has too many steps".into()));
            }
            if self.eat("..") {
                steps.push(Step::Below);
                if !self.rest.starts_with('[') {
                    steps.push(self.member()?);
                }
            } else if self.eat(".") {
                if !self.rest.starts_with('[') && !self.rest.is_empty() {
                    steps.push(self.member()?);
                }
            } else if self.eat("[") {
                steps.push(self.brackets()?);
            } else if steps.is_empty() && self.rest.starts_with(is_name) {
                steps.push(self.member()?);
            } else {
                return Ok(JsonPath { steps });
            }
        }
    }

    fn member(&mut self) -> Result<Step, NotAPath> {
        if self.eat("*") {
            return Ok(Step::Every);
        }
        let mut name = String::new();
        loop {
            match self.rest.chars().next() {
                Some('\\') => {
                    self.rest = &self.rest[1..];
                    if let Some(c) = self.rest.chars().next() {
                        name.push(c);
                        self.rest = &self.rest[c.len_utf8()..];
                    }
                }
                Some(c) if is_name(c) => {
                    name.push(c);
                    self.rest = &self.rest[c.len_utf8()..];
                }
                _ if name.is_empty() => {
                    return Err(NotAPath(format!(
                        "unrecognized character in action: {:?}",
                        self.rest
                    )));
                }
                _ => return Ok(Step::Member(name)),
            }
        }
    }

    /// What stands between brackets, of which the first is read.
    fn brackets(&mut self) -> Result<Step, NotAPath> {
        self.blanks();
        if self.eat("?(") {
            let filter = self.filter()?;
            self.close(")")?;
            self.close("]")?;
            return Ok(Step::Filter(Box::new(filter)));
        }
        if self.eat("*") {
            self.close("]")?;
            return Ok(Step::Every);
        }
        let mut parts = Vec::new();
        loop {
            parts.push(self.part()?);
            self.blanks();
            if self.eat(",") {
                self.blanks();
                continue;
            }
            self.close("]")?;
            break;
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(Step::Union(
                parts.into_iter().map(|s| JsonPath { steps: vec![s] }).collect(),
            )),
        }
    }

    fn part(&mut self) -> Result<Step, NotAPath> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            return Ok(Step::Member(self.quoted(quote)?));
        }
        let end = self
            .rest
            .find([']', ','])
            .ok_or_else(|| NotAPath("unterminated array".into()))?;
        let text = self.rest[..end].trim();
        self.rest = &self.rest[end..];
        let invalid = || NotAPath(format!("invalid array index {text}"));
        let number = |part: &str| match part.trim() {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| invalid()),
        };
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [one] => Ok(Step::Items(Slice {
                from: Some(number(one)?.ok_or_else(invalid)?),
                single: true,
                ..Slice::default()
            })),
            [from, to] => Ok(Step::Items(Slice {
                from: number(from)?,
                to: number(to)?,
                ..Slice::default()
            })),
            [from, to, step] => Ok(Step::Items(Slice {
                from: number(from)?,
                to: number(to)?,
                step: number(step)?,
                single: false,
            })),
            _ => Err(invalid()),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, NotAPath> {
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err(NotAPath("unterminated quoted string".into()))
    }

    fn filter(&mut self) -> Result<Filter, NotAPath> {
        let left = self.operand()?;
        self.blanks();
        const SIGNS: [(&str, Compare); 6] = [
            ("==", Compare::Equal),
            ("!=", Compare::Unequal),
            ("<=", Compare::LessOrEqual),
            (">=", Compare::GreaterOrEqual),
            ("<", Compare::Less),
            (">", Compare::Greater),
        ];
        let sign = SIGNS.iter().find(|(sign, _)| self.rest.starts_with(sign));
        let compare = match sign {
            Some((sign, compare)) => {
                self.rest = &self.rest[sign.len()..];
                Some((*compare, self.operand()?))
            }
            None => None,
        };
        self.blanks();
        Ok(Filter { left, compare })
    }

    fn operand(&mut self) -> Result<Operand, NotAPath> {
        self.blanks();
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => Ok(Operand::Constant(self.quoted(quote)?.into())),
            Some('@' | '$' | '.') => Ok(Operand::Path(self.path()?)),
            _ => {
                let end = self
                    .rest
                    .find([')', ' ', '=', '!', '<', '>'])
                    .unwrap_or(self.rest.len());
                let text = &self.rest[..end];
                self.rest = &self.rest[end..];
                match serde_json::from_str(text) {
                    Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Null)) => {
                        Ok(Operand::Constant(value))
                    }
                    _ => Err(NotAPath(format!("unrecognized identifier {text}"))),
                }
            }
        }
    }

    fn close(&mut self, end: &str) -> Result<(), NotAPath> {
        self.blanks();
        match self.eat(end) {
            true => Ok(()),
            false if end == ")" => Err(NotAPath("unterminated filter".into())),
            false => Err(NotAPath("unterminated array".into())),
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '*' | '/' | ':' | '#' | '\\') && c != '*'
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = json!({"spec": {"replicas": 3, "a.b": "dotted", "names": ["x", "y", "z"]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "n": 1}, {"type": "Synced", "status": "False", "n": 2}]}});
        let found = |path: &str| -> String {
            let path = JsonPath::parse(path).map_err(|e| e.to_string());
            match path {
                Ok(path) => {
                    Value::from(path.find(&object).into_iter().cloned().collect::<Vec<_>>()).to_string()
                }
                Err(why) => why,
            }
        };
        let cases = [
            (".spec.replicas", "[3]"),
            ("$.spec.names[-1]", r#"["z"]"#),
            (".spec.names[0:2]", r#"["x","y"]"#),
            (".spec.names[0,2]", r#"["x","z"]"#),
            (".spec['a.b']", r#"["dotted"]"#),
            (r".spec.a\.b", r#"["dotted"]"#),
            (r#".status.conditions[?(@.type=="Ready")].status"#, r#"["True"]"#),
            (".status.conditions[?(@.type=='Ready')].status", r#"["True"]"#),
            (".status.conditions[?(@.n > 1)].type", r#"["Synced"]"#),
            (".status.conditions[*].type", r#"["Ready","Synced"]"#),
            ("..type", r#"["Ready","Synced"]"#),
            (".missing.deeper", "[]"),
            (".spec[", "unterminated array"),
            (".spec[?(@.x", "unterminated filter"),
        ];
        for (path, wanted) in cases {
            assert_eq!(found(path), wanted, "{path}");
        }
    }
}
