//! Durations and timestamps: their texts, sums and parts. Timestamps reach from year 1 to year 9999.

use crate::value::{Outcome, fail};
use std::cmp::Ordering;
use std::fmt;

const SECOND: i64 = 1_000_000_000;
const MIN_SECONDS: i64 = -62_135_596_800;
const MAX_SECONDS: i64 = 253_402_300_799;
const DAY: i64 = 86_400;

/// Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub i64);

/// A point in time. The offset is that of its text and matters for printing only.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanos: u32,
    pub offset_seconds: i32,
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }
}

impl Duration {
    /// Reads Go's form: `1h15m30.918s`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut sum: u64 = 0;
        while !rest.is_empty() {
            let number = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let (digits, after) = rest.split_at(number);
            let unit = after
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(after.len());
            let (name, after) = after.split_at(unit);
            rest = after;
            sum = sum
                .checked_add(part(digits, unit_nanos(name)?)?)
                .filter(|sum| *sum <= 1 << 63)?;
        }
        if negative {
            return Some(Self(0_i64.checked_sub_unsigned(sum)?));
        }
        i64::try_from(sum).ok().map(Self)
    }

    /// Reads the `duration` format of OpenAPI: Go's form, or whole numbers with units up to weeks.
    pub fn parse_openapi(text: &str) -> Option<Self> {
        if let Some(duration) = Self::parse(text) {
            return Some(duration);
        }
        let mut rest = text.trim();
        let mut sum = 0_i64;
        let mut found = false;
        while !rest.is_empty() {
            let start = rest.find(|c: char| c.is_ascii_digit())?;
            let digits = &rest[start..];
            let end = digits.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = digits.split_at(end);
            let after = after.trim_start();
            let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
            let nanos = long_unit(&after[..end])?;
            sum = sum.checked_add(number.parse::<i64>().ok()?.checked_mul(nanos)?)?;
            found = true;
            rest = after[end..].trim_start();
        }
        found.then_some(Self(sum))
    }

    pub fn plus(self, other: Self) -> Outcome<Self> {
        self.0
            .checked_add(other.0)
            .map_or_else(|| fail("integer overflow"), |sum| Ok(Self(sum)))
    }

    pub fn minus(self, other: Self) -> Outcome<Self> {
        self.0
            .checked_sub(other.0)
            .map_or_else(|| fail("integer overflow"), |sum| Ok(Self(sum)))
    }

    pub fn seconds(self) -> f64 {
        (self.0 / SECOND) as f64 + (self.0 % SECOND) as f64 / 1e9
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.seconds())
    }
}

fn part(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok().filter(|n| *n <= 1 << 63)?
    };
    let mut nanos = whole.checked_mul(unit)?;
    if !fraction.is_empty() {
        // Digits beyond what fits change nothing that can be kept.
        let kept = &fraction[..fraction.len().min(18)];
        let value: u64 = kept.parse().ok()?;
        nanos = nanos.checked_add((value as f64 * (unit as f64 / 10_f64.powi(kept.len() as i32))) as u64)?;
    }
    Some(nanos)
}

