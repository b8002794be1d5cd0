//! Reads CloudEvents JSON text (the JSON event format 1.0), in one pass, without copying the data.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::check::{duplicate, invalid, missing, pointer, too_many};
use crate::event::{Attribute, Data, Event, media_type};
use crate::limit;
use crate::problem::Problem;

/// The members of an event that are not extensions; a bit of `Draft::seen` each.
const MEMBERS: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

impl Event {
    /// Reads one event from CloudEvents JSON text. The text is kept in [`Event::text`], so that the event
    /// is stored as it came; the data is a slice of it wherever it needs no unescaping.
    ///
    /// An attribute that is null counts as absent. `data` becomes [`Data::Text`] when it is a string and
    /// `datacontenttype` names another media type than JSON, else [`Data::Json`]; `data_base64` becomes
    /// [`Data::Binary`]. JSON data is checked by the grammar alone: a number may be larger, and the
    /// nesting deeper, than a reader wants to take ([`Event::json_data`]).
    ///
    /// # Errors
    /// Every problem found (32 at most), never none. Codes: `malformed_json` (not JSON at all, or not UTF-8),
    /// `invalid_event` (not an object), `unsupported_specversion`, `conflicting_data` (`data` and
    /// `data_base64`), `invalid_data` (bad base64, or text with a lone surrogate), and those of
    /// [`Event::problems`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the event keeps slices of the text: to its caller this is a hand-over"
    )]
    pub fn from_json(text: Bytes) -> Result<Self, Vec<Problem>> {
        let json = std::str::from_utf8(&text).map_err(|error| vec![not_utf8(error)])?;
        let json = json.trim_matches([' ', '\t', '\r', '\n']);
        let draft =
            serde_json::from_str::<Draft<'_>>(json).map_err(|error| vec![unread(json, &error)])?;
        let mut event = draft.finish(&text)?;
        event.text = Some(text.slice_ref(json.as_bytes()));
        Ok(event)
    }
}

fn not_utf8(error: std::str::Utf8Error) -> Problem {
    let detail = format!("the text is not UTF-8 after byte {}", error.valid_up_to());
    Problem::new("", "malformed_json", detail)
}

fn unread(json: &str, error: &serde_json::Error) -> Problem {
    if error.is_data() && !json.starts_with('{') {
        return Problem::new("", "invalid_event", "an event is a JSON object");
    }
    Problem::new(
        "",
        "malformed_json",
        format!("the text is not JSON: {error}"),
    )
}

/// An event while it is read.
#[derive(Default)]
struct Draft<'a> {
    event: Event,
    specversion: Option<String>,
    data: Option<&'a RawValue>,
    data_base64: Option<Cow<'a, str>>,
    /// Which of `MEMBERS` have been there.
    seen: u16,
    /// Names of extensions that were null.
    absent: Vec<Cow<'a, str>>,
    problems: Vec<Problem>,
}

