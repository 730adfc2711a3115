//! Paths into objects by their schema (`.spec.color`, `.data['a.b']`), as rules and selectable fields name them.

use super::schema::{Additional, Schema};

/// The place that a path names: its text as field errors write it, and its schema if that is known.
pub(super) struct Place<'a> {
    pub(super) text: String,
    pub(super) in_metadata: bool,
    pub(super) schema: Option<Schema<'a>>,
}

/// Follows a path. `brackets`: `['…']` may be used.
pub(super) fn follow<'a>(
    path: &str,
    schema: Option<Schema<'a>>,
    brackets: bool,
) -> Result<Place<'a>, String> {
    let mut place = Place {
        text: String::new(),
        in_metadata: false,
        schema,
    };
    let mut tokens = Tokens(path);
    let end = || "unexpected end of JSON path".to_string();
    while let Some(token) = tokens.next() {
        match token {
            "[" if !brackets => return Err("array notation is not allowed".into()),
            "[" => {
                let token = tokens.next().ok_or_else(end)?;
                let quoted = token
                    .strip_prefix('\'')
                    .and_then(|token| token.strip_suffix('\''))
                    .ok_or_else(|| format!("expected single quoted string but got {token}"))?;
                place.enter(&unescaped(quoted)?)?;
                match tokens.next().ok_or_else(end)? {
                    "]" => {}
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            "." => place.enter(tokens.next().ok_or_else(end)?)?,
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(place)
}

impl Place<'_> {
    fn enter(&mut self, name: &str) -> Result<(), String> {
        let nowhere = "does not refer to a valid field";
        // Upstream's server fails here when the schema says nothing of this place.
        let schema = self.schema.ok_or(nowhere)?;
        let first = self.text.is_empty();
        if !schema.map("properties").is_empty() {
            self.schema = Some(schema.property(name).ok_or(nowhere)?);
            self.in_metadata |= first && name == "metadata";
            self.text += &if first {
                name.to_string()
            } else {
                format!(".{name}")
            };
            return Ok(());
        }
        self.schema = match schema.additional("additionalProperties").ok_or(nowhere)? {
            Additional::Schema(schema) => Some(schema),
            Additional::Allowed(_) => None,
        };
        self.text += &format!("[{name}]");
        Ok(())
    }
}

/// `.`, `[` and `]`, and what stands between them; inside single quotes they mean nothing.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let first = self.0.chars().next()?;
        let length = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = self.0.as_bytes();
                let closes = |i: &usize| bytes[*i] == b'\'' && bytes[*i - 1] != b'\\';
                (1..bytes.len()).find(closes).map_or(bytes.len(), |i| i + 1)
            }
            _ => self.0.find(['.', '[', ']']).unwrap_or(self.0.len()),
        };
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

/// What stands in single quotes.
fn unescaped(quoted: &str) -> Result<String, String> {
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars().peekable();
    while let Some(c) = chars.next() {
        // A backslash at the end, or before the end of a line, is one.
        let Some(escaped) = chars.peek().copied().filter(|next| c == '\\' && *next != '\n') else {
            out.push(c);
            continue;
        };
        out.push(match escaped {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\'' | '\\' => escaped,
            other => return Err(format!("invalid string literal: invalid escape char \\{other}")),
        });
        chars.next();
    }
    Ok(out)
}
