//! A plain body: the broker fills what a CloudEvent must have.

use bytes::Bytes;
use millrace_model::event::media_type;
use millrace_model::{Data, Event, digest};
use uuid::Uuid;

use super::binary::content_type;
use super::{Instructions, data};
use crate::call::Call;
use crate::rfc3339;

/// The `type` of an event that came as a plain body (`API.md`, Events).
const KIND: &str = "millrace.message";

/// The media type of a body that names none (RFC 9110, 8.3).
const UNKNOWN: &str = "application/octet-stream";

/// An event around `body`. `place` is its source.
pub(super) fn read(call: &Call, place: &str, instructions: &Instructions, body: Bytes) -> Event {
    let now = call.gateway.clock().now();
    // A malformed media type says nothing; the body is kept as it is.
    let content_type = content_type(&call.head.headers).filter(|text| media_type::is_valid(text));
    let data = data(content_type.as_deref(), body);
    let content_type = match data {
        Data::None => content_type,
        _ => content_type.or_else(|| Some(UNKNOWN.to_owned())),
    };
    let id = match &instructions.key {
        Some(key) => id_of_key(place, key),
        None => text_of(call.gateway.entropy().uuid(now)),
    };
    Event {
        id,
        source: place.to_owned(),
        kind: KIND.to_owned(),
        time: Some(rfc3339::text(now)),
        content_type,
        data,
        ..Event::default()
    }
}

/// The id of an event that was sent with an `Idempotency-Key`: a retry must get the id of the first attempt.
fn id_of_key(place: &str, key: &str) -> String {
    let digest = digest::of(format!("{place}\n{key}").as_bytes());
    let bytes = std::array::from_fn(|at| digest.0[at]);
    text_of(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn text_of(id: Uuid) -> String {
    let mut text = Uuid::encode_buffer();
    id.hyphenated().encode_lower(&mut text).to_owned()
}