impl<'a> Draft<'a> {
    /// Notes that a member has come, and tells whether it is the first time.
    fn is_first(&mut self, name: &str) -> bool {
        let Some(index) = MEMBERS.iter().position(|member| *member == name) else {
            return true;
        };
        let bit = 1 << index;
        let first = self.seen & bit == 0;
        self.seen |= bit;
        if !first {
            self.problem(duplicate(name));
        }
        first
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < limit::PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn set(&mut self, name: Cow<'a, str>, value: Scalar<'a>) {
        match &*name {
            "specversion" => self.specversion = self.text(&name, value),
            "id" => self.event.id = self.text(&name, value).unwrap_or_default(),
            "source" => self.event.source = self.text(&name, value).unwrap_or_default(),
            "type" => self.event.kind = self.text(&name, value).unwrap_or_default(),
            "subject" => self.event.subject = self.text(&name, value),
            "time" => self.event.time = self.text(&name, value),
            "datacontenttype" => self.event.content_type = self.text(&name, value),
            "dataschema" => self.event.schema = self.text(&name, value),
            "data_base64" => self.set_base64(value),
            _ => self.set_extension(name, value),
        }
    }

    /// The value of an attribute that CloudEvents defines as text.
    fn text(&mut self, name: &str, value: Scalar<'a>) -> Option<String> {
        match value {
            Scalar::Text(text) => Some(text.into_owned()),
            Scalar::Null => None,
            _ => {
                self.problem(invalid(name, "must be a string"));
                None
            }
        }
    }

    fn set_base64(&mut self, value: Scalar<'a>) {
        match value {
            Scalar::Text(text) => self.data_base64 = Some(text),
            Scalar::Null => {}
            _ => self.problem(bad_data("must be a string in base64")),
        }
    }

    fn set_extension(&mut self, name: Cow<'a, str>, value: Scalar<'a>) {
        if self.event.extensions.len() + self.absent.len() > limit::EXTENSIONS_MAX {
            return;
        }
        if self.absent.contains(&name) || self.event.extension(&name).is_some() {
            return self.problem(duplicate(&name));
        }
        let value = match value {
            Scalar::Null => return self.absent.push(name),
            Scalar::Boolean(value) => Attribute::Boolean(value),
            Scalar::Integer(value) => Attribute::Integer(value),
            Scalar::Text(text) => Attribute::Text(text.into_owned()),
            Scalar::Other => {
                let detail = "must be a string, a boolean or a whole number of 32 bits";
                return self.problem(invalid(&name, detail));
            }
        };
        self.event.extensions.push((name.into_owned(), value));
    }

    /// The event, if nothing is wrong with it. `text` is what all this was read from.
    fn finish(mut self, text: &Bytes) -> Result<Event, Vec<Problem>> {
        self.check_specversion();
        if self.event.extensions.len() + self.absent.len() > limit::EXTENSIONS_MAX {
            self.problem(too_many());
        }
        match self.read_data(text) {
            Ok(data) => self.event.data = data,
            Err(problem) => self.problem(problem),
        }
        for problem in self.event.problems() {
            if !self.is_reported(&problem.pointer) {
                self.problem(problem);
            }
        }
        if self.problems.is_empty() {
            return Ok(self.event);
        }
        Err(self.problems)
    }

    /// A value of the wrong type is not also a missing one.
    fn is_reported(&self, pointer: &str) -> bool {
        self.problems.iter().any(|known| known.pointer == pointer)
    }

    fn check_specversion(&mut self) {
        match self.specversion.as_deref() {
            Some("1.0") => {}
            None if self.is_reported("/specversion") => {}
            None => self.problem(missing("specversion")),
            Some(_) => {
                let detail = "must be \"1.0\": no other version of CloudEvents is read";
                self.problem(Problem::new(
                    "/specversion",
                    "unsupported_specversion",
                    detail,
                ));
            }
        }
    }

    fn read_data(&self, text: &Bytes) -> Result<Data, Problem> {
        let data = self.data.map(RawValue::get);
        match (data, &self.data_base64) {
            (None | Some("null"), Some(encoded)) => read_base64(encoded),
            (Some(_), Some(_)) => Err(Problem::new(
                pointer("data_base64"),
                "conflicting_data",
                "an event has data or data_base64, not both",
            )),
            (Some(raw), None) if raw.starts_with('"') && self.is_text() => read_text(raw, text),
            (Some(raw), None) => Ok(Data::Json(text.slice_ref(raw.as_bytes()))),
            (None, None) => Ok(Data::None),
        }
    }

    /// Whether a data string stands for text, and not for a JSON string.
    fn is_text(&self) -> bool {
        let content_type = self.event.content_type.as_deref();
        content_type.is_some_and(|content_type| !media_type::is_json(content_type))
    }
}

fn read_base64(encoded: &str) -> Result<Data, Problem> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|error| bad_data(&format!("must be base64 (RFC 4648): {error}")))?;
    Ok(Data::Binary(bytes.into()))
}

fn read_text(raw: &str, text: &Bytes) -> Result<Data, Problem> {
    if !raw.contains('\\') {
        return Ok(Data::Text(
            text.slice_ref(&raw.as_bytes()[1..raw.len() - 1]),
        ));
    }
    let unescaped: String = serde_json::from_str(raw)
        .map_err(|error| Problem::new("/data", "invalid_data", format!("must be text: {error}")))?;
    Ok(Data::Text(unescaped.into()))
}

fn bad_data(detail: &str) -> Problem {
    Problem::new(pointer("data_base64"), "invalid_data", detail)
}

impl<'de> Deserialize<'de> for Draft<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor)
    }
}

struct DraftVisitor;

impl<'de> Visitor<'de> for DraftVisitor {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft<'de>, A::Error> {
        let mut draft = Draft::default();
        while let Some(MemberName(name)) = map.next_key()? {
            let first = draft.is_first(&name);
            if name == "data" {
                draft.data = Some(map.next_value()?);
                continue;
            }
            let value = map.next_value()?;
            if first {
                draft.set(name, value);
            }
        }
        Ok(draft)
    }
}

/// A member's name, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of an attribute.
enum Scalar<'a> {
    Null,
    Boolean(bool),
    Integer(i32),
    Text(Cow<'a, str>),
    /// An object, an array, or a number that is not a whole one of 32 bits.
    Other,
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(i32::try_from(value).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(i32::try_from(value).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}
