//! [`Condition`]: one test of one value.

use serde::Deserialize;
use serde_json::Value;

/// What a value must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Condition {
    /// One of the tests.
    Test(Test),
    /// Equal to one of these.
    Any(Vec<Value>),
    /// Equal to this.
    Equal(Value),
}

/// A test other than equality. An absent value passes `exists: false` and `not`, and nothing else.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Test {
    Prefix(String),
    Suffix(String),
    Contains(String),
    Exists(bool),
    Not(Vec<Value>),
    Min(f64),
    Max(f64),
}

/// What is tested: an attribute is always text, a field of the data is any JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tested<'a> {
    Text(&'a str),
    Json(&'a Value),
}

impl Condition {
    /// Whether `value` is what it must be.
    pub(crate) fn holds(&self, value: Option<Tested<'_>>) -> bool {
        match self {
            Self::Equal(wanted) => value.is_some_and(|value| value.equals(wanted)),
            Self::Any(wanted) => {
                value.is_some_and(|value| wanted.iter().any(|one| value.equals(one)))
            }
            Self::Test(test) => test.holds(value),
        }
    }

    /// An object that is none of the tests reads as a value to equal; say so instead of never matching.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Equal(Value::Object(_)) => {
                Some("not a test: use one of prefix, suffix, contains, exists, not, min, max")
            }
            Self::Any(values)
                if values
                    .iter()
                    .any(|value| value.is_object() || value.is_array()) =>
            {
                Some("a list holds texts, numbers, booleans and null only")
            }
            _ => None,
        }
    }
}

impl Test {
    fn holds(&self, value: Option<Tested<'_>>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Exists(false) | Self::Not(_));
        };
        match self {
            Self::Prefix(prefix) => value
                .text()
                .is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::Suffix(suffix) => value
                .text()
                .is_some_and(|text| text.ends_with(suffix.as_str())),
            Self::Contains(part) => value
                .text()
                .is_some_and(|text| text.contains(part.as_str())),
            Self::Exists(wanted) => *wanted,
            Self::Not(values) => !values.iter().any(|one| value.equals(one)),
            Self::Min(min) => value.number().is_some_and(|number| number >= *min),
            Self::Max(max) => value.number().is_some_and(|number| number <= *max),
        }
    }
}

impl<'a> Tested<'a> {
    /// An attribute has no JSON type: it equals a number or a boolean that is written like it.
    fn equals(self, wanted: &Value) -> bool {
        match (self, wanted) {
            (Self::Json(value), wanted) => value == wanted,
            (Self::Text(text), Value::String(wanted)) => text == wanted,
            (Self::Text(_), Value::Null) => false,
            (Self::Text(text), wanted) => {
                let written = wanted.to_string();
                text == written
            }
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(value) => value.as_str(),
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Json(value) => value.as_f64(),
        }
    }
}
