//! One thing that is wrong in a document that a client sent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is wrong, and where: one item of `errors[]` in `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the document; empty for the whole.
    pub pointer: String,
    /// Stable code in snake_case.
    pub code: String,
    /// A sentence for people: what is wrong and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.to_owned(),
            detail: detail.into(),
        }
    }
}

/// The JSON Pointer of a member or an item below `pointer`.
pub(crate) fn child(pointer: &str, segment: &str) -> String {
    let mut child = String::with_capacity(pointer.len() + segment.len() + 1);
    child.push_str(pointer);
    child.push('/');
    for character in segment.chars() {
        match character {
            '~' => child.push_str("~0"),
            '/' => child.push_str("~1"),
            other => child.push(other),
        }
    }
    child
}
