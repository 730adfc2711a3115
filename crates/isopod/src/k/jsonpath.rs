//! kubectl's JSONPath templates: text with `{.paths}`, `{range …}…{end}` and `{"text"}`.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Part>),
}

/// A path alone, e.g. `.status.phase`.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Root,
    Key(String),
    All,
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Deep(String),
    Filter(Vec<Step>, Test),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists,
    Compare(&'static str, Value),
}

pub struct Template(Vec<Part>);

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("error parsing jsonpath {template}, {why}")]
pub struct Malformed {
    template: String,
    why: String,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut rest = text;
        let parts = parts(&mut rest, 0);
        parts.map(Self).map_err(|why| Malformed {
            template: text.to_string(),
            why,
        })
    }

    pub fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        render(&self.0, value, value, &mut out);
        out
    }
}

impl Path {
    /// With or without braces and the first dot.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let inner = text
            .trim()
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text.trim());
        let dotted = match inner.starts_with(['.', '[', '$', '@']) {
            true => inner.to_string(),
            false => format!(".{inner}"),
        };
        steps(&dotted).map(Self).map_err(|why| Malformed {
            template: text.to_string(),
            why,
        })
    }

    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        walk(&self.0, value, value)
    }
}

/// A value as kubectl prints it: strings bare, all else as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Nesting of ranges above this is no template that a person wrote.
const MAX_DEPTH: usize = 20;

/// Reads until the text's end, or at depth above 0 until `{end}`.
fn parts(rest: &mut &str, depth: usize) -> Result<Vec<Part>, String> {
    if depth > MAX_DEPTH {
        return Err("ranges are nested too deep".into());
    }
    let mut parts = Vec::new();
    loop {
        let Some(open) = rest.find('{') else {
            if depth > 0 {
                return Err("not terminated range: {end} is missing".into());
            }
            if !rest.is_empty() {
                parts.push(Part::Text(rest.to_string()));
            }
            *rest = "";
            return Ok(parts);
        };
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_string()));
        }
        let close = closing(&rest[open..]).ok_or("unclosed action: } is missing")? + open;
        let action = rest[open + 1..close].trim();
        *rest = &rest[close + 1..];
        if action == "end" {
            return match depth {
                0 => Err("not in range, nothing to end".into()),
                _ => Ok(parts),
            };
        }
        if let Some(path) = action.strip_prefix("range ") {
            let path = Path(steps(path.trim())?);
            parts.push(Part::Range(path, self::parts(rest, depth + 1)?));
        } else {
            for word in words(action) {
                parts.push(match word.chars().next() {
                    Some('"' | '\'') => Part::Text(unquoted(&word)?),
                    _ => Part::Path(Path(steps(&word)?)),
                });
            }
        }
    }
}

/// The `}` that belongs to the `{` at the start; those in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// Split at spaces outside quotes and brackets.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut depth) = (Vec::new(), String::new(), None, 0usize);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, ' ') if depth == 0 => {
                words.push(std::mem::take(&mut word));
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

fn unquoted(word: &str) -> Result<String, String> {
    let quote = word.chars().next().unwrap_or('"');
    let inner = word[1..]
        .strip_suffix(quote)
        .ok_or_else(|| format!("unterminated text {word}"))?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => out.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(other) => other,
                None => return Err(format!("unterminated text {word}")),
            }),
            (c, false) => out.push(c),
        }
    }
    Ok(out)
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '$' => (steps.push(Step::Root), rest = &rest[1..]).1,
            '@' => rest = &rest[1..],
            '.' if rest.starts_with("..") => {
                let (key, after) = key(&rest[2..]);
                steps.push(Step::Deep(key));
                rest = after;
            }
            '.' => {
                let (key, after) = key(&rest[1..]);
                match key.as_str() {
                    "" => {}
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Key(key)),
                }
                rest = after;
            }
            '[' => {
                let close = bracket_end(rest).ok_or_else(|| format!("unterminated array in {text:?}"))?;
                steps.push(bracket(rest[1..close].trim())?);
                rest = &rest[close + 1..];
            }
            _ => return Err(format!("unrecognized character in action: {first:?} in {text:?}")),
        }
    }
    Ok(steps)
}

/// A key up to the next `.` or `[`; `\.` is a dot in it.
fn key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (key, &text[at..]),
            '\\' => key.extend(chars.next().map(|(_, c)| c)),
            c => key.push(c),
        }
    }
    (key, "")
}

fn bracket_end(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            (None, _) => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::All);
    }
    if inner.starts_with(['"', '\'']) {
        return Ok(Step::Key(unquoted(inner)?));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return filter_step(filter.trim());
    }
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map_err(|_| format!("invalid array index {inner:?}"))
    };
    let bound = |text: &str| {
        if text.trim().is_empty() {
            Ok(None)
        } else {
            number(text).map(Some)
        }
    };
    match inner.split_once(':') {
        Some((from, to)) => Ok(Step::Slice(bound(from)?, bound(to)?)),
        None => Ok(Step::Index(number(inner)?)),
    }
}

