//! Preconditions: `If-Match` and `If-None-Match` against the version of a thing.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use millrace_model::command::Expect;
use millrace_model::{Refusal, Revision};

use crate::problem::Failure;

/// One entity tag of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// `*`.
    Any,
    /// The tag of a version.
    Version(Revision),
    /// A tag that no version has.
    Foreign,
}

/// What a change expects of the thing, whose version is `present` if it exists.
///
/// # Errors
/// 412 when a tag can be of no version, 400 `invalid_header` for a malformed header.
pub(crate) fn expect(headers: &HeaderMap, present: Option<Revision>) -> Result<Expect, Failure> {
    let (matching, none) = (tags(headers, &IF_MATCH)?, tags(headers, &IF_NONE_MATCH)?);
    if !none.is_empty() {
        return expect_none(&none, &matching, present);
    }
    if matching.contains(&Tag::Any) {
        return Ok(Expect::Present);
    }
    let versions = || {
        matching.iter().filter_map(|tag| match tag {
            Tag::Version(version) => Some(*version),
            _ => None,
        })
    };
    let wanted = versions().find(|version| Some(*version) == present);
    match wanted.or_else(|| versions().next()) {
        Some(version) => Ok(Expect::Version(version)),
        None if matching.is_empty() => Ok(Expect::Any),
        None => Err(Refusal::PreconditionFailed(present).into()),
    }
}

fn expect_none(
    none: &[Tag],
    matching: &[Tag],
    present: Option<Revision>,
) -> Result<Expect, Failure> {
    if none == [Tag::Any] && matching.is_empty() {
        return Ok(Expect::Absent);
    }
    let matches = none.iter().any(|tag| is(*tag, present));
    if matches || !matching.is_empty() {
        return Err(Refusal::PreconditionFailed(present).into());
    }
    Ok(present.map_or(Expect::Absent, Expect::Version))
}

/// Whether `If-None-Match` names the present version: a read answers 304 then.
///
/// # Errors
/// 400 `invalid_header`.
pub(crate) fn is_known(headers: &HeaderMap, present: Revision) -> Result<bool, Failure> {
    let none = tags(headers, &IF_NONE_MATCH)?;
    Ok(none.iter().any(|tag| is(*tag, Some(present))))
}

fn is(tag: Tag, present: Option<Revision>) -> bool {
    match tag {
        Tag::Any => present.is_some(),
        Tag::Version(version) => present == Some(version),
        Tag::Foreign => false,
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<Tag>, Failure> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| malformed(name))?;
        for one in text.split(',') {
            tags.push(tag(one.trim()).ok_or_else(|| malformed(name))?);
        }
    }
    Ok(tags)
}

fn tag(text: &str) -> Option<Tag> {
    if text == "*" {
        return Some(Tag::Any);
    }
    // A proxy that compresses makes our tags weak; the version is the same all the same.
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let version = inner
        .parse()
        .ok()
        .filter(|version: &u64| version.to_string() == inner);
    Some(version.map_or(Tag::Foreign, |version| Tag::Version(Revision(version))))
}

fn malformed(name: &HeaderName) -> Failure {
    let detail = format!("{name} must be entity tags, such as \"7\", or *");
    Failure::bad_request("invalid_header", detail).at(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(pairs: &[(HeaderName, &'static str)], present: Option<u64>) -> Result<Expect, u16> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value)));
        let headers = headers.collect();
        expect(&headers, present.map(Revision)).map_err(|failure| failure.status().as_u16())
    }

    #[test]
    fn preconditions_become_expectations() {
        let seven = Expect::Version(Revision(7));
        for (name, value, present, want) in [
            (IF_MATCH, "*", None, Ok(Expect::Present)),
            (IF_MATCH, "\"7\"", Some(3), Ok(seven)),
            (IF_MATCH, "W/\"7\"", None, Ok(seven)),
            (IF_MATCH, "\"3\", \"7\"", Some(7), Ok(seven)),
            (IF_MATCH, "\"x\"", Some(7), Err(412)),
            (IF_MATCH, "7", Some(7), Err(400)),
            (IF_MATCH, "", Some(7), Err(400)),
            (IF_NONE_MATCH, "*", Some(7), Ok(Expect::Absent)),
            (IF_NONE_MATCH, "\"7\"", Some(7), Err(412)),
            (IF_NONE_MATCH, "\"3\"", Some(7), Ok(seven)),
        ] {
            assert_eq!(
                expected(&[(name.clone(), value)], present),
                want,
                "{name}: {value}"
            );
        }
        assert_eq!(expected(&[], Some(7)), Ok(Expect::Any));
    }
}