fn unit_nanos(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn long_unit(name: &str) -> Option<i64> {
    Some(match name {
        "ns" | "nano" => 1,
        "us" | "\u{b5}s" | "micro" => 1_000,
        "ms" | "milli" => 1_000_000,
        "s" | "sec" => SECOND,
        "m" | "min" => 60 * SECOND,
        "h" | "hr" | "hour" => 3600 * SECOND,
        "d" | "day" => DAY * SECOND,
        "w" | "wk" | "week" => 7 * DAY * SECOND,
        "secs" | "mins" | "hrs" | "hours" | "days" | "wks" | "weeks" | "nanos" | "micros" | "millis" => {
            return long_unit(&name[..name.len() - 1]);
        }
        _ => return None,
    })
}

impl Timestamp {
    pub fn from_seconds(seconds: i64) -> Outcome<Self> {
        Self {
            seconds,
            nanos: 0,
            offset_seconds: 0,
        }
        .checked()
    }

    fn checked(self) -> Outcome<Self> {
        if (MIN_SECONDS..=MAX_SECONDS).contains(&self.seconds) {
            Ok(self)
        } else {
            fail("timestamp overflow")
        }
    }

    /// Reads RFC 3339; `None` when the text is something else, an error when the time is out of range.
    pub fn parse(text: &str) -> Option<Outcome<Self>> {
        Some(read(text, false)?.checked())
    }

    /// Reads the `date-time` format of OpenAPI, where the offset may lack its colon or be missing.
    pub fn parse_openapi(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self {
                seconds: 0,
                nanos: 0,
                offset_seconds: 0,
            });
        }
        read(text, true)
    }

    /// Reads a date (`2024-02-29`).
    pub fn parse_date(text: &str) -> Option<Self> {
        let (days, rest) = date(text)?;
        rest.is_empty().then_some(Self {
            seconds: days * DAY,
            nanos: 0,
            offset_seconds: 0,
        })
    }

    pub fn plus(self, duration: Duration) -> Outcome<Self> {
        let nanos = i64::from(self.nanos) + duration.0 % SECOND;
        let seconds = self.seconds + duration.0 / SECOND + nanos.div_euclid(SECOND);
        Self {
            seconds,
            nanos: nanos.rem_euclid(SECOND) as u32,
            ..self
        }
        .checked()
    }

    pub fn minus_duration(self, duration: Duration) -> Outcome<Self> {
        match duration.0.checked_neg() {
            Some(nanos) => self.plus(Duration(nanos)),
            None => fail("integer overflow"),
        }
    }

    pub fn minus(self, other: Self) -> Outcome<Duration> {
        let seconds = (self.seconds - other.seconds).checked_mul(SECOND);
        let nanos = i64::from(self.nanos) - i64::from(other.nanos);
        match seconds.and_then(|seconds| seconds.checked_add(nanos)) {
            Some(nanos) => Ok(Duration(nanos)),
            None => fail("integer overflow"),
        }
    }

    /// One part of the time (`getHours` and its kin), in a time zone by name or as `±hh:mm`.
    pub fn part(self, name: &str, zone: Option<&str>) -> Outcome<i64> {
        let offset = match zone {
            Some(zone) => self.offset(zone)?,
            None => 0,
        };
        let local = self.seconds + offset;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        Ok(match name {
            "getFullYear" => year,
            "getMonth" => month - 1,
            "getDayOfYear" => days - days_of(year, 1, 1),
            "getDayOfMonth" => day - 1,
            "getDate" => day,
            "getDayOfWeek" => (days + 4).rem_euclid(7),
            "getHours" => second / 3600,
            "getMinutes" => second / 60 % 60,
            "getSeconds" => second % 60,
            _ => i64::from(self.nanos / 1_000_000),
        })
    }

    fn offset(self, zone: &str) -> Outcome<i64> {
        let Some((hours, minutes)) = zone.split_once(':') else {
            return match zone {
                "" | "UTC" => Ok(0),
                _ => self.named_offset(zone),
            };
        };
        let number = |text: &str| match text.parse::<i64>() {
            Ok(number) if number.abs() < 1_000_000 => Ok(number),
            _ => fail(format!(
                "strconv.Atoi: parsing {}: invalid syntax",
                go_quote(text)
            )),
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let negative = zone.starts_with('-');
        Ok(60
            * if negative {
                hours * 60 - minutes
            } else {
                hours * 60 + minutes
            })
    }

    fn named_offset(self, zone: &str) -> Outcome<i64> {
        let Ok(zone) = jiff::tz::TimeZone::get(zone) else {
            return fail(format!("unknown time zone {zone}"));
        };
        // jiff's range ends some hours before the last timestamp; offsets do not change there.
        let range = jiff::Timestamp::MIN.as_second()..=jiff::Timestamp::MAX.as_second();
        let seconds = self.seconds.clamp(*range.start(), *range.end());
        let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Ok(i64::from(zone.to_offset(at).seconds()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.seconds + i64::from(self.offset_seconds);
        let (year, month, day) = civil(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY);
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")?;
        if self.nanos > 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        if self.offset_seconds == 0 {
            return f.write_str("Z");
        }
        let minutes = self.offset_seconds.abs() / 60;
        let sign = if self.offset_seconds < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

pub(crate) fn go_quote(text: &str) -> String {
    crate::strings::quoted(text)
}

fn read(text: &str, lenient: bool) -> Option<Timestamp> {
    let (days, rest) = date(text)?;
    let rest = rest.strip_prefix('T')?;
    let (hour, rest) = number(rest, 2, 0..=23)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2, 0..=59)?;
    let (second, rest) = number(rest.strip_prefix(':')?, 2, 0..=59)?;
    let (nanos, rest) = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let end = fraction
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(fraction.len());
            let digits = fraction.get(..end.min(9)).filter(|digits| !digits.is_empty())?;
            (
                digits.parse::<u32>().ok()? * 10_u32.pow(9 - digits.len() as u32),
                &fraction[end..],
            )
        }
        None => (0, rest),
    };
    let offset = match rest.as_bytes().first() {
        Some(b'Z') if rest.len() == 1 => 0,
        Some(sign @ (b'+' | b'-')) => {
            let (hours, rest) = number(&rest[1..], 2, 0..=24)?;
            let rest = match rest.strip_prefix(':') {
                Some(rest) => rest,
                None if lenient => rest,
                None => return None,
            };
            let (minutes, rest) = number(rest, 2, 0..=60)?;
            let seconds = hours * 3600 + minutes * 60;
            if !rest.is_empty() {
                return None;
            }
            if *sign == b'-' { -seconds } else { seconds }
        }
        None if lenient => 0,
        _ => return None,
    };
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    Some(Timestamp {
        seconds,
        nanos,
        offset_seconds: offset as i32,
    })
}

/// Days since 1970 of the date at the beginning of the text.
fn date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = number(text, 4, 0..=9999)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2, 1..=12)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (day, rest) = number(rest.strip_prefix('-')?, 2, 1..=days)?;
    Some((days_of(year, month, day), rest))
}

