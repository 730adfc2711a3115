//! Times and bytes in text: what is accepted and, if not, why, in the words of Go's `time` and `base64`.

use meta::Timestamp;

/// Layouts as Go writes them.
pub const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
pub const MICROSECONDS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The parts of a layout up to the fraction: digits that it shows (with the largest value and its name) or a separator.
const PARTS: [(&str, u32, &str); 11] = [
    ("2006", 9999, "year"),
    ("-", 0, ""),
    ("01", 12, "month"),
    ("-", 0, ""),
    ("02", 31, "day"),
    ("T", 0, ""),
    ("15", 23, "hour"),
    (":", 0, ""),
    ("04", 59, "minute"),
    (":", 0, ""),
    ("05", 59, "second"),
];

/// Reads an RFC 3339 time. A fraction of any length is accepted for either layout.
pub fn time(text: &str, layout: &str) -> Result<Timestamp, String> {
    let cannot = |rest: &str, part: &str| {
        Err(format!(
            "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}"
        ))
    };
    let out_of_range = |what: &str| Err(format!("parsing time {text:?}: {what} out of range"));
    let mut rest = text;
    for (part, most, name) in PARTS {
        if most == 0 {
            match rest.strip_prefix(part) {
                Some(after) => rest = after,
                None => return cannot(rest, part),
            }
            continue;
        }
        let digits = rest
            .get(..part.len())
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = digits.and_then(|d| d.parse::<u32>().ok()) else {
            return cannot(rest, part);
        };
        let least = u32::from(matches!(name, "month" | "day"));
        if number > most || number < least {
            return out_of_range(name);
        }
        rest = &rest[part.len()..];
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if after.len() < fraction.len() {
            rest = after;
        }
    }
    let zone = if rest.starts_with('Z') { 1 } else { "+00:00".len() };
    match rest.get(..zone).filter(|zone| is_zone(zone)) {
        None => return cannot(rest, "Z07:00"),
        Some(_) if rest.len() > zone => {
            return Err(format!("parsing time {text:?}: extra text: {:?}", &rest[zone..]));
        }
        Some(_) => {}
    }
    match Timestamp::parse(text) {
        Some(time) => Ok(time),
        // The one thing left: a day that its month does not have.
        None => out_of_range("day"),
    }
}

fn is_zone(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Checks base64 with padding. Line breaks inside are accepted and taken out.
pub fn bytes(text: &mut String) -> Result<(), String> {
    if let Err(at) = check(text.as_bytes()) {
        return Err(format!("illegal base64 data at input byte {at}"));
    }
    if text.bytes().any(is_break) {
        text.retain(|c| !matches!(c, '\r' | '\n'));
    }
    Ok(())
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The place of the first fault, counted as Go counts it.
fn check(text: &[u8]) -> Result<(), usize> {
    let mut next = 0;
    loop {
        let mut in_group = 0;
        while in_group < 4 {
            let Some(&byte) = text.get(next) else {
                return if in_group == 0 {
                    Ok(())
                } else {
                    Err(next - in_group)
                };
            };
            next += 1;
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => in_group += 1,
                byte if is_break(byte) => {}
                b'=' if in_group >= 2 => return padding(text, next, in_group),
                _ => return Err(next - 1),
            }
        }
    }
}

/// What follows the first `=`.
fn padding(text: &[u8], mut next: usize, in_group: usize) -> Result<(), usize> {
    let skip = |mut at: usize| {
        while text.get(at).copied().is_some_and(is_break) {
            at += 1;
        }
        at
    };
    if in_group == 2 {
        next = skip(next);
        match text.get(next) {
            None => return Err(text.len()),
            Some(b'=') => next += 1,
            Some(_) => return Err(next - 1),
        }
    }
    next = skip(next);
    if next < text.len() { Err(next) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused_in_gos_words() {
        for good in [
            "2020-01-01T00:00:00Z",
            "2020-02-29T23:59:59.5+02:00",
            "2020-01-01T00:00:00.123456Z",
        ] {
            assert!(time(good, SECONDS).is_ok(), "{good}");
        }
        let because = |text: &str| time(text, SECONDS).expect_err(text);
        let parsing =
            |text: &str, why: &str| format!("parsing time \"{text}\" as \"{SECONDS}\": cannot parse {why}");
        assert_eq!(because("x"), parsing("x", r#""x" as "2006""#));
        assert_eq!(because("2020-01-01"), parsing("2020-01-01", r#""" as "T""#));
        assert_eq!(
            because("2020-01-01T00:00:00"),
            parsing("2020-01-01T00:00:00", r#""" as "Z07:00""#)
        );
        assert_eq!(
            because("2020-13-01T00:00:00Z"),
            "parsing time \"2020-13-01T00:00:00Z\": month out of range"
        );
        assert_eq!(
            because("2021-02-29T00:00:00Z"),
            "parsing time \"2021-02-29T00:00:00Z\": day out of range"
        );
        assert_eq!(
            because("2020-01-01T00:00:00Zx"),
            "parsing time \"2020-01-01T00:00:00Zx\": extra text: \"x\""
        );
        assert!(time("2020é", SECONDS).is_err());
    }

    #[test]
    fn bytes_are_checked_as_go_does() {
        let cases = [
            ("YQ", Err(0)),
            ("!!!", Err(0)),
            ("YWJj!", Err(4)),
            ("YQ==", Ok(())),
            ("YQ=\n=", Ok(())),
            ("", Ok(())),
        ];
        for (text, wanted) in cases {
            assert_eq!(check(text.as_bytes()), wanted, "{text:?}");
        }
        let mut broken = "YQ=\n=".to_string();
        assert_eq!(bytes(&mut broken), Ok(()));
        assert_eq!(broken, "YQ==");
    }
}
