//! Quantities as Kubernetes' functions see them: a number, and whether upstream keeps it as a 64-bit one.

use meta::Quantity;

/// A quantity. Only one that is kept as a 64-bit number with a scale of zero or more can be an integer: `1` and `2k`
/// can, `1000m` and `1.0` cannot, and neither can numbers that need more digits (`1Pi`).
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    pub value: Quantity,
    /// The power of ten that the number is counted in; `None` when it is kept in another form.
    scale: Option<i32>,
}

impl Amount {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self {
            value: Quantity::parse(text)?,
            scale: scale(text),
        })
    }

    pub(crate) fn from_whole(whole: i64) -> Self {
        Self {
            value: Quantity::from_whole(whole),
            scale: Some(0),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            value: self.value.plus(other.value),
            scale: self.common(other),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            value: self.value.minus(other.value),
            scale: self.common(other),
        }
    }

    /// The scale of a sum: a zero has none of its own.
    fn common(self, other: Self) -> Option<i32> {
        match (self.scale?, other.scale?) {
            (_, scale) if self.value.is_zero() => Some(scale),
            (scale, _) if other.value.is_zero() => Some(scale),
            (a, b) => Some(a.min(b)),
        }
    }

    pub(crate) fn as_integer(self) -> Option<i64> {
        self.scale.filter(|scale| *scale >= 0)?;
        self.value.is_whole().then(|| self.value.value())
    }
}

/// The scale of a quantity's text; `None` when it has too many digits for a 64-bit number.
fn scale(text: &str) -> Option<i32> {
    let number = text.trim_start_matches(['+', '-']);
    let end = number
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(number.len());
    let (digits, suffix) = number.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0').len() as i32;
    let places = fraction.len() as i32;
    let (exponent, precision) = match suffix {
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => {
            let bits = 10 * (1 + "KMGTPE".find(&suffix[..1]).unwrap_or(0) as i32);
            let precision = if places == 0 {
                15 - whole.max(1) - bits * 3 / 10 - 1
            } else {
                -1
            };
            (0, precision)
        }
        _ => {
            let exponent = match suffix {
                "n" => -9,
                "u" => -6,
                "m" => -3,
                "" => 0,
                "k" => 3,
                "M" => 6,
                "G" => 9,
                "T" => 12,
                "P" => 15,
                "E" => 18,
                other => other.get(1..)?.parse().ok()?,
            };
            (exponent, 18 - whole.max(1) - places)
        }
    };
    let scale = exponent - places;
    (precision >= 0 && scale >= -9).then_some(scale)
}
