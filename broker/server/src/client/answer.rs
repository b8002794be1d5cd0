//! What came back.

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::ETAG;
use hyper::http::response::Parts;
use serde_json::Value;

/// An answer: its status, its version tag and its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The `etag` of the thing that was asked for, when it has one.
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        let etag = head
            .headers
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Self {
            status: head.status,
            etag,
            body,
        }
    }

    /// The body as JSON; an empty one (204) is `null`.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .context("the server's answer is not JSON; is this a millrace broker?")
    }
}
