//! Paths and queries, with what users type percent-encoded.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path with its query.
#[derive(Debug, Clone)]
pub(crate) struct Route(String);

impl Route {
    /// The path of these segments; a name with a slash stays one segment, and is refused by the broker, not misread.
    pub(crate) fn of<const N: usize>(segments: [&str; N]) -> Self {
        let mut path = String::new();
        for segment in segments {
            let _ = write!(path, "/{}", utf8_percent_encode(segment, ENCODED));
        }
        Self(path)
    }

    /// The path with one more segment.
    pub(crate) fn then(mut self, segment: &str) -> Self {
        debug_assert!(!self.0.contains('?'), "segments come before the query");
        let _ = write!(self.0, "/{}", utf8_percent_encode(segment, ENCODED));
        self
    }

    /// The path with one more query parameter, if it has a value.
    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            let sign = if self.0.contains('?') { '&' } else { '?' };
            let _ = write!(
                self.0,
                "{sign}{name}={}",
                utf8_percent_encode(&value.to_string(), ENCODED)
            );
        }
        self
    }

    /// As it stands in the request line.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_type_cannot_leave_its_place() {
        let route = Route::of(["v1", "topics", "a/b?c"])
            .then("messages")
            .query("after", Some("x&y"))
            .query("limit", Some(5));
        assert_eq!(
            route.as_str(),
            "/v1/topics/a%2Fb%3Fc/messages?after=x%26y&limit=5"
        );
        assert_eq!(
            Route::of(["v1"]).query("prefix", None::<&str>).as_str(),
            "/v1"
        );
    }
}
