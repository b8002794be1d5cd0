//! Requests that are built once and sent often.

use std::fmt::Write as _;

use memchr::memmem;

/// What stands before the digits of a stamp in an event's data.
pub(super) const STAMP_MARK: &[u8] = b"\"at\":\"";
/// Digits of a stamp: nanoseconds since the run began, with zeros in front.
pub(super) const STAMP_DIGITS: usize = 20;

/// A whole request as bytes, in which the time of sending can be set.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the digits of each stamp begin.
    stamps: Vec<usize>,
}

impl Request {
    /// A `POST` of this body.
    pub(super) fn post(authority: &str, path: &str, content_type: &str, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256 + body.len());
        write_post(&mut bytes, authority, path, content_type, body);
        let stamps = memmem::find_iter(&bytes, STAMP_MARK)
            .map(|at| at + STAMP_MARK.len())
            .collect();
        Self { bytes, stamps }
    }

    /// The publish of a batch of events, each with so many bytes of data: one as a plain body, more in CloudEvents' batch mode.
    pub(super) fn publish(authority: &str, path: &str, batch: usize, bytes: usize) -> Self {
        if batch == 1 {
            return Self::post(authority, path, "application/json", data(bytes).as_bytes());
        }
        let data = data(bytes);
        let mut body = String::from("[");
        for ordinal in 0..batch {
            let comma = if ordinal == 0 { "" } else { "," };
            let _ = write!(
                body,
                "{comma}{{\"specversion\":\"1.0\",\"id\":\"{ordinal}\",\"source\":\"/millrace/bench\",\"type\":\"millrace.bench\",\
                 \"datacontenttype\":\"application/json\",\"data\":{data}}}"
            );
        }
        body.push(']');
        Self::post(
            authority,
            path,
            "application/cloudevents-batch+json",
            body.as_bytes(),
        )
    }

    /// Sets the time of sending, and gives the bytes to send.
    pub(super) fn stamped(&mut self, nanoseconds: u64) -> &[u8] {
        for at in &self.stamps {
            let mut rest = nanoseconds;
            for digit in self.bytes[*at..*at + STAMP_DIGITS].iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
        &self.bytes
    }
}

/// Appends a whole `POST`, head and body.
pub(super) fn write_post(
    bytes: &mut Vec<u8>,
    authority: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(body);
}

/// The data of an event: a JSON object of exactly so many bytes (at least 64), with a stamp of zeros.
fn data(bytes: usize) -> String {
    let empty = format!("{{\"at\":\"{:0STAMP_DIGITS$}\",\"pad\":\"\"}}", 0);
    let pad = "x".repeat(bytes.saturating_sub(empty.len()));
    format!("{{\"at\":\"{:0STAMP_DIGITS$}\",\"pad\":\"{pad}\"}}", 0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn data_is_json_of_the_asked_size() {
        for bytes in [64, 1024, 100_000] {
            let data = data(bytes);
            assert_eq!(data.len(), bytes);
            serde_json::from_str::<Value>(&data).expect("JSON");
        }
    }

    #[test]
    fn every_event_of_a_batch_is_stamped() {
        let mut request = Request::publish("h:1", "/p", 3, 64);
        let text = String::from_utf8(request.stamped(987_654_321).to_vec()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let events: Vec<Value> = serde_json::from_str(body).expect("a batch");
        assert_eq!(events.len(), 3);
        assert!(
            events
                .iter()
                .all(|event| event["data"]["at"] == "00000000000987654321"),
            "{body}"
        );
    }
}
