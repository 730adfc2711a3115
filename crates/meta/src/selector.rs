//! Label and field selectors: parsing as upstream's, matching against parsed labels.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A conjunction of requirements; the empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
    /// A selector that is absent (`null`) matches nothing.
    pub nothing: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    pub key: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    NotExists,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub struct ParseError(pub String);

/// `metav1.LabelSelector` as it stands in specs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelectorSpec {
    #[serde(default)]
    pub match_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub match_expressions: Option<Vec<Expression>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Expression {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub operator: String,
    #[serde(default)]
    pub values: Option<Vec<String>>,
}

/// Limits what one request can make us hold.
const MAX_REQUIREMENTS: usize = 1_000;

impl LabelSelector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn nothing() -> Self {
        Self {
            nothing: true,
            ..Self::default()
        }
    }

    /// All of these labels with exactly these values.
    pub fn of_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let one = |(k, v): (&str, &str)| Requirement {
            key: k.to_string(),
            test: Test::Is(v.to_string()),
        };
        Self {
            requirements: labels.into_iter().map(one).collect(),
            nothing: false,
        }
    }

    /// The selector of a spec; `None` selects nothing.
    pub fn of_spec(spec: Option<&LabelSelectorSpec>) -> Result<Self, ParseError> {
        let Some(spec) = spec else {
            return Ok(Self::nothing());
        };
        let labels = spec
            .match_labels
            .iter()
            .flatten()
            .map(|(k, v)| (k.as_str(), v.as_str()));
        let mut out = Self::of_map(labels);
        for e in spec.match_expressions.iter().flatten() {
            let values = e.values.clone().unwrap_or_default();
            let test = match e.operator.as_str() {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::NotExists,
                other => {
                    return Err(ParseError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            };
            out.requirements.push(Requirement {
                key: e.key.clone(),
                test,
            });
        }
        Ok(out)
    }

    /// `a=b,c!=d,e in (f,g),!h,i>3` as it comes in a query.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut requirements = Vec::new();
        for part in split_top_level(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err(ParseError(format!(
                    "unable to parse requirement: found '', expected: !, identifier, or ',' in {text:?}"
                )));
            }
            requirements.push(parse_requirement(part)?);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(ParseError(format!(
                    "more than {MAX_REQUIREMENTS} label requirements"
                )));
            }
        }
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// `labels` sorted by key, as in `Meta`.
    pub fn matches(&self, labels: &[(Box<str>, Box<str>)]) -> bool {
        let get = |key: &str| {
            labels
                .binary_search_by(|(k, _)| (**k).cmp(key))
                .ok()
                .map(|i| &*labels[i].1)
        };
        !self.nothing && self.requirements.iter().all(|r| r.test.holds(get(&r.key)))
    }

    pub fn matches_map(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|r| r.test.holds(labels.get(&r.key).map(String::as_str)))
    }
}

/// Prints the selector as `status.selector` and `kubectl get` show it.
impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted: Vec<&Requirement> = self.requirements.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for (i, Requirement { key, test }) in sorted.into_iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match test {
                Test::Is(v) => write!(f, "{key}={v}")?,
                Test::IsNot(v) => write!(f, "{key}!={v}")?,
                Test::In(v) => write!(f, "{key} in ({})", sorted_values(v))?,
                Test::NotIn(v) => write!(f, "{key} notin ({})", sorted_values(v))?,
                Test::Exists => write!(f, "{key}")?,
                Test::NotExists => write!(f, "!{key}")?,
                Test::GreaterThan(n) => write!(f, "{key}>{n}")?,
                Test::LessThan(n) => write!(f, "{key}<{n}")?,
            }
        }
        Ok(())
    }
}

fn sorted_values(values: &[String]) -> String {
    let mut v = values.to_vec();
    v.sort();
    v.join(",")
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::Is(wanted) => value == Some(wanted),
            Self::IsNot(other) => value != Some(other),
            Self::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists => value.is_some(),
            Self::NotExists => value.is_none(),
            Self::GreaterThan(n) => number().is_some_and(|v| v > *n),
            Self::LessThan(n) => number().is_some_and(|v| v < *n),
        }
    }
}

