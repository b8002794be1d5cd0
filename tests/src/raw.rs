//! HTTP by hand, for requests that no client would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// What came back on a raw connection.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Everything behind the head, as it came.
    pub body: String,
}

/// Sends bytes and reads the first answer. The request should ask for `Connection: close`.
///
/// # Errors
/// When the connection ends, or 30 s pass, before an answer's head has come.
pub fn exchange(address: &str, request: &[u8]) -> std::io::Result<RawAnswer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    // A server may answer and close before it has read everything: then the write fails and the answer counts.
    let written = stream.write_all(request);
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match parse(&text) {
        Some(answer) => Ok(answer),
        None => Err(written
            .err()
            .or(read.err())
            .unwrap_or_else(|| std::io::Error::other(format!("not an answer: {text:?}")))),
    }
}

fn parse(text: &str) -> Option<RawAnswer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(RawAnswer {
        status,
        body: body.to_owned(),
    })
}

impl RawAnswer {
    /// The `code` of the problem document in the body; empty when there is none.
    #[must_use]
    pub fn code(&self) -> String {
        let json: Value = serde_json::from_str(self.body.trim()).unwrap_or_default();
        json["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request with `Connection: close`; no header is added but `Host`.
#[must_use]
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A body in chunks of 64 KiB, as `Transfer-Encoding: chunked` has them.
#[must_use]
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(body.len() + 1024);
    for chunk in body.chunks(64 * 1024) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}
