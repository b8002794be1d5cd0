//! The batched mode: a JSON array of events.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use millrace_model::Event;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Refused, structured};
use crate::problem::Failure;

/// The events of a batch, each with its own result.
///
/// # Errors
/// 400 `malformed_json` or `empty_batch`, 413 `batch_too_large`.
pub(super) fn read(
    body: &Bytes,
    events_max: usize,
) -> Result<Vec<Result<Event, Refused>>, Failure> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let texts = Texts { events_max }.deserialize(&mut reader);
    let texts = texts.and_then(|texts| reader.end().map(|()| texts));
    let texts = texts.map_err(|error| {
        let detail = format!("a batch is a JSON array of events: {error}");
        Failure::bad_request("malformed_json", detail)
    })?;
    if texts.len() > events_max {
        let detail = format!("a request may have {events_max} events");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Failure::new(status, "batch_too_large", detail));
    }
    if texts.is_empty() {
        return Err(Failure::bad_request(
            "empty_batch",
            "a batch has at least one event",
        ));
    }
    let event = |text: &RawValue| structured(body.slice_ref(text.get().as_bytes()));
    Ok(texts.into_iter().map(event).collect())
}

/// Reads the texts of the events, one more than allowed at most: a body of two million empty arrays must
/// not become a list of as many.
struct Texts {
    events_max: usize,
}

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of CloudEvents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            if texts.len() <= self.events_max {
                texts.push(text);
            }
        }
        Ok(texts)
    }
}
