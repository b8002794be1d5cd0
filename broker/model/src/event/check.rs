//! Whether an event's attributes are as CloudEvents 1.0 wants them, however the event came.

use crate::event::{Attribute, Event, media_type};
use crate::limit;
use crate::problem::{self, Problem};

/// Names that an extension cannot have.
const RESERVED: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
];

impl Event {
    /// What is wrong with the attributes; pointers are into the event's JSON form (`/source`).
    ///
    /// Codes: `missing_attribute` (required, and absent or empty), `invalid_attribute` (name or value),
    /// `attribute_too_large`, `too_many_attributes`, `duplicate_attribute`.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_required(&mut problems);
        self.check_optional(&mut problems);
        self.check_extensions(&mut problems);
        problems
    }

    fn check_required(&self, problems: &mut Vec<Problem>) {
        let required = [
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.kind),
        ];
        for (name, value) in required {
            if value.is_empty() {
                problems.push(missing(name));
            } else {
                check_text(name, value, problems);
            }
        }
        check_with(
            "source",
            Some(&self.source),
            is_uri_reference,
            URI,
            problems,
        );
    }

    fn check_optional(&self, problems: &mut Vec<Problem>) {
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.content_type),
            ("dataschema", &self.schema),
        ];
        for (name, value) in optional {
            match value {
                Some(value) if value.is_empty() => {
                    problems.push(invalid(name, "must not be empty: leave it out instead"));
                }
                Some(value) => check_text(name, value, problems),
                None => {}
            }
        }
        let (time, schema) = (self.time.as_deref(), self.schema.as_deref());
        let content_type = self.content_type.as_deref();
        check_with("time", time, is_rfc_3339, TIME, problems);
        check_with(
            "datacontenttype",
            content_type,
            media_type::is_valid,
            MEDIA_TYPE,
            problems,
        );
        check_with("dataschema", schema, is_uri_reference, URI, problems);
    }

    fn check_extensions(&self, problems: &mut Vec<Problem>) {
        if self.extensions.len() > limit::EXTENSIONS_MAX {
            problems.push(too_many());
            return;
        }
        for (index, (name, value)) in self.extensions.iter().enumerate() {
            if !is_extension_name(name) {
                problems.push(bad_name(name));
            }
            if self.extensions[..index]
                .iter()
                .any(|(other, _)| other == name)
            {
                problems.push(duplicate(name));
            }
            if let Attribute::Text(text) = value {
                check_text(name, text, problems);
            }
        }
        self.check_routing_key(problems);
    }

    /// Key filters bound their work by the length of the key.
    fn check_routing_key(&self, problems: &mut Vec<Problem>) {
        let key = self.extension("routingkey").map(Attribute::text);
        let most = limit::FILTER_TERM_BYTES_MAX;
        if key.is_some_and(|key| key.len() > most) {
            let detail = format!("must be at most {most} bytes");
            problems.push(Problem::new("/routingkey", "attribute_too_large", detail));
        }
    }
}

const URI: &str = "must be a URI reference, which has no spaces";
const TIME: &str = "must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z";
const MEDIA_TYPE: &str = "must be a media type such as application/json";

/// The value of `name`, if it is there at all, passes `check`. An empty one has its own problem already.
fn check_with(
    name: &str,
    value: Option<&str>,
    check: fn(&str) -> bool,
    detail: &str,
    problems: &mut Vec<Problem>,
) {
    if value.is_some_and(|value| !value.is_empty() && !check(value)) {
        problems.push(invalid(name, detail));
    }
}

fn check_text(name: &str, text: &str, problems: &mut Vec<Problem>) {
    if text.len() > limit::ATTRIBUTE_BYTES_MAX {
        let detail = format!(
            "must be at most {} bytes, got {}: large values belong in the data",
            limit::ATTRIBUTE_BYTES_MAX,
            text.len()
        );
        problems.push(Problem::new(pointer(name), "attribute_too_large", detail));
    }
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !plain && !text.chars().all(is_allowed) {
        let detail = "must hold no control characters and no Unicode noncharacters";
        problems.push(invalid(name, detail));
    }
}

/// The characters of the CloudEvents type String.
fn is_allowed(character: char) -> bool {
    let code = u32::from(character);
    let noncharacter = (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe;
    !character.is_control() && !noncharacter
}

/// Whether an event can have an attribute of this name, CloudEvents' own or an extension.
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    is_extension_name(name) || (RESERVED.contains(&name) && name != "data")
}

