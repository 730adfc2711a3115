//! Field names that are no identifiers of CEL, as expressions write them: `__dot__`, `__dash__`, `__namespace__`, …

use std::borrow::Cow;

/// Words that no identifier can be.
pub(crate) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The identifier for a field of this name; `None` when the name holds something that cannot be written.
pub fn escape(name: &str) -> Option<Cow<'_, str>> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__").into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(|c| plain(c) || matches!(c, '.' | '-' | '/')) {
        return None;
    }
    if name.chars().all(plain) && !name.contains("__") {
        return Some(name.into());
    }
    let escaped = name
        .replace("__", "\0")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__");
    Some(escaped.replace('\0', "__underscores__").into())
}

/// The field's name that an identifier stands for; `None` when it holds an escape that there is not.
pub fn unescape(ident: &str) -> Option<Cow<'_, str>> {
    if !ident.contains("__") {
        return Some(ident.into());
    }
    let mut out = String::with_capacity(ident.len());
    let mut rest = ident;
    while let Some((before, word, after)) = next_escape(rest) {
        out.push_str(before);
        match word {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if RESERVED.contains(&word) && word.len() + 4 == ident.len() => out.push_str(word),
            _ => return None,
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out.into())
}

/// The next `__word__`: what is before it, the word, what is after it.
fn next_escape(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("__")?;
        let word = &text[start + 2..];
        let end = word.find('_')?;
        if end > 0 && word[end..].starts_with("__") {
            return Some((&text[..start], &word[..end], &word[end + 2..]));
        }
        // The underscores that were found belong to no escape; another pair may begin one further on.
        from = start + 1;
    }
}
