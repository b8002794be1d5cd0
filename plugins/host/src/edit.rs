//! Makes a new event of an event and a transform's output.

use bytes::Bytes;
use millrace_model::event::{Attribute, Data, Event, media_type};
use millrace_model::limit::{EVENT_BYTES_MAX, STORED_EVENT_BYTES_MAX};

use crate::contract::{AttributeEdit, Output, Payload};
use crate::failure::Failure;

/// Whether `output` changes the event at all. `ordinal` is its place among the outputs of the event.
pub(crate) fn changes(output: &Output, ordinal: usize) -> bool {
    ordinal > 0 || !output.attributes.is_empty() || matches!(output.payload, Payload::Replaced(_))
}

/// The event that `output` makes of `event`.
///
/// # Errors
/// A [`Failure`] when the result is no CloudEvent, or is too large.
pub(crate) fn edited(event: &Event, output: Output, ordinal: usize) -> Result<Event, Failure> {
    let mut edited = Event {
        text: None,
        ..event.clone()
    };
    if ordinal > 0 {
        // Two events of one id would be one to a consumer that goes by `source` and `id`.
        edited.id = format!("{}#{ordinal}", event.id);
    }
    for edit in output.attributes {
        set(&mut edited, edit)?;
    }
    if let Payload::Replaced(data) = output.payload {
        edited.data = data_of(&edited, data.into())?;
    }
    check(&edited)?;
    Ok(edited)
}

fn set(event: &mut Event, AttributeEdit { name, value }: AttributeEdit) -> Result<(), Failure> {
    let required = |value: Option<String>| {
        value.ok_or_else(|| Failure::contract(format!("the plugin removes {name}")))
    };
    match name.as_str() {
        "id" | "specversion" => {
            return Err(Failure::contract(format!(
                "the plugin sets {name}, which stays as it is"
            )));
        }
        "source" => event.source = required(value)?,
        "type" => event.kind = required(value)?,
        "subject" => event.subject = value,
        "time" => event.time = value,
        "datacontenttype" => event.content_type = value,
        "dataschema" => event.schema = value,
        _ => set_extension(event, name, value),
    }
    Ok(())
}

fn set_extension(event: &mut Event, name: String, value: Option<String>) {
    let at = event
        .extensions
        .iter()
        .position(|(extension, _)| *extension == name);
    match (at, value.map(Attribute::Text)) {
        (Some(at), Some(value)) => event.extensions[at].1 = value,
        (Some(at), None) => drop(event.extensions.remove(at)),
        (None, Some(value)) => event.extensions.push((name, value)),
        (None, None) => {}
    }
}

/// The form of new data follows the media type; without one, JSON is tried first, as the JSON event format has it.
fn data_of(event: &Event, data: Bytes) -> Result<Data, Failure> {
    if data.len() > EVENT_BYTES_MAX {
        return Err(too_large(data.len()));
    }
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_ok();
    match event.content_type.as_deref() {
        Some(media_type) if media_type::is_json(media_type) => {
            let wrong = || {
                Failure::contract(format!(
                    "the plugin's data is not JSON, but {media_type} says so"
                ))
            };
            if is_json() {
                Ok(Data::Json(data))
            } else {
                Err(wrong())
            }
        }
        None if is_json() => Ok(Data::Json(data)),
        Some(_) if std::str::from_utf8(&data).is_ok() => Ok(Data::Text(data)),
        _ => Ok(Data::Binary(data)),
    }
}

fn check(event: &Event) -> Result<(), Failure> {
    match event.problems().first() {
        Some(problem) => Err(Failure::contract(format!(
            "the plugin's event is not good: {}: {}",
            problem.pointer, problem.detail
        ))),
        None => Ok(()),
    }
}

/// The stored form of an edited event.
///
/// # Errors
/// A [`Failure`] when it is larger than an event may be.
pub(crate) fn stored(event: &Event) -> Result<Bytes, Failure> {
    let stored = event.stored();
    if stored.len() > STORED_EVENT_BYTES_MAX {
        Err(too_large(stored.len()))
    } else {
        Ok(stored)
    }
}

fn too_large(bytes: usize) -> Failure {
    Failure::new(
        "plugin_output_too_large",
        format!("the plugin made an event of {bytes} bytes"),
    )
}
