//! One keep-alive connection that sends ready-made bytes, with as little work for each request as HTTP/1.1 allows.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers that an answer may have.
const HEADERS_MAX: usize = 64;
/// Room for an ordinary answer; larger ones grow the buffer once.
const BUFFER_BYTES: usize = 16 * 1024;
/// Largest answer: 1,000 events of 1 MiB would be more, but nobody measures those.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A connection. One request is under way at a time; no timers, whoever needs one sets it outside.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, borrowed from its connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Wire {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) async fn connect(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Sends a whole request, head and body, and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is not HTTP/1.1 with a `content-length`.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            self.read().await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        let end = head.bytes + head.body_bytes;
        self.buffer.reserve(end.saturating_sub(self.buffer.len()));
        while self.buffer.len() < end {
            self.read().await?;
        }
        Ok(Reply {
            status: head.status,
            body: &self.buffer[head.bytes..end],
        })
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(BUFFER_BYTES);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )),
            _ => Ok(()),
        }
    }
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// The head, once all of it is there.
    fn parse(buffer: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let bytes = match response.parse(buffer) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(malformed(&error.to_string())),
        };
        let status = response.code.ok_or_else(|| malformed("no status"))?;
        let body_bytes = if status == 204 {
            0
        } else {
            content_length(response.headers)?
        };
        Ok(Some(Self {
            status,
            bytes,
            body_bytes,
        }))
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> io::Result<usize> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let value = header.ok_or_else(|| malformed("no content-length"))?.value;
    let length = std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.trim().parse().ok());
    length
        .filter(|length| *length <= ANSWER_BYTES_MAX)
        .ok_or_else(|| malformed("a wrong content-length"))
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer cannot be read: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with these pieces, one packet each.
    async fn answering(pieces: Vec<Vec<u8>>) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.expect("a request");
            for piece in pieces {
                stream.write_all(&piece).await.expect("written");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Wire::connect(&address).await.expect("connected")
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_put_together() {
        let body = vec![b'x'; 3 * BUFFER_BYTES];
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        let pieces = vec![
            head[..20].to_vec(),
            head[20..].to_vec(),
            body[..10].to_vec(),
            body[10..].to_vec(),
        ];
        let mut wire = answering(pieces).await;
        let reply = wire
            .exchange(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .expect("an answer");
        assert_eq!((reply.status, reply.body), (200, &body[..]));
    }

    #[tokio::test]
    async fn a_broken_connection_and_a_wrong_answer_are_errors() {
        let mut wire = answering(vec![b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()]).await;
        let error = wire.exchange(b"x").await.expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let mut wire = answering(vec![
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        ])
        .await;
        let error = wire.exchange(b"x").await.expect_err("no length");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
