//! `resource.Quantity`: fixed-point numbers with a decimal, binary or exponent suffix.

use std::cmp::Ordering;

/// An exact value in nanos (10^-9), upstream's finest step; finer digits are rounded up, as upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nanos: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// What upstream says of any text that is not a quantity.
pub const FORMAT_ERROR: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const NANO: i128 = 1_000_000_000;
/// Larger values are cut to this, as upstream caps at int64.
const MAX: i128 = i64::MAX as i128 * NANO;

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Powers of 1000, from nano.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0 };

    pub fn from_whole(n: i64) -> Self {
        Self {
            nanos: n as i128 * NANO,
        }
    }

    pub fn from_millis(n: i64) -> Self {
        Self {
            nanos: n as i128 * (NANO / 1000),
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        parse(text).map(|(q, _)| q)
    }

    /// … and the form in which it was written.
    pub fn parse_with_format(text: &str) -> Option<(Self, Format)> {
        parse(text)
    }

    /// The text as the API prints it back: canonical in its own format.
    pub fn canonical(text: &str) -> Option<String> {
        let (quantity, format) = parse(text)?;
        Some(quantity.print(format))
    }

    /// The same with no part smaller than a thousandth, as the API keeps the quantities of resource lists.
    pub fn canonical_in_list(text: &str) -> Option<String> {
        let (quantity, format) = parse(text)?;
        let step = NANO / 1000;
        let nanos = match quantity.nanos % step {
            0 => quantity.nanos,
            _ => div_ceil(quantity.nanos, step) * step,
        };
        Some(Self { nanos }.print(format))
    }

    /// Whole units, rounded up.
    pub fn value(self) -> i64 {
        div_ceil(self.nanos, NANO).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }

    /// Thousandths, rounded up: CPU shares.
    pub fn millis(self) -> i64 {
        div_ceil(self.nanos, NANO / 1000).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            nanos: (self.nanos + other.nanos).clamp(-MAX, MAX),
        }
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            nanos: (self.nanos - other.nanos).clamp(-MAX, MAX),
        }
    }

    pub fn print(self, format: Format) -> String {
        match format {
            Format::Binary if self.nanos.abs() >= 1024 * NANO && self.is_whole() => self.print_binary(),
            Format::Binary | Format::Decimal => self.print_decimal(&|i| DECIMAL[i].to_string()),
            Format::Exponent => self.print_decimal(&|i| {
                if i == 3 {
                    String::new()
                } else {
                    format!("e{}", (i as i32 - 3) * 3)
                }
            }),
        }
    }

    fn print_binary(self) -> String {
        let (mut n, mut i) = (self.nanos / NANO, 0);
        while n != 0 && n % 1024 == 0 && i + 1 < BINARY.len() {
            n /= 1024;
            i += 1;
        }
        format!("{n}{}", BINARY[i])
    }

    fn print_decimal(self, suffix: &dyn Fn(usize) -> String) -> String {
        if self.nanos == 0 {
            return "0".to_string();
        }
        let (mut n, mut i) = (self.nanos, 0);
        while n % 1000 == 0 && i + 1 < DECIMAL.len() {
            n /= 1000;
            i += 1;
        }
        format!("{n}{}", suffix(i))
    }
}

fn div_ceil(a: i128, b: i128) -> i128 {
    a.div_euclid(b) + i128::from(a.rem_euclid(b) != 0)
}

/// The number and the format it was written in.
fn parse(text: &str) -> Option<(Quantity, Format)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits_end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 64 {
        return None;
    }
    let (multiplier, exponent, format) = parse_suffix(suffix)?;
    let mut nanos = scaled(whole, fraction, exponent + 9, multiplier);
    if text.starts_with('-') {
        nanos = -nanos;
    }
    Some((
        Quantity {
            nanos: nanos.clamp(-MAX, MAX),
        },
        format,
    ))
}

/// Binary multiplier, decimal exponent, format.
fn parse_suffix(suffix: &str) -> Option<(i128, i32, Format)> {
    if let Some(i) = BINARY.iter().skip(1).position(|b| *b == suffix) {
        return Some((1 << (10 * (i + 1)), 0, Format::Binary));
    }
    if let Some(i) = DECIMAL.iter().position(|d| *d == suffix) {
        return Some((1, (i as i32 - 3) * 3, Format::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    Some((1, exponent, Format::Exponent))
}

/// `whole.fraction × 10^exponent × multiplier`, rounded up and saturated.
fn scaled(whole: &str, fraction: &str, exponent: i32, multiplier: i128) -> i128 {
    let mut value: i128 = 0;
    let mut lost = false;
    // Digits after the point lower the exponent; digits beyond 36 cannot matter to a value capped at 2^63.
    let mut exponent = exponent - fraction.len() as i32;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if value > i128::MAX / 100 {
            exponent += 1;
            lost |= digit != b'0';
        } else {
            value = value * 10 + i128::from(digit - b'0');
        }
    }
    for _ in 0..multiplier.trailing_zeros() {
        value = if value > MAX {
            value
        } else {
            value.saturating_mul(2)
        };
    }
    while exponent > 0 && value != 0 && value <= MAX {
        value = value.saturating_mul(10);
        exponent -= 1;
    }
    while exponent < 0 && value != 0 {
        lost |= value % 10 != 0;
        value /= 10;
        exponent += 1;
    }
    value.saturating_add(i128::from(lost))
}

impl PartialEq<i64> for Quantity {
    fn eq(&self, other: &i64) -> bool {
        *self == Self::from_whole(*other)
    }
}

impl PartialOrd<i64> for Quantity {
    fn partial_cmp(&self, other: &i64) -> Option<Ordering> {
        self.partial_cmp(&Self::from_whole(*other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_print_back_in_canonical_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("256M", "256M"),
            ("1024Ki", "1Mi"),
            ("1e3", "1e3"),
            ("12345", "12345"),
            ("1500", "1500"),
            ("-1", "-1"),
            ("0.5Ki", "512"),
            ("1E", "1E"),
            (".5", "500m"),
            ("5.", "5"),
            ("1e-3", "1e-3"),
            ("0.0000000001", "1n"),
            ("+3", "3"),
        ] {
            assert_eq!(Quantity::canonical(text).as_deref(), Some(canonical), "{text}");
        }
        for bad in ["", "x", "1.2.3", "1 Gi", "1GiB", "--1", "1e", "Gi", "."] {
            assert_eq!(Quantity::canonical(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_compare_and_round_up() {
        let q = |t: &str| Quantity::parse(t).expect(t);
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("1500m").value(), 2);
        assert_eq!(q("1500m").millis(), 1500);
        assert_eq!(q("1Ei").value(), 1 << 60);
        assert_eq!(q("999999999999E").value(), i64::MAX);
    }
}
