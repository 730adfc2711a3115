//! Cuts the text of an expression into tokens, by the rules and with the words of CEL's grammar for ANTLR.

use crate::source::{Errors, Source};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tok {
    EqEq,
    NotEq,
    In,
    Less,
    LessEq,
    GreaterEq,
    Greater,
    And,
    Or,
    LBracket,
    RBracket,
    LBrace,
    RBrace,
    LParen,
    RParen,
    Dot,
    Comma,
    Minus,
    Not,
    Question,
    Colon,
    Plus,
    Star,
    Slash,
    Percent,
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    String,
    Bytes,
    Ident,
    EscIdent,
    Eof,
}

impl Tok {
    /// The token as the parser's messages name it.
    pub fn name(self) -> &'static str {
        use Tok::*;
        match self {
            EqEq => "'=='",
            NotEq => "'!='",
            In => "'in'",
            Less => "'<'",
            LessEq => "'<='",
            GreaterEq => "'>='",
            Greater => "'>'",
            And => "'&&'",
            Or => "'||'",
            LBracket => "'['",
            RBracket => "']'",
            LBrace => "'{'",
            RBrace => "'}'",
            LParen => "'('",
            RParen => "')'",
            Dot => "'.'",
            Comma => "','",
            Minus => "'-'",
            Not => "'!'",
            Question => "'?'",
            Colon => "':'",
            Plus => "'+'",
            Star => "'*'",
            Slash => "'/'",
            Percent => "'%'",
            True => "'true'",
            False => "'false'",
            Null => "'null'",
            Float => "NUM_FLOAT",
            Int => "NUM_INT",
            Uint => "NUM_UINT",
            String => "STRING",
            Bytes => "BYTES",
            Ident => "IDENTIFIER",
            EscIdent => "ESC_IDENTIFIER",
            Eof => "<EOF>",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub kind: Tok,
    pub start: usize,
    pub end: usize,
}

/// All tokens of the text, the last one being `Eof`. What is no token is reported and left out.
pub(crate) fn tokens(source: &Source, errors: &mut Errors) -> Vec<Token> {
    let chars = &source.chars;
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if let Some(end) = blank(chars, at) {
            at = end;
            continue;
        }
        match token(chars, at) {
            Ok((kind, end)) => {
                out.push(Token { kind, start: at, end });
                at = end;
            }
            Err(stop) => {
                let end = (stop + 1).min(chars.len());
                let text: String = chars[at..end].iter().collect();
                let text = text
                    .replace('\n', "\\n")
                    .replace('\t', "\\t")
                    .replace('\r', "\\r");
                errors.report(
                    source.location(at),
                    format!("Syntax error: token recognition error at: '{text}'"),
                );
                at = end.max(at + 1);
            }
        }
    }
    out.push(Token {
        kind: Tok::Eof,
        start: chars.len(),
        end: chars.len(),
    });
    out
}

/// The end of the white space or comment that starts here.
fn blank(chars: &[char], at: usize) -> Option<usize> {
    match chars[at] {
        '\t' | ' ' | '\r' | '\n' | '\u{c}' => Some(at + 1),
        '/' if chars.get(at + 1) == Some(&'/') => Some(
            chars[at..]
                .iter()
                .position(|&c| c == '\n')
                .map_or(chars.len(), |n| at + n),
        ),
        _ => None,
    }
}

/// The token that starts here and its end, or the place of the character that cannot stand where it does.
fn token(chars: &[char], at: usize) -> Result<(Tok, usize), usize> {
    let next = chars.get(at + 1).copied();
    let two = |kind| Ok((kind, at + 2));
    let one = |kind| Ok((kind, at + 1));
    match chars[at] {
        '=' if next == Some('=') => two(Tok::EqEq),
        '!' if next == Some('=') => two(Tok::NotEq),
        '<' if next == Some('=') => two(Tok::LessEq),
        '>' if next == Some('=') => two(Tok::GreaterEq),
        '&' if next == Some('&') => two(Tok::And),
        '|' if next == Some('|') => two(Tok::Or),
        '=' | '&' | '|' => Err(at + 1),
        '<' => one(Tok::Less),
        '>' => one(Tok::Greater),
        '[' => one(Tok::LBracket),
        ']' => one(Tok::RBracket),
        '{' => one(Tok::LBrace),
        '}' => one(Tok::RBrace),
        '(' => one(Tok::LParen),
        ')' => one(Tok::RParen),
        ',' => one(Tok::Comma),
        '-' => one(Tok::Minus),
        '!' => one(Tok::Not),
        '?' => one(Tok::Question),
        ':' => one(Tok::Colon),
        '+' => one(Tok::Plus),
        '*' => one(Tok::Star),
        '/' => one(Tok::Slash),
        '%' => one(Tok::Percent),
        '.' if !next.is_some_and(|c| c.is_ascii_digit()) => one(Tok::Dot),
        '0'..='9' | '.' => Ok(number(chars, at)),
        '"' | '\'' => string(chars, at, false).map(|end| (Tok::String, end)),
        '`' => escaped(chars, at),
        c if c.is_ascii_alphabetic() || c == '_' => word(chars, at),
        _ => Err(at),
    }
}