fn number(text: &str, digits: usize, range: std::ops::RangeInclusive<i64>) -> Option<(i64, &str)> {
    let part = text
        .get(..digits)
        .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
    let value = part.parse().ok().filter(|value| range.contains(value))?;
    Some((value, &text[digits..]))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// `hh:mm:ss`, a fraction, and `z` or an offset.
pub(crate) fn is_clock(text: &str) -> bool {
    let part = |text: &str, max: i64| number(text, 2, 0..=max).map(|(_, rest)| rest.len());
    let after = |left: usize| &text[text.len() - left..];
    let time = part(text, 23)
        .and_then(|left| part(after(left).strip_prefix(':')?, 59))
        .and_then(|left| part(after(left).strip_prefix(':')?, 59));
    let Some(rest) = time.map(after) else {
        return false;
    };
    // Any character may stand before the fraction.
    let fraction = rest.char_indices().nth(1).map(|(at, _)| &rest[at..]);
    let fraction = fraction.map(|digits| {
        (
            digits.len(),
            digits.trim_start_matches(|c: char| c.is_ascii_digit()),
        )
    });
    let zone = match fraction {
        Some((length, zone)) if zone.len() < length && is_zone(zone) => zone,
        _ => rest,
    };
    is_zone(zone)
}

fn is_zone(text: &str) -> bool {
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    let offset = text
        .strip_prefix(['+', '-'])
        .and_then(|offset| offset.split_once(':'));
    text == "z" || offset.is_some_and(|(hours, minutes)| digits(hours) && digits(minutes))
}