fn filter_step(text: &str) -> Result<Step, String> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = text.split_once(operator) {
            let right = right.trim();
            let value = match right.chars().next() {
                Some('"' | '\'') => Value::String(unquoted(right)?),
                _ => serde_json::from_str(right)
                    .map_err(|_| format!("unrecognized value {right:?} in a filter"))?,
            };
            return Ok(Step::Filter(steps(left.trim())?, Test::Compare(operator, value)));
        }
    }
    Ok(Step::Filter(steps(text)?, Test::Exists))
}

fn walk<'a>(steps: &[Step], root: &'a Value, start: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![start];
    for step in steps {
        found = found
            .into_iter()
            .flat_map(|value| take(step, root, value))
            .collect();
    }
    found
}

fn take<'a>(step: &Step, root: &'a Value, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Root => vec![root],
        Step::Key(key) => value.get(key).into_iter().collect(),
        Step::All => children(value),
        Step::Index(index) => {
            let list = value.as_array();
            let at = |list: &'a Vec<Value>| {
                let at = if *index < 0 {
                    *index + list.len() as i64
                } else {
                    *index
                };
                usize::try_from(at).ok().and_then(|at| list.get(at))
            };
            list.and_then(at).into_iter().collect()
        }
        Step::Slice(from, to) => {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let bound = |at: Option<i64>, missing: usize| match at {
                None => missing,
                Some(at) if at < 0 => (list.len() as i64 + at).max(0) as usize,
                Some(at) => (at as usize).min(list.len()),
            };
            let (from, to) = (bound(*from, 0), bound(*to, list.len()));
            list.get(from..to).unwrap_or_default().iter().collect()
        }
        Step::Deep(key) => {
            let mut found: Vec<&Value> = value.get(key).into_iter().collect();
            for child in children(value) {
                found.extend(take(step, root, child));
            }
            found
        }
        Step::Filter(path, test) => {
            let passes = |item: &&Value| {
                let found = walk(path, root, item);
                match test {
                    Test::Exists => !found.is_empty(),
                    Test::Compare(operator, wanted) => found.iter().any(|v| holds(v, operator, wanted)),
                }
            };
            value
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .filter(passes)
                .collect()
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn holds(value: &Value, operator: &str, wanted: &Value) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match (value.as_f64(), wanted.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b),
        _ => match (value.as_str(), wanted.as_str()) {
            (Some(a), Some(b)) => Some(a.cmp(b)),
            _ => (value == wanted).then_some(Equal),
        },
    };
    match operator {
        "==" => order == Some(Equal),
        "!=" => order != Some(Equal),
        "<" => order == Some(Less),
        ">" => order == Some(Greater),
        "<=" => matches!(order, Some(Less | Equal)),
        _ => matches!(order, Some(Greater | Equal)),
    }
}

fn render(parts: &[Part], root: &Value, value: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<String> = walk(&path.0, root, value).into_iter().map(shown).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                for item in walk(&path.0, root, value) {
                    render(inner, root, item, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods() -> Value {
        json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "status": {"phase": "Running", "n": 1}},
            {"metadata": {"name": "b"}, "status": {"phase": "Pending", "n": 3}},
        ]})
    }

    #[test]
    fn templates_print_what_kubectl_prints() {
        let cases = [
            ("{.kind}", "List"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.items[0].status}", r#"{"n":1,"phase":"Running"}"#),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[0:1].metadata.name}", "a"),
            (
                "{range .items[*]}{.metadata.name}={.status.phase}{\"\\n\"}{end}",
                "a=Running\nb=Pending\n",
            ),
            ("{.items[?(@.status.phase==\"Pending\")].metadata.name}", "b"),
            ("{.items[?(@.status.n>1)].metadata.name}", "b"),
            ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
            ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
            ("{.items[0]['metadata']['name']}", "a"),
            ("{..name}", "a b"),
            ("{.missing.at.all}", ""),
            ("{$.kind}:{.items[0].metadata.name}!", "List:a!"),
        ];
        for (template, expected) in cases {
            let template_parsed = Template::parse(template).expect(template);
            assert_eq!(template_parsed.render(&pods()), expected, "{template}");
        }
    }

    #[test]
    fn broken_templates_are_told() {
        for template in ["{.a", "{range .items[*]}x", "{end}", "{.a[}", "{.a[x]}", "{%}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }

    #[test]
    fn paths_stand_alone() {
        for text in ["{.status.phase}", ".status.phase", "status.phase"] {
            let path = Path::parse(text).expect(text);
            assert_eq!(path.find(&pods()["items"][0]), [&json!("Running")]);
        }
    }
}