fn number(chars: &[char], start: usize) -> (Tok, usize) {
    let digits = |mut at: usize| {
        while chars.get(at).is_some_and(char::is_ascii_digit) {
            at += 1;
        }
        at
    };
    if chars[start] == '0' && chars.get(start + 1) == Some(&'x') {
        let mut at = start + 2;
        while chars.get(at).is_some_and(char::is_ascii_hexdigit) {
            at += 1;
        }
        if at > start + 2 {
            let unsigned = matches!(chars.get(at), Some('u' | 'U'));
            return if unsigned {
                (Tok::Uint, at + 1)
            } else {
                (Tok::Int, at)
            };
        }
    }
    let whole = digits(start);
    let mut at = whole;
    let mut float = false;
    if chars.get(at) == Some(&'.') && chars.get(at + 1).is_some_and(char::is_ascii_digit) {
        float = true;
        at = digits(at + 1);
    }
    if matches!(chars.get(at), Some('e' | 'E')) {
        let sign = usize::from(matches!(chars.get(at + 1), Some('+' | '-')));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign {
            float = true;
            at = end;
        }
    }
    match chars.get(at) {
        _ if float => (Tok::Float, at),
        Some('u' | 'U') => (Tok::Uint, at + 1),
        _ => (Tok::Int, at),
    }
}

/// The end of the string that starts with the quote at `at`.
fn string(chars: &[char], at: usize, raw: bool) -> Result<usize, usize> {
    let quote = chars[at];
    if chars.get(at + 1) == Some(&quote) {
        if chars.get(at + 2) != Some(&quote) {
            return Ok(at + 2);
        }
        // `""` is a string of its own if no third pair of quotes ever closes the long one.
        return long_string(chars, at + 3, quote, raw).or(Ok(at + 2));
    }
    let mut at = at + 1;
    loop {
        match chars.get(at) {
            None | Some('\n' | '\r') => return Err(at),
            Some(&c) if c == quote => return Ok(at + 1),
            Some('\\') if !raw => at = escape(chars, at)?,
            Some(_) => at += 1,
        }
    }
}

fn long_string(chars: &[char], mut at: usize, quote: char, raw: bool) -> Result<usize, usize> {
    loop {
        match chars.get(at) {
            None => return Err(at),
            Some(&c) if c == quote && chars.get(at + 1..at + 3) == Some(&[quote, quote]) => return Ok(at + 3),
            Some('\\') if !raw => at = escape(chars, at)?,
            Some(_) => at += 1,
        }
    }
}

/// The end of the escape sequence at `at`.
fn escape(chars: &[char], at: usize) -> Result<usize, usize> {
    let hex = |n: usize| {
        let stop = (at + 2..at + 2 + n).find(|&i| !chars.get(i).is_some_and(char::is_ascii_hexdigit));
        stop.map_or(Ok(at + 2 + n), Err)
    };
    match chars.get(at + 1) {
        Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => Ok(at + 2),
        Some('x' | 'X') => hex(2),
        Some('u') => hex(4),
        Some('U') => hex(8),
        Some('0'..='3') => {
            let stop = (at + 2..at + 4).find(|&i| !matches!(chars.get(i), Some('0'..='7')));
            stop.map_or(Ok(at + 4), Err)
        }
        _ => Err(at + 1),
    }
}

/// An identifier between back quotes.
fn escaped(chars: &[char], at: usize) -> Result<(Tok, usize), usize> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
    let mut end = at + 1;
    while chars.get(end).is_some_and(allowed) {
        end += 1;
    }
    if end > at + 1 && chars.get(end) == Some(&'`') {
        Ok((Tok::EscIdent, end + 1))
    } else {
        Err(end)
    }
}

/// An identifier, a keyword, or a string with a prefix (`r"…"`, `b'…'`, `bR"…"`).
fn word(chars: &[char], at: usize) -> Result<(Tok, usize), usize> {
    let quoted = |i: usize| matches!(chars.get(i), Some('"' | '\''));
    let raw = |i: usize| matches!(chars.get(i), Some('r' | 'R'));
    let bytes = matches!(chars[at], 'b' | 'B');
    let string = if bytes && quoted(at + 1) {
        Some((Tok::Bytes, string(chars, at + 1, false)))
    } else if bytes && raw(at + 1) && quoted(at + 2) {
        Some((Tok::Bytes, string(chars, at + 2, true)))
    } else if raw(at) && quoted(at + 1) {
        Some((Tok::String, string(chars, at + 1, true)))
    } else {
        None
    };
    if let Some((kind, Ok(end))) = string {
        return Ok((kind, end));
    }
    let mut end = at;
    while chars
        .get(end)
        .is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
    {
        end += 1;
    }
    let text: String = chars[at..end].iter().take(6).collect();
    let kind = match text.as_str() {
        "in" => Tok::In,
        "true" => Tok::True,
        "false" => Tok::False,
        "null" => Tok::Null,
        _ => Tok::Ident,
    };
    Ok((kind, end))
}
