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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn event() -> Event {
        let text = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","subject":"x","tags":"a,b",
            "datacontenttype":"application/json","data":{"n":1}}"#;
        Event::from_json(text.into()).unwrap()
    }

    fn output(payload: Payload, edits: &[(&str, Option<&str>)]) -> Output {
        let edit = |(name, value): &(&str, Option<&str>)| AttributeEdit {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
        };
        Output {
            to: Vec::new(),
            payload,
            attributes: edits.iter().map(edit).collect(),
            delay_ms: None,
        }
    }

    fn json(event: &Event) -> serde_json::Value {
        serde_json::from_slice(&stored(event).unwrap()).unwrap()
    }

    #[test]
    fn the_untouched_event_is_no_change() {
        assert!(!changes(&output(Payload::Same, &[]), 0));
        assert!(
            changes(&output(Payload::Same, &[]), 1),
            "a second one needs another id"
        );
        assert!(changes(&output(Payload::Same, &[("subject", None)]), 0));
    }

    #[test]
    fn attributes_are_set_and_removed_and_the_rest_stays() {
        let edits = [
            ("subject", None),
            ("tags", Some("c")),
            ("region", Some("eu")),
            ("absent", None),
            ("type", Some("u")),
        ];
        let edited = json(&edited(&event(), output(Payload::Same, &edits), 0).unwrap());
        let expected = serde_json::json!({"specversion": "1.0", "id": "7", "source": "/s", "type": "u", "tags": "c",
            "region": "eu", "datacontenttype": "application/json", "data": {"n": 1}});
        assert_eq!(edited, expected);
    }

    #[test]
    fn later_outputs_have_ids_of_their_own() {
        assert_eq!(
            edited(&event(), output(Payload::Same, &[]), 2).unwrap().id,
            "7#2"
        );
    }

    #[test]
    fn what_would_be_no_cloudevent_breaks_the_contract() {
        for edits in [
            [("id", Some("8"))],
            [("specversion", None)],
            [("type", None)],
            [("source", Some(""))],
            [("time", Some("yesterday"))],
            [("Upper", Some("x"))],
            [("data", Some("x"))],
            [("tags", Some("line\nbreak"))],
        ] {
            let failure = edited(&event(), output(Payload::Same, &edits), 0).unwrap_err();
            assert_eq!(failure.code, "plugin_contract", "{edits:?}");
        }
    }

    #[test]
    fn new_data_takes_the_form_of_its_media_type() {
        let form = |media_type: Option<&str>, data: &[u8]| {
            let edits = [("datacontenttype", media_type)];
            edited(
                &event(),
                output(Payload::Replaced(data.to_vec()), &edits),
                0,
            )
            .map(|event| event.data)
        };
        assert!(matches!(
            form(Some("application/json"), b"[1]"),
            Ok(Data::Json(_))
        ));
        assert!(
            matches!(form(Some("application/json"), b"[1"), Err(failure) if failure.code == "plugin_contract")
        );
        assert!(matches!(
            form(Some("text/plain"), b"[1]"),
            Ok(Data::Text(_))
        ));
        assert!(matches!(
            form(Some("text/plain"), b"\xff"),
            Ok(Data::Binary(_))
        ));
        assert!(matches!(form(None, b"[1]"), Ok(Data::Json(_))));
        assert!(matches!(form(None, b"[1"), Ok(Data::Binary(_))));
    }

    #[test]
    fn an_event_that_grows_too_large_fails() {
        let large = Payload::Replaced(vec![b' '; EVENT_BYTES_MAX + 1]);
        assert_eq!(
            edited(&event(), output(large, &[]), 0).unwrap_err().code,
            "plugin_output_too_large"
        );
    }
}
