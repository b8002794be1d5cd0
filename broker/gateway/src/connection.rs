//! A client's connection, in which the answers that hyper gives by itself become ours, small answers leave in one piece, and
//! a client that sends no whole head in time is cut.
//!
//! hyper answers a head that it cannot read with a status and nothing else, and asks no handler. Reading heads a second time, or giving hyper
//! room for any number of headers, would cost every request; looking at what begins an answer costs two comparisons.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::problem::PROBLEM_JSON;
use crate::{Gateway, door};

/// No answer of hyper's own is longer, in bytes. Nearly all of ours are.
const BARE_BYTES_MAX: usize = 160;

/// The line that every answer of hyper's own has, and none of ours with a body.
const EMPTY: &str = "\r\ncontent-length: 0\r\n";

/// Answers up to so many bytes, head and body, leave in one piece: for the kernel two pieces cost more than the copy.
const ONE_PIECE_BYTES_MAX: usize = 1024;

/// How long, and for how many bytes, the connection of a client that was answered so is still read: what it has
/// sent and nobody reads would make the kernel reset the connection, and the answer be lost.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The connection.
pub(crate) struct Connection {
    stream: TokioIo<TcpStream>,
    gateway: Gateway,
    /// Whether hyper has flushed all that it had to say: the next bytes begin an answer. No body of ours is streamed, so an
    /// answer is flushed as a whole.
    is_flushed: bool,
    instead: Option<Instead>,
    head: HeadTimer,
}

/// How long a client may take for a head, counted from the end of the answer before. hyper has the same, but makes, sets
/// and drops a timer for every request; this one is set again when it has run out.
struct HeadTimer {
    /// Whether a request is being served: then no head is waited for.
    is_serving: Arc<AtomicBool>,
    /// Since when a head is waited for.
    since: Instant,
    max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HeadTimer {
    /// Ready when the client has taken too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.max)));
        while timer.as_mut().poll(cx).is_ready() {
            let until = self.since + self.max;
            if self.is_serving.load(Ordering::Relaxed) {
                timer.as_mut().reset(Instant::now() + self.max);
            } else if until <= Instant::now() {
                return Poll::Ready(());
            } else {
                timer.as_mut().reset(until);
            }
        }
        Poll::Pending
    }
}

/// A request of a connection is being served, as long as this lives.
pub(crate) struct Serving(Arc<AtomicBool>);

impl Serving {
    /// From now on.
    pub(crate) fn begin(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(Arc::clone(flag))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// An answer in place of hyper's.
struct Instead {
    bytes: Vec<u8>,
    written: usize,
    /// How much has been read and thrown away since, in bytes.
    discarded: usize,
    /// Until when that may go on.
    until: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, gateway: Gateway) -> Self {
        let head = HeadTimer {
            is_serving: Arc::default(),
            since: Instant::now(),
            max: gateway.config().head_read_max,
            timer: None,
        };
        Self {
            stream: TokioIo::new(stream),
            gateway,
            is_flushed: true,
            instead: None,
            head,
        }
    }

    /// What is to be told of requests that are being served, see [`Serving`].
    pub(crate) fn is_serving(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.head.is_serving)
    }

    /// Whether `bytes` are an answer of hyper's own, or the rest of one; then ours is ready to be written.
    fn takes_over(&mut self, bytes: &[u8]) -> bool {
        if self.is_flushed && bytes.len() <= BARE_BYTES_MAX {
            let instead = bare(bytes).map(|(head, status)| ours(&self.gateway, head, status));
            self.instead = instead.or(self.instead.take());
        }
        self.is_flushed = false;
        self.instead.is_some()
    }

    /// Writes ours; the `length` bytes of hyper's count as written after that.
    fn poll_instead(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        let Some(instead) = &mut self.instead else {
            return Poll::Ready(Ok(0));
        };
        while instead.written < instead.bytes.len() {
            let rest = &instead.bytes[instead.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => instead.written += count,
            }
        }
        Poll::Ready(Ok(length))
    }

    /// Reads on until the client has closed, or has had time enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(instead) = &mut self.instead else {
            return Poll::Ready(());
        };
        let until = instead
            .until
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_MAX)));
        let mut bytes = [0; 8 * 1024];
        while instead.discarded < LINGER_BYTES_MAX && until.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut bytes);
            let result = ready!(Pin::new(self.stream.inner_mut()).poll_read(cx, &mut read));
            if result.is_err() || read.filled().is_empty() {
                break;
            }
            instead.discarded += read.filled().len();
        }
        Poll::Ready(())
    }
}

/// All of `parts` in `piece`, if they fit.
fn one_piece<'p>(parts: &[IoSlice<'_>], piece: &'p mut [u8]) -> Option<&'p [u8]> {
    let mut length = 0;
    for part in parts {
        piece
            .get_mut(length..length + part.len())?
            .copy_from_slice(part);
        length += part.len();
    }
    Some(&piece[..length])
}

/// The head and status, if that is all there is and it is hyper's: each answer of ours has an id.
fn bare(bytes: &[u8]) -> Option<(&str, StatusCode)> {
    let head = std::str::from_utf8(bytes).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?;
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    let is_bare = status.is_client_error() && head.ends_with("\r\n\r\n") && head.contains(EMPTY);
    (is_bare && !head.contains("\r\nx-request-id: ")).then_some((head, status))
}

/// The problem, under hyper's `head` (version, status, close and date).
fn ours(gateway: &Gateway, head: &str, status: StatusCode) -> Instead {
    let failure = door::unreadable(gateway.config(), status);
    gateway.metrics().refused(failure.code());
    let id = gateway.entropy().request_id();
    let id = id.to_str().unwrap_or_default();
    let body = failure.text();
    let length = body.len();
    let lines = format!(
        "\r\ncontent-type: {PROBLEM_JSON}\r\nx-request-id: {id}\r\ncontent-length: {length}\r\n"
    );
    let mut bytes = head.replacen(EMPTY, &lines, 1).into_bytes();
    bytes.extend(body);
    Instead {
        bytes,
        written: 0,
        discarded: 0,
        until: None,
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        // A client that reads its answer slowly is the kernel's to cut.
        if !self.is_flushed || self.head.is_serving.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        ready!(self.head.poll(cx));
        tracing::debug!("a client sent no whole request in time");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes_over(bytes) {
            return self.poll_instead(cx, bytes.len());
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // An answer without a body is one part.
        if let [bytes] = parts {
            return self.poll_write(cx, bytes);
        }
        self.is_flushed = false;
        let mut piece = [0; ONE_PIECE_BYTES_MAX];
        match one_piece(parts, &mut piece) {
            Some(bytes) => Pin::new(&mut self.stream).poll_write(cx, bytes),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_flushed {
            self.is_flushed = true;
            self.head.since = Instant::now();
            // So that the timer wakes this task: hyper reads on when there is something to read.
            if !self.head.is_serving.load(Ordering::Relaxed) {
                let _ = self.head.poll(cx);
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.poll_linger(cx).map(Ok)
    }
}
