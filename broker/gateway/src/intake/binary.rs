//! The binary mode: attributes in `ce-` headers, data in the body.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use millrace_model::event::Attribute;
use millrace_model::{Event, Problem, limit};

use super::data;
use crate::problem::Failure;

/// The event of a request in binary mode.
///
/// # Errors
/// 400, with the header that is wrong as the pointer.
pub(super) fn read(headers: &HeaderMap, body: Bytes) -> Result<Event, Failure> {
    let mut event = Event::default();
    let mut specversion = None;
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let text = decode(value).ok_or_else(|| undecodable(name.as_str()))?;
        if attribute == "specversion" {
            specversion = Some(text);
        } else if !set(&mut event, attribute, text) {
            return Err(misplaced(name.as_str()));
        }
    }
    check_once(headers)?;
    check_specversion(specversion.as_deref())?;
    event.content_type = content_type(headers);
    event.data = data(event.content_type.as_deref(), body);
    let mut problems = event.problems();
    if problems.is_empty() {
        return Ok(event);
    }
    problems.iter_mut().for_each(point_to_header);
    Err(Failure::problems(StatusCode::BAD_REQUEST, problems))
}

/// The media type of the body, as it came.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Sets an attribute; false for those that have no header.
fn set(event: &mut Event, attribute: &str, text: String) -> bool {
    match attribute {
        "id" => event.id = text,
        "source" => event.source = text,
        "type" => event.kind = text,
        "subject" => event.subject = Some(text),
        "time" => event.time = Some(text),
        "dataschema" => event.schema = Some(text),
        // The media type is Content-Type, and the data is the body.
        "datacontenttype" | "data" | "data_base64" => return false,
        _ if event.extensions.len() > limit::EXTENSIONS_MAX => {}
        _ => event
            .extensions
            .push((attribute.to_owned(), Attribute::Text(text))),
    }
    true
}

/// A header's value as the CloudEvents HTTP binding has it: unquoted, then percent-decoded to UTF-8.
fn decode(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let text = unquote(text)?;
    if !text.contains('%') {
        return Some(text.into_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(hex(digits[0])? << 4 | hex(digits[1])?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// A quoted-string (RFC 9110) without its quotes; other text as it is.
fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = text.strip_prefix('"') else {
        return Some(text.into());
    };
    let inner = inner.strip_suffix('"')?;
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(characters.next()?),
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(plain.into())
}

fn check_once(headers: &HeaderMap) -> Result<(), Failure> {
    let repeated = headers
        .keys()
        .find(|name| name.as_str().starts_with("ce-") && headers.get_all(*name).iter().count() > 1);
    match repeated {
        None => Ok(()),
        Some(name) => Err(refused(
            name.as_str(),
            "duplicate_attribute",
            "must be given once: leave the others out",
        )),
    }
}

fn check_specversion(specversion: Option<&str>) -> Result<(), Failure> {
    match specversion {
        Some("1.0") => Ok(()),
        Some(_) => Err(refused(
            "ce-specversion",
            "unsupported_specversion",
            "must be 1.0: no other version of CloudEvents is read",
        )),
        None => Err(refused(
            "ce-specversion",
            "missing_attribute",
            "must be present: 1.0; without any ce- header the broker fills the attributes",
        )),
    }
}

fn point_to_header(problem: &mut Problem) {
    if let Some(attribute) = problem.pointer.strip_prefix('/') {
        problem.pointer = match attribute {
            "datacontenttype" => "content-type".to_owned(),
            _ => format!("ce-{attribute}"),
        };
    }
}

fn undecodable(header: &str) -> Failure {
    let detail = "must be percent-encoded UTF-8, as the CloudEvents HTTP binding has it";
    refused(header, "invalid_attribute", detail)
}

fn misplaced(header: &str) -> Failure {
    let detail = "is not a header of the binary mode: Content-Type and the body say it";
    refused(header, "invalid_attribute", detail)
}

fn refused(header: &str, code: &str, detail: &str) -> Failure {
    let problem = Problem::new(header, code, format!("{header} {detail}"));
    Failure::problems(StatusCode::BAD_REQUEST, vec![problem])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_unquoted_and_decoded() {
        for (value, want) in [
            ("plain", Some("plain")),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            ("\"a \\\"b\\\" c%25\"", Some("a \"b\" c%")),
            ("caf\u{e9}", Some("café")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+4", None),
            ("%C3%28", None),
            ("\"open", None),
            ("\"a\"b\"", None),
        ] {
            let header = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
            assert_eq!(decode(&header).as_deref(), want, "{value:?}");
        }
    }
}
