//! What a publish or send brings: events in any of the forms of the CloudEvents HTTP binding, or a plain body.

mod batch;
mod binary;
mod depth;
mod headers;
mod plain;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use millrace_model::event::media_type;
use millrace_model::{Data, Event, limit};

use crate::call::Call;
use crate::problem::Failure;

pub(crate) use headers::Instructions;

/// Why one event of a request is refused, with the id of the event if it has one.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<String>,
    pub(crate) failure: Failure,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { id: None, failure }
    }
}

/// An event that may go on, with its stored form.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) event: Event,
    pub(crate) stored: Bytes,
}

/// All events of a request, in order.
pub(crate) struct Intake {
    pub(crate) events: Vec<Result<Taken, Refused>>,
    /// Whether the request was a batch: then each event has its own result.
    pub(crate) is_batch: bool,
    pub(crate) instructions: Instructions,
}

/// How the events of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Batch,
    Structured,
    Binary,
    Plain,
}

/// Reads the events of a request. `place` is the path of the topic or queue: the `source` of a plain body;
/// `event_bytes_max` is the limit of the topic or queue.
///
/// # Errors
/// When nothing of the request can be taken. What is wrong with one event of a batch is told by its result.
pub(crate) async fn read(
    call: &mut Call,
    place: &str,
    event_bytes_max: usize,
) -> Result<Intake, Failure> {
    let form = form(call)?;
    let code = match form {
        Form::Batch => "batch_too_large",
        _ => "message_too_large",
    };
    let body = call
        .read_body(call.gateway.config().request_bytes_max, code)
        .await?;
    let instructions = Instructions::read(call, place, &body)?;
    let most = event_bytes_max.min(call.gateway.config().event_bytes_max);
    let finish = |event: Result<Event, Refused>| finish(event?, &instructions, most);
    let events = match form {
        Form::Batch => {
            let events = batch::read(&body, call.gateway.config().request_events_max)?;
            events.into_iter().map(finish).collect()
        }
        Form::Structured => vec![finish(structured(body))],
        Form::Binary => {
            let event = binary::read(&call.head.headers, body);
            vec![finish(event.map_err(Refused::from))]
        }
        Form::Plain => vec![finish(Ok(plain::read(call, place, &instructions, body)))],
    };
    Ok(Intake {
        events,
        is_batch: form == Form::Batch,
        instructions,
    })
}

fn form(call: &Call) -> Result<Form, Failure> {
    let content_type = match call.head.headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| bad_content_type())?,
        None => "",
    };
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    const FAMILY: &str = "application/cloudevents";
    let family = essence.get(..FAMILY.len());
    if is("application/cloudevents+json") {
        Ok(Form::Structured)
    } else if is("application/cloudevents-batch+json") {
        Ok(Form::Batch)
    } else if family.is_some_and(|family| family.eq_ignore_ascii_case(FAMILY)) {
        Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "of the CloudEvents formats only application/cloudevents+json and \
             application/cloudevents-batch+json are read",
        ))
    } else if call
        .head
        .headers
        .keys()
        .any(|name| name.as_str().starts_with("ce-"))
    {
        Ok(Form::Binary)
    } else {
        Ok(Form::Plain)
    }
}

fn bad_content_type() -> Failure {
    let detail = "Content-Type must be visible ASCII";
    Failure::bad_request("invalid_header", detail).at("content-type")
}

/// One event of the JSON format.
fn structured(text: Bytes) -> Result<Event, Refused> {
    if depth::is_too_deep(&text) {
        let detail = format!(
            "the event is nested deeper than {} levels",
            depth::LEVELS_MAX
        );
        return Err(Failure::bad_request("invalid_data", detail)
            .at("/data")
            .into());
    }
    Event::from_json(text)
        .map_err(|problems| Refused::from(Failure::problems(StatusCode::BAD_REQUEST, problems)))
}

/// Checks what was read against the limits, hands the trace on, and makes the stored form.
fn finish(
    mut event: Event,
    instructions: &Instructions,
    event_bytes_max: usize,
) -> Result<Taken, Refused> {
    let bytes = published_bytes(&event);
    if bytes > event_bytes_max {
        return Err(too_large(event, bytes, event_bytes_max));
    }
    if let Some(trace) = &instructions.traceparent {
        headers::hand_on_trace(&mut event, trace);
    }
    let mut stored = event.stored();
    if stored.len() > limit::STORED_EVENT_BYTES_MAX
        && let Data::Text(text) = &event.data
    {
        // Text full of quotes or control characters grows when it is escaped; base64 grows by a third.
        event.data = Data::Binary(text.clone());
        stored = event.stored();
    }
    if stored.len() > limit::STORED_EVENT_BYTES_MAX {
        let bytes = stored.len();
        return Err(too_large(event, bytes, limit::STORED_EVENT_BYTES_MAX));
    }
    Ok(Taken { event, stored })
}

fn too_large(event: Event, bytes: usize, most: usize) -> Refused {
    let detail = format!("the event has {bytes} bytes, and may have {most}");
    Refused {
        id: Some(event.id),
        failure: Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "message_too_large", detail),
    }
}

/// The size of an event as it was published: the JSON text, or attributes and data.
fn published_bytes(event: &Event) -> usize {
    if let Some(text) = &event.text {
        return text.len();
    }
    let optional = [
        &event.subject,
        &event.time,
        &event.content_type,
        &event.schema,
    ];
    let optional: usize = optional.into_iter().flatten().map(String::len).sum();
    let extension = |(name, value): &(String, _)| name.len() + extension_bytes(value);
    let extensions: usize = event.extensions.iter().map(extension).sum();
    let required = event.id.len() + event.source.len() + event.kind.len();
    required + optional + extensions + data_bytes(&event.data)
}

fn extension_bytes(value: &millrace_model::event::Attribute) -> usize {
    value.text().len()
}

fn data_bytes(data: &Data) -> usize {
    match data {
        Data::None => 0,
        Data::Json(bytes) | Data::Text(bytes) | Data::Binary(bytes) => bytes.len(),
    }
}

/// The data of a body: JSON and text where its media type says so and it is so, else bytes as they are.
fn data(content_type: Option<&str>, body: Bytes) -> Data {
    if body.is_empty() {
        return Data::None;
    }
    let Some(content_type) = content_type else {
        return Data::Binary(body);
    };
    if media_type::is_json(content_type) {
        if depth::is_too_deep(&body) {
            return Data::Binary(body);
        }
        return match serde_json::from_slice::<&serde_json::value::RawValue>(&body) {
            Ok(_) => Data::Json(body),
            Err(_) => Data::Binary(body),
        };
    }
    if is_utf8_text(content_type) && std::str::from_utf8(&body).is_ok() {
        return Data::Text(body);
    }
    Data::Binary(body)
}

/// Whether a media type is `text/*` in UTF-8. Text of another charset stays bytes: its charset parameter
/// would lie about a string.
fn is_utf8_text(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let charset = lower.split_once("charset=").map(|(_, rest)| rest);
    let charset = charset.map(|rest| {
        rest.split(';')
            .next()
            .unwrap_or("")
            .trim()
            .trim_matches('"')
    });
    lower.starts_with("text/") && matches!(charset, None | Some("utf-8" | "utf8" | "us-ascii"))
}
