//! What a request asks for beside its events: deduplication, delay, and the trace that it belongs to.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use millrace_model::event::Attribute;
use millrace_model::{DeduplicationKey, Event, digest, limit};

use crate::call::Call;
use crate::problem::Failure;

/// What the headers of a publish or send ask for.
#[derive(Debug, Default)]
pub(crate) struct Instructions {
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    /// The same, digested with the request.
    pub(crate) deduplication: Option<DeduplicationKey>,
    /// `Millrace-Delay-Seconds`, in milliseconds.
    pub(crate) delay_ms: Option<u64>,
    /// `traceparent`, if it is well-formed.
    pub(crate) traceparent: Option<String>,
}

impl Instructions {
    /// Reads the headers of `call`, whose body is `body`.
    ///
    /// # Errors
    /// 400 `invalid_header`.
    pub(super) fn read(call: &Call, place: &str, body: &Bytes) -> Result<Self, Failure> {
        let headers = &call.head.headers;
        let key = idempotency_key(headers)?;
        let digested = |key: &String| deduplication(place, key, headers, body);
        Ok(Self {
            deduplication: key.as_ref().map(digested),
            key,
            delay_ms: delay_ms(headers)?,
            traceparent: traceparent(call),
        })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    const NAME: HeaderName = HeaderName::from_static("idempotency-key");
    let Some(value) = headers.get(NAME) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    if !(1..=limit::IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) {
        let most = limit::IDEMPOTENCY_KEY_BYTES_MAX;
        return Err(invalid(
            &NAME,
            &format!("must be 1 to {most} visible ASCII characters"),
        ));
    }
    Ok(Some(text.to_owned()))
}

/// Digests of the key and of all that makes the request what it is.
fn deduplication(place: &str, key: &str, headers: &HeaderMap, body: &Bytes) -> DeduplicationKey {
    let key = digest::of(format!("{place}\n{key}").as_bytes()).0;
    let mut request = digest::Digester::default();
    let mut parts: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name == CONTENT_TYPE || name.as_str().starts_with("ce-"))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    // A proxy may change the order of headers between two attempts.
    parts.sort_unstable();
    parts
        .iter()
        .for_each(|(name, value)| request.row(name.as_bytes(), value));
    request.row(b"", body);
    let request = request.finish().0;
    DeduplicationKey {
        key: std::array::from_fn(|at| key[at]),
        request: u64::from_le_bytes(std::array::from_fn(|at| request[at])),
    }
}

fn delay_ms(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    const NAME: HeaderName = HeaderName::from_static("millrace-delay-seconds");
    let Some(value) = headers.get(NAME) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse::<u64>().ok().filter(|_| digits);
    match seconds {
        Some(seconds) if seconds <= limit::DURATION_SECONDS_MAX => Ok(Some(seconds * 1_000)),
        _ => {
            let most = limit::DURATION_SECONDS_MAX;
            Err(invalid(
                &NAME,
                &format!("must be a whole number, 0 to {most}"),
            ))
        }
    }
}

fn invalid(name: &HeaderName, detail: &str) -> Failure {
    Failure::bad_request("invalid_header", format!("{name} {detail}")).at(name.as_str())
}

/// The trace of the request. A malformed one is none, as W3C Trace Context has it.
fn traceparent(call: &Call) -> Option<String> {
    const NAME: HeaderName = HeaderName::from_static("traceparent");
    let text = call.header(&NAME)?;
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let well_formed = matches!(parts[..], [version, trace, parent, flags]
        if hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2));
    well_formed.then(|| text.to_owned())
}

/// Adds the request's trace to an event that has none of its own.
pub(super) fn hand_on_trace(event: &mut Event, trace: &str) {
    const NAME: &str = "traceparent";
    if event.extension(NAME).is_some() || event.extensions.len() >= limit::EXTENSIONS_MAX {
        return;
    }
    event.text = event
        .text
        .take()
        .filter(|text| !mentions(text, NAME))
        .map(|text| {
            // The text is an object with members (it was parsed), so one more fits before its last brace.
            let body = text.strip_suffix(b"}").unwrap_or(&text);
            let mut spliced = Vec::with_capacity(text.len() + NAME.len() + trace.len() + 6);
            spliced.extend_from_slice(body);
            spliced.extend_from_slice(format!(",\"{NAME}\":\"{trace}\"}}").as_bytes());
            spliced.into()
        });
    event
        .extensions
        .push((NAME.to_owned(), Attribute::Text(trace.to_owned())));
}

/// Whether the text may hold a member of that name, such as one that is null: then it is written anew.
fn mentions(text: &[u8], name: &str) -> bool {
    text.windows(name.len()).any(|part| part == name.as_bytes())
}
