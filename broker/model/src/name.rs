//! Names of topics, subscriptions, queues, plugins and destinations.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limit;

/// A name: `[A-Za-z][A-Za-z0-9._-]{0,79}` (`API.md`, Conventions). Cheap to clone; ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(Arc<str>);

/// The text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is a letter followed by up to 79 letters, digits, '.', '_' or '-'; got {0:?}")]
pub struct BadName(String);

impl Name {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// [`BadName`] when the text is empty, too long or holds a character that is not allowed.
    pub fn new(text: &str) -> Result<Self, BadName> {
        if is_name(text) {
            return Ok(Self(text.into()));
        }
        Err(BadName(
            text.chars().take(limit::NAME_BYTES_MAX + 1).collect(),
        ))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= limit::NAME_BYTES_MAX
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

impl FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl utoipa::PartialSchema for Name {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[A-Za-z][A-Za-z0-9._-]{0,79}$"))
            .into()
    }
}

impl utoipa::ToSchema for Name {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_first_and_at_most_eighty_bytes() {
        for good in ["a", "Orders.eu_1-x", &"a".repeat(80)] {
            assert_eq!(
                Name::new(good).map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in ["", "1a", ".a", "a b", "ä", "a/b", "a\n", &"a".repeat(81)] {
            assert!(Name::new(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