/// Splits at commas that are not inside parentheses.
fn split_top_level(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, ParseError> {
    let checked_key = |key: &str| {
        let key = key.trim();
        match crate::name::check_qualified_name(key).first() {
            None => Ok(key.to_string()),
            Some(e) => Err(ParseError(format!("key: Invalid value: {key:?}: {e}"))),
        }
    };
    let checked_value = |value: &str| {
        let value = value.trim();
        match crate::name::check_label_value(value).first() {
            None => Ok(value.to_string()),
            Some(e) => Err(ParseError(format!("values[0]: Invalid value: {value:?}: {e}"))),
        }
    };
    if let Some(key) = part.strip_prefix('!')
        && !key.starts_with('=')
    {
        return Ok(Requirement {
            key: checked_key(key)?,
            test: Test::NotExists,
        });
    }
    if let Some(requirement) = parse_set(part, &checked_key, &checked_value)? {
        return Ok(requirement);
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let value = checked_value(value)?;
            let test = match negative {
                true => Test::IsNot(value),
                false => Test::Is(value),
            };
            return Ok(Requirement {
                key: checked_key(key)?,
                test,
            });
        }
    }
    for (operator, make) in [(">", Test::GreaterThan as fn(i64) -> Test), ("<", Test::LessThan)] {
        if let Some((key, value)) = part.split_once(operator) {
            let n = value.trim().parse().map_err(|_| {
                ParseError(format!(
                    "for 'Gt', 'Lt' operators, the value must be an integer: {value:?}"
                ))
            })?;
            return Ok(Requirement {
                key: checked_key(key)?,
                test: make(n),
            });
        }
    }
    Ok(Requirement {
        key: checked_key(part)?,
        test: Test::Exists,
    })
}

/// `key in (a,b)` and `key notin (a,b)`.
fn parse_set(
    part: &str,
    key: &dyn Fn(&str) -> Result<String, ParseError>,
    value: &dyn Fn(&str) -> Result<String, ParseError>,
) -> Result<Option<Requirement>, ParseError> {
    let Some((left, list)) = part.split_once('(') else {
        return Ok(None);
    };
    let list = list.strip_suffix(')').ok_or_else(|| {
        ParseError(format!(
            "unable to parse requirement: found '', expected: ',' or ')' in {part:?}"
        ))
    })?;
    let values = list.split(',').map(value).collect::<Result<Vec<_>, _>>()?;
    let left = left.trim();
    let (name, operator) = left.rsplit_once(char::is_whitespace).unwrap_or((left, ""));
    let test = match operator {
        "in" => Test::In(values),
        "notin" => Test::NotIn(values),
        other => {
            return Err(ParseError(format!(
                "unable to parse requirement: found '{other}', expected: in, notin, =, ==, !=, gt, lt"
            )));
        }
    };
    Ok(Some(Requirement {
        key: key(name)?,
        test,
    }))
}

/// `metadata.name=x,status.phase!=Running`: a conjunction of equalities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSelector {
    pub terms: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    pub equal: bool,
}

impl FieldSelector {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (field, value, equal) = match part.split_once("!=") {
                Some((f, v)) => (f, v, false),
                None => match part.split_once("==").or_else(|| part.split_once('=')) {
                    Some((f, v)) => (f, v, true),
                    None => {
                        return Err(ParseError(format!(
                            "invalid selector: '{text}'; can't understand '{part}'"
                        )));
                    }
                },
            };
            terms.push(FieldTerm {
                field: field.to_string(),
                value: value.to_string(),
                equal,
            });
            if terms.len() > MAX_REQUIREMENTS {
                return Err(ParseError(format!("more than {MAX_REQUIREMENTS} field terms")));
            }
        }
        Ok(Self { terms })
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// `get` gives a field's value as text; a missing field is the empty text, as upstream.
    pub fn matches(&self, get: impl Fn(&str) -> String) -> bool {
        self.terms.iter().all(|t| (get(&t.field) == t.value) == t.equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Box<str>)> {
        let mut out: Vec<(Box<str>, Box<str>)> =
            pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        out.sort();
        out
    }

    #[test]
    fn every_form_parses_matches_and_prints() {
        for (text, hit, miss, shown) in [
            ("a=b", ("a", "b"), ("a", "c"), "a=b"),
            ("a==b", ("a", "b"), ("b", "b"), "a=b"),
            ("a != b", ("a", "c"), ("a", "b"), "a!=b"),
            ("a in (b, c)", ("a", "c"), ("a", "d"), "a in (b,c)"),
            ("a notin (b)", ("x", "y"), ("a", "b"), "a notin (b)"),
            ("a in (b)", ("a", "b"), ("a", "c"), "a in (b)"),
            ("example.com/a", ("example.com/a", ""), ("a", ""), "example.com/a"),
            ("!a", ("b", ""), ("a", ""), "!a"),
            ("a>3", ("a", "4"), ("a", "3"), "a>3"),
        ] {
            let selector = LabelSelector::parse(text).expect(text);
            assert!(selector.matches(&labels(&[hit])), "{text} should match {hit:?}");
            assert!(
                !selector.matches(&labels(&[miss])),
                "{text} should not match {miss:?}"
            );
            assert_eq!(selector.to_string(), shown);
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["a in b", "a in (b", ",", "a=b,,c", "/a=b", "a=b c", "a>x"] {
            assert!(LabelSelector::parse(text).is_err(), "{text} should not parse");
        }
    }
}
