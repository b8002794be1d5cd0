//! A CloudEvent 1.0: the message as published, and its stored form.

mod check;
pub mod media_type;
mod parse;
#[cfg(test)]
mod tests;

pub use check::is_attribute_name;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A CloudEvent as the broker works with it: attributes parsed, data kept as it came.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// `id`: unique within `source`.
    pub id: String,
    /// `source`: a URI reference.
    pub source: String,
    /// `type`: what happened.
    pub kind: String,
    /// `subject`, if any.
    pub subject: Option<String>,
    /// `time`, RFC 3339, as the producer wrote it.
    pub time: Option<String>,
    /// `datacontenttype`: the media type of the data.
    pub content_type: Option<String>,
    /// `dataschema`: a URI.
    pub schema: Option<String>,
    /// Extension attributes, in the order in which they came; names are lower-case letters and digits.
    pub extensions: Vec<(String, Attribute)>,
    /// The data.
    pub data: Data,
    /// The CloudEvents JSON text that the event came as, if it came complete in that form: it is stored
    /// as it is, so that bytes come out as they went in. Must be cleared when anything else is changed.
    pub text: Option<Bytes>,
}

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// A boolean.
    Boolean(bool),
    /// A 32-bit integer, as CloudEvents has it.
    Integer(i32),
    /// Everything else has a text form.
    Text(String),
}

impl Attribute {
    /// The canonical text of the value, as filters and plugins see it.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Boolean(value) => value.to_string().into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Text(value) => value.as_str().into(),
        }
    }
}

/// The data of an event.
#[derive(Clone, Debug, Default)]
pub enum Data {
    /// No data.
    #[default]
    None,
    /// Well-formed JSON text (checked), as it came.
    Json(Bytes),
    /// Text (UTF-8, checked) of another media type, unescaped.
    Text(Bytes),
    /// Bytes that are neither JSON nor text.
    Binary(Bytes),
}

impl Data {
    /// The data as bytes; none is empty.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::Json(bytes) | Self::Text(bytes) | Self::Binary(bytes) => bytes.clone(),
        }
    }
}

impl Event {
    /// The value of an attribute by its CloudEvents name (`id`, `source`, `type`, `subject`, `time`,
    /// `datacontenttype`, `dataschema`, or an extension).
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        match name {
            "id" => Some(self.id.as_str().into()),
            "source" => Some(self.source.as_str().into()),
            "type" => Some(self.kind.as_str().into()),
            "specversion" => Some("1.0".into()),
            "subject" => self.subject.as_deref().map(Into::into),
            "time" => self.time.as_deref().map(Into::into),
            "datacontenttype" => self.content_type.as_deref().map(Into::into),
            "dataschema" => self.schema.as_deref().map(Into::into),
            _ => self.extension(name).map(Attribute::text),
        }
    }

    /// The value of an extension attribute.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&Attribute> {
        self.extensions
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The data as a JSON value, when it is JSON: either written as JSON, or in base64 with a media type
    /// that says so. Nothing when it is anything else, and when a number or the nesting is past what
    /// `serde_json` reads.
    #[must_use]
    pub fn json_data(&self) -> Option<serde_json::Value> {
        match &self.data {
            Data::Json(bytes) => serde_json::from_slice(bytes).ok(),
            Data::Binary(bytes)
                if self
                    .content_type
                    .as_deref()
                    .is_some_and(media_type::is_json) =>
            {
                serde_json::from_slice(bytes).ok()
            }
            _ => None,
        }
    }

    /// The stored form: the CloudEvents JSON text, ready to be sent to a consumer as it is.
    #[must_use]
    pub fn stored(&self) -> Bytes {
        match &self.text {
            Some(text) => text.clone(),
            None => self.encode(),
        }
    }

    fn encode(&self) -> Bytes {
        let data_bytes = match &self.data {
            Data::Json(json) => json.len(),
            // Escaped, or as base64.
            other => other.bytes().len() / 3 * 4,
        };
        let mut text = Vec::with_capacity(data_bytes + 256);
        text.extend_from_slice(b"{\"specversion\":\"1.0\"");
        self.put_attributes(&mut text);
        self.data.put(&mut text);
        text.push(b'}');
        text.into()
    }

    fn put_attributes(&self, text: &mut Vec<u8>) {
        put(text, "id", &self.id);
        put(text, "source", &self.source);
        put(text, "type", &self.kind);
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.content_type),
            ("dataschema", &self.schema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                put(text, name, value);
            }
        }
        for (name, value) in &self.extensions {
            assert!(is_attribute_name(name), "{name:?} was not checked");
            put(text, name, value);
        }
    }
}

/// Puts a member behind others. The names of members are lower-case letters, digits and `_`, which JSON writes as they are.
fn put<T: Serialize + ?Sized>(text: &mut Vec<u8>, name: &str, value: &T) {
    put_name(text, name);
    serde_json::to_writer(text, value).expect("a text, and a vector takes every write");
}

fn put_name(text: &mut Vec<u8>, name: &str) {
    text.extend_from_slice(b",\"");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
}

impl Data {
    fn put(&self, text: &mut Vec<u8>) {
        match self {
            Self::None => {}
            // It was found to be JSON when it was read: to parse it again, as a raw value of serde would be, was a tenth of
            // what writing an event costs.
            Self::Json(json) => {
                put_name(text, "data");
                text.extend_from_slice(json);
            }
            Self::Text(bytes) => {
                let data = std::str::from_utf8(bytes).expect("checked when it was read");
                put(text, "data", data);
            }
            Self::Binary(bytes) => {
                use base64::Engine as _;
                let data = base64::engine::general_purpose::STANDARD.encode(bytes);
                put(text, "data_base64", &data);
            }
        }
    }
}
