//! Finding what matters in the broker's answers, by searching for it.
//!
//! A parser would read every byte of every event to skip it. The events here are the generator's own and hold none of the
//! words that are searched for, so that a substring search finds the same at a tenth of the cost.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::request::{STAMP_DIGITS, STAMP_MARK};

static RECEIPT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"receipt\":\""));
static STAMP: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(STAMP_MARK));
static ACKED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"acked\":"));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\":{"));

/// The receipts in an answer to `receive`, in order.
pub(super) fn receipts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    RECEIPT.find_iter(body).filter_map(|at| {
        let rest = &body[at + RECEIPT.needle().len()..];
        memchr::memchr(b'"', rest).map(|end| &rest[..end])
    })
}

/// The stamps of the events in an answer to `receive`, in order.
pub(super) fn stamps(body: &[u8]) -> impl Iterator<Item = u64> {
    STAMP.find_iter(body).filter_map(|at| {
        let digits = body.get(at + STAMP_MARK.len()..at + STAMP_MARK.len() + STAMP_DIGITS)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}

/// How many receipts an answer to `ack` says were good.
pub(super) fn acked(body: &[u8]) -> u64 {
    let Some(at) = ACKED.find(body) else { return 0 };
    let digits = &body[at + ACKED.needle().len()..];
    let digits = digits
        .iter()
        .map_while(|byte| byte.is_ascii_digit().then(|| u64::from(byte - b'0')));
    digits.fold(0, |number, digit| number * 10 + digit)
}

/// How many events of a batch an answer to `publish` refuses.
pub(super) fn refused(body: &[u8]) -> u64 {
    ERROR.find_iter(body).count() as u64
}

/// An answer in short, to be shown.
pub(super) fn quote(body: &[u8]) -> String {
    let detail = memmem::find(body, b"\"detail\":").map_or(body, |at| &body[at..]);
    String::from_utf8_lossy(detail).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_searched_is_what_a_parser_finds() {
        let event = json!({"id": "1", "data": {"at": "00000000000000000042", "pad": "xxx"}});
        let answer = json!({"messages": [
            {"receipt": "r.1-a_b", "receive_count": 1, "event": event},
            {"event": event, "receipt": "r.2", "sequence": 9},
        ]});
        let body = answer.to_string();
        let found: Vec<&[u8]> = receipts(body.as_bytes()).collect();
        assert_eq!(found, [b"r.1-a_b".as_slice(), b"r.2"]);
        assert_eq!(stamps(body.as_bytes()).collect::<Vec<_>>(), [42, 42]);
        assert_eq!(receipts(br#"{"messages":[]}"#).count(), 0);
    }

    #[test]
    fn counts_are_read() {
        assert_eq!(acked(br#"{"acked":1000,"failed":[]}"#), 1000);
        assert_eq!(acked(br#"{"code":"x"}"#), 0);
        assert_eq!(
            refused(br#"{"messages":[{"id":"1","sequence":2},{"error":{"code":"x"}}]}"#),
            1
        );
    }
}
