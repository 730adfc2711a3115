//! The values of string and bytes literals: quotes off, escapes resolved.

const PLAIN: &str = "unable to unescape string";
const OCTAL: &str = "unable to unescape octal sequence in string";

/// Reads a literal as the lexer cut it, without the `b` of bytes. In bytes, `\x` and octal escapes are bytes; in strings,
/// code points.
pub(crate) fn unescape(text: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let raw = text.starts_with(['r', 'R']);
    let text = if raw { &text[1..] } else { &text[..] };
    let long = text.len() >= 6 && (text.starts_with("\"\"\"") || text.starts_with("'''"));
    let quotes = if long { 3 } else { 1 };
    let Some(inner) = text
        .len()
        .checked_sub(quotes)
        .and_then(|end| text.get(quotes..end))
    else {
        return Err(PLAIN);
    };
    if raw || !inner.contains('\\') {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        let c = chars.next().ok_or(PLAIN)?;
        match c {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' | '\'' | '"' | '`' | '?' => push(&mut out, c),
            'x' | 'X' => code(&mut out, digits(&mut chars, 2, 16, 0).ok_or(PLAIN)?, bytes)?,
            'u' | 'U' if !bytes => {
                let length = if c == 'u' { 4 } else { 8 };
                code(&mut out, digits(&mut chars, length, 16, 0).ok_or(PLAIN)?, false)?;
            }
            '0'..='3' => {
                let first = u32::from(c) - u32::from('0');
                code(&mut out, digits(&mut chars, 2, 8, first).ok_or(OCTAL)?, bytes)?;
            }
            _ => return Err(PLAIN),
        }
    }
    Ok(out)
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, base: u32, first: u32) -> Option<u32> {
    let mut value = first;
    for _ in 0..count {
        value = value
            .checked_mul(base)?
            .checked_add(chars.next()?.to_digit(base)?)?;
    }
    Some(value)
}

fn code(out: &mut Vec<u8>, value: u32, bytes: bool) -> Result<(), &'static str> {
    if bytes {
        out.push(u8::try_from(value).map_err(|_| PLAIN)?);
    } else {
        push(out, char::from_u32(value).ok_or("invalid unicode code point")?);
    }
    Ok(())
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
