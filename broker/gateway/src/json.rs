//! JSON request bodies, and JSON answers.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};
use millrace_model::event::media_type;
use millrace_model::{Problem, Revision, limit};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use crate::body::Response;
use crate::call::Call;
use crate::problem::Failure;

/// The media type of answers.
pub(crate) const JSON: &str = "application/json";

/// Reads the body of a request: at most [`limit::CONFIG_BYTES_MAX`], JSON if it says what it is. An empty one
/// counts as `{}`.
///
/// # Errors
/// Those of [`Call::read_body`], and 415 `unsupported_media_type`.
pub(crate) async fn read(call: &mut Call) -> Result<Bytes, Failure> {
    let content_type = call.head.headers.get(CONTENT_TYPE);
    let text = content_type.map(|value| value.to_str().unwrap_or(""));
    if text.is_some_and(|text| !media_type::is_json(text)) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be JSON: send it with Content-Type: application/json",
        ));
    }
    let body = call
        .read_body(limit::CONFIG_BYTES_MAX, "body_too_large")
        .await?;
    Ok(if body.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        body
    })
}

/// The body of a request as a `T`.
///
/// # Errors
/// Those of [`read`] and [`parse`].
pub(crate) async fn body<T: DeserializeOwned>(call: &mut Call) -> Result<T, Failure> {
    let body = read(call).await?;
    parse(&body)
}

/// Reads `text` as a `T`, which may borrow from it.
///
/// # Errors
/// 400: `malformed_json`, `unknown_field`, `missing_field`, `duplicate_field`, `unsupported_value` or
/// `invalid_value`, with the JSON Pointer of the place.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Failure> {
    // serde would read the fields of a type from an array too.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(no_object(text));
    }
    // The plain reader is faster; the one that knows where it is reads again what the first refused.
    serde_json::from_slice(text).map_err(|error| match explain::<T>(text) {
        Some(failure) => failure,
        None => malformed(&error),
    })
}

fn no_object(text: &[u8]) -> Failure {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) => Failure::bad_request("invalid_value", "the body must be a JSON object"),
        Err(error) => malformed(&error),
    }
}

fn explain<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<Failure> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let error = serde_path_to_error::deserialize::<_, T>(&mut reader).err()?;
    if !error.inner().is_data() {
        return Some(malformed(error.inner()));
    }
    let pointer = pointer(error.path());
    let sentence = error.inner().to_string();
    let problem = Problem::new(pointer, code(&sentence), sentence);
    Some(Failure::problems(StatusCode::BAD_REQUEST, vec![problem]))
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::bad_request("malformed_json", format!("the body is not JSON: {error}"))
}

/// serde tells its kinds of errors apart by their first words only.
fn code(sentence: &str) -> &'static str {
    let kinds = [
        ("unknown field", "unknown_field"),
        ("missing field", "missing_field"),
        ("duplicate field", "duplicate_field"),
        ("unknown variant", "unsupported_value"),
    ];
    let found = kinds.iter().find(|(words, _)| sentence.starts_with(words));
    found.map_or("invalid_value", |(_, code)| code)
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => escape(key),
            Segment::Enum { variant } => escape(variant),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&part);
    }
    pointer
}

/// A key as a JSON Pointer has it.
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Refuses numbers out of range, in the body of a verb.
///
/// # Errors
/// 422 `out_of_range`.
pub(crate) fn check_range(pointer: &str, value: u64, least: u64, most: u64) -> Result<(), Failure> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let detail = format!("must be {least} to {most}, got {value}");
    let problem = Problem::new(pointer, "out_of_range", detail);
    Err(Failure::problems(
        StatusCode::UNPROCESSABLE_ENTITY,
        vec![problem],
    ))
}

/// An answer with a JSON body.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    /// Room for the answer to one event.
    const BYTES: usize = 256;
    let mut text = Vec::with_capacity(BYTES);
    serde_json::to_writer(&mut text, body).expect("answers have string keys only");
    raw(status, text)
}

/// An answer with JSON text.
pub(crate) fn raw(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = Response::new(text.into().into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static(JSON);
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// An answer with a JSON body and the version of what it shows.
pub(crate) fn versioned(status: StatusCode, version: Revision, body: &impl Serialize) -> Response {
    let mut response = answer(status, body);
    let etag = HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotes");
    response.headers_mut().insert(ETAG, etag);
    response
}
