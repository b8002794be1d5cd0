//! Numbers as `match` filters compare them.

use std::cmp::Ordering;

/// A number of a policy, of data, or in the text of an attribute. Whole numbers of 64 bits compare
/// exactly; a fraction or an exponent makes a number a double, with its 15 digits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// The number, unless it is past what a double holds.
    pub(super) fn from_json(number: &serde_json::Number) -> Option<Self> {
        let whole = number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from));
        match whole {
            Some(whole) => Some(Self::Whole(whole)),
            None => number
                .as_f64()
                .filter(|real| real.is_finite())
                .map(Self::Real),
        }
    }

    /// The number that `text` is, written as in JSON.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        // The parser lets white space stand around the number.
        let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
        if !digits.first()?.is_ascii_digit() || !digits.last()?.is_ascii_digit() {
            return None;
        }
        let number: serde_json::Number = serde_json::from_str(text).ok()?;
        Self::from_json(&number)
    }

    fn as_real(self) -> f64 {
        match self {
            #[allow(
                clippy::cast_precision_loss,
                reason = "compared with a double, which is no better"
            )]
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => Some(one.cmp(two)),
            _ => self.as_real().partial_cmp(&other.as_real()),
        }
    }
}
