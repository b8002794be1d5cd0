//! Bodies. Those of requests are read here: bounded in size, in time, and in what all of them together take.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;

use crate::call::Call;
use crate::problem::Failure;

/// The body of a request: hyper's, or a test's.
pub(crate) type Body = BoxBody<Bytes, Broken>;

/// Why a body ended early.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// An answer. Its body is made before its head: the first error is the last.
pub(crate) type Response = http::Response<Full<Bytes>>;

/// How much of a body that is too large is read and thrown away, in bytes, so that a client that is still
/// writing gets to read its 413. Past it the connection is closed.
const DISCARDED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How long that may take.
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// The whole of `body`, which belongs to `call`.
///
/// # Errors
/// 408 `request_timeout`, 413 with `code`, 415 `unsupported_encoding`, 429 `overloaded`, or 400
/// `incomplete_body` when the connection broke.
pub(crate) async fn read(
    call: &mut Call,
    mut body: Body,
    limit: usize,
    code: &'static str,
) -> Result<Bytes, Failure> {
    check_encoding(&call.head.headers)?;
    let time = call.gateway.config().body_read_max;
    let whole = within(time, collect(call, &mut body, limit, code)).await;
    let failure = match whole {
        Some(Ok(bytes)) => {
            call.unread.store(false, Ordering::Relaxed);
            return Ok(bytes);
        }
        Some(Err(failure)) => failure,
        None => return Err(too_slow(time)),
    };
    // A client that waits for "100 Continue" has sent nothing yet, and reading on would ask for it.
    if failure.status() != StatusCode::BAD_REQUEST && !call.head.headers.contains_key(EXPECT) {
        let unread = !Box::pin(discard(body)).await;
        call.unread.store(unread, Ordering::Relaxed);
    }
    Err(failure)
}

/// What comes of `whole` in time. Most bodies came with their heads, and need no timer.
async fn within<T>(time: Duration, whole: impl Future<Output = T>) -> Option<T> {
    let mut whole = pin!(whole);
    match futures::poll!(&mut whole) {
        Poll::Ready(whole) => Some(whole),
        Poll::Pending => tokio::time::timeout(time, whole).await.ok(),
    }
}

async fn collect(
    call: &mut Call,
    body: &mut Body,
    limit: usize,
    code: &'static str,
) -> Result<Bytes, Failure> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large(limit, code));
    }
    call.permit.grow_to(announced)?;
    let Some(first) = next(body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() == announced && body.is_end_stream() {
        // The usual case: the body came whole, and needs no copy.
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(announced.max(first.len()));
    let mut frame = Some(first);
    while let Some(bytes) = frame {
        if whole.len() + bytes.len() > limit {
            return Err(too_large(limit, code));
        }
        call.permit.grow_to(whole.len() + bytes.len())?;
        whole.extend_from_slice(&bytes);
        frame = next(body).await?;
    }
    Ok(whole.freeze())
}

/// The next bytes; trailers are left unread.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Failure> {
    match body.frame().await {
        None => Ok(None),
        Some(Ok(frame)) => Ok(frame.into_data().ok()),
        Some(Err(_)) => Err(Failure::bad_request(
            "incomplete_body",
            "the body ended before its length, or its chunks are malformed",
        )),
    }
}

/// Reads on to the end of the body; whether it got there.
async fn discard(mut body: Body) -> bool {
    let drained = async {
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > DISCARDED_BYTES_MAX {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DISCARDING_MAX, drained)
        .await
        .unwrap_or(false)
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                "bodies are taken as they are: send it without Content-Encoding",
            ))
        }
        _ => Ok(()),
    }
}

fn too_large(limit: usize, code: &'static str) -> Failure {
    let detail = format!("the body may have {limit} bytes");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail)
}

fn too_slow(time: Duration) -> Failure {
    let detail = format!("the body did not arrive within {} seconds", time.as_secs());
    Failure::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
}
