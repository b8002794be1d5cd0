//! Media types (RFC 2045), as far as the broker looks at them.

/// Whether `text` is a media type: `type/subtype`, and whatever parameters follow a semicolon.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    essence(text)
        .split_once('/')
        .is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}

/// Whether the media type says JSON: the subtype is `json` or ends in `+json`, in any case.
#[must_use]
pub fn is_json(text: &str) -> bool {
    essence(text).split_once('/').is_some_and(|(_, sub)| {
        sub.eq_ignore_ascii_case("json") || ends_with_ignore_case(sub, "+json")
    })
}

/// The media type without parameters.
fn essence(text: &str) -> &str {
    text.split_once(';').map_or(text, |(head, _)| head).trim()
}

fn ends_with_ignore_case(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start
        .and_then(|start| text.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_the_subtype() {
        for json in [
            "application/json",
            "text/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.acme+json",
            "application/problem+JSON ;x=1",
        ] {
            assert!(is_valid(json) && is_json(json), "{json:?} is JSON");
        }
        for other in [
            "text/plain",
            "application/jsonl",
            "application/x; a=+json",
            "json",
            "",
        ] {
            assert!(!is_json(other), "{other:?} is not JSON");
        }
    }

    #[test]
    fn a_media_type_has_a_type_and_a_subtype() {
        for good in ["text/plain", "a/b;c=d", "application/octet-stream ; x"] {
            assert!(is_valid(good), "{good:?} is a media type");
        }
        for bad in [
            "",
            "text",
            "/",
            "text/",
            "/plain",
            "te xt/plain",
            "a/b/c",
            "ä/b",
        ] {
            assert!(!is_valid(bad), "{bad:?} is not a media type");
        }
    }
}