/// Lower-case letters and digits. CloudEvents advises 20 characters; up to 64 are taken, since producers
/// exist that exceed the advice.
fn is_extension_name(name: &str) -> bool {
    (1..=limit::EXTENSION_NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && !RESERVED.contains(&name)
}

/// A light check: the parts of a URI are the consumer's business, but it never has white space.
fn is_uri_reference(text: &str) -> bool {
    !text
        .chars()
        .any(|character| character.is_whitespace() || character.is_control())
}

/// `date "T" time [fraction] offset`, with a date that exists. Leap seconds and any number of fractional
/// digits are taken, as RFC 3339 has them.
fn is_rfc_3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((moment, rest)) = bytes.split_at_checked(19) else {
        return false;
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let shaped = separators.iter().all(|(at, byte)| moment[*at] == *byte)
        && moment[10].eq_ignore_ascii_case(&b'T');
    shaped && is_date(moment) && is_time_of_day(moment) && is_offset(after_fraction(rest))
}

fn is_date(moment: &[u8]) -> bool {
    let (Some(century), Some(year)) = (two_digits(moment, 0), two_digits(moment, 2)) else {
        return false;
    };
    let (Some(month), Some(day)) = (two_digits(moment, 5), two_digits(moment, 8)) else {
        return false;
    };
    let year = i16::from(century) * 100 + i16::from(year);
    jiff::civil::Date::new(year, month, day).is_ok()
}

fn is_time_of_day(moment: &[u8]) -> bool {
    [(11, 23), (14, 59), (17, 60)]
        .iter()
        .all(|(at, most)| two_digits(moment, *at).is_some_and(|value| value <= *most))
}

/// What follows the fraction, if there is one; nothing when it has no digits.
fn after_fraction(rest: &[u8]) -> &[u8] {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return rest;
    };
    let digits = fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 {
        &[]
    } else {
        &fraction[digits..]
    }
}

fn is_offset(text: &[u8]) -> bool {
    match text {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', _, _, b':', _, _] => {
            two_digits(text, 1).is_some_and(|hours| hours <= 23)
                && two_digits(text, 4).is_some_and(|minutes| minutes <= 59)
        }
        _ => false,
    }
}

fn two_digits(bytes: &[u8], at: usize) -> Option<i8> {
    let (tens, ones) = (bytes.get(at)?, bytes.get(at + 1)?);
    let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    digits.then(|| (tens - b'0') as i8 * 10 + (ones - b'0') as i8)
}

/// The JSON Pointer of an attribute. A hostile name may be as long as a request; the pointer is not.
pub(super) fn pointer(name: &str) -> String {
    let end = name.floor_char_boundary(limit::EXTENSION_NAME_BYTES_MAX);
    problem::child("", &name[..end])
}

pub(super) fn missing(name: &str) -> Problem {
    let detail = format!("the attribute {name} must be present and not empty");
    Problem::new(pointer(name), "missing_attribute", detail)
}

pub(super) fn invalid(name: &str, detail: &str) -> Problem {
    Problem::new(pointer(name), "invalid_attribute", detail)
}

pub(super) fn duplicate(name: &str) -> Problem {
    let detail = "must be given once: leave the others out";
    Problem::new(pointer(name), "duplicate_attribute", detail)
}

pub(super) fn too_many() -> Problem {
    let detail = format!(
        "must have at most {} extension attributes",
        limit::EXTENSIONS_MAX
    );
    Problem::new("", "too_many_attributes", detail)
}

fn bad_name(name: &str) -> Problem {
    let detail = format!(
        "extension names are 1 to {} lower-case letters and digits, and none of CloudEvents' own names",
        limit::EXTENSION_NAME_BYTES_MAX
    );
    invalid(name, &detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for good in [
            "2018-04-05T17:31:00Z",
            "2018-04-05t17:31:00.123456789012z",
            "2016-12-31T23:59:60Z",
            "2024-02-29T00:00:00+05:30",
            "0000-01-01T00:00:00-00:00",
        ] {
            assert!(is_rfc_3339(good), "{good:?} is RFC 3339");
        }
        for bad in [
            "",
            "2018-04-05",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T24:00:00Z",
            "2023-02-29T00:00:00Z",
            "2018-13-05T17:31:00Z",
            "2018-04-05T17:31:00+5:30",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00Z ",
            "２018-04-05T17:31:00Z",
        ] {
            assert!(!is_rfc_3339(bad), "{bad:?} is not RFC 3339");
        }
    }

    #[test]
    fn pointers_are_escaped_and_short() {
        assert_eq!(pointer("a/b~c"), "/a~1b~0c");
        assert_eq!(
            pointer(&"x".repeat(9_999)).len(),
            1 + limit::EXTENSION_NAME_BYTES_MAX
        );
    }
}
