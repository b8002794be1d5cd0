//! What every request goes through, whatever it wants: an id, a bound on how many there are, a guard
//! against panics, and a count of what came of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, ready};
use http::header::{ALLOW, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::Gateway;
use crate::admission::Permit;
use crate::body::{Body, Broken, Response};
use crate::call::{Call, bad_name};
use crate::config::GatewayConfig;
use crate::paths::{self, Found, Params};
use crate::problem::Failure;
use crate::routes::{Handled, Route};

/// The header that names a request in answers and logs.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Most headers of a request: hyper's own bound, as long as it is not given another, which would cost every request memory.
const HEADERS_MAX: usize = 100;

/// Longest path with query, in bytes: hyper's own bound.
const URI_BYTES_MAX: usize = 65_534;

/// Longest id that a client may give its request, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Answers a request.
pub(crate) fn answer<B>(
    gateway: Gateway,
    request: Request<B>,
) -> impl Future<Output = Response> + Send + use<B>
where
    B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Broken>,
{
    let response = match paths::find(request.method(), request.uri().path()) {
        Found::Route(route, params) => {
            let request = request.map(|body| body.map_err(Into::into).boxed());
            return Either::Left(enter(gateway, route, params, request));
        }
        Found::NoPath => refuse(&gateway, request.headers(), &not_found()),
        Found::NotText => refuse(&gateway, request.headers(), &not_text()),
        Found::NoMethod(allow) => {
            let mut response = refuse(&gateway, request.headers(), &method_not_allowed());
            response.headers_mut().insert(ALLOW, allow.clone());
            response
        }
    };
    Either::Right(ready(response))
}

/// Takes a request through its route. The request goes to its handler at once: hyper moves the future that is returned, which
/// should be small.
fn enter(
    gateway: Gateway,
    route: &'static Route,
    params: Params,
    request: Request<Body>,
) -> impl Future<Output = Response> + Send {
    let began = Instant::now();
    let id = request_id(&gateway, request.headers());
    let unread = Arc::new(AtomicBool::new(!request.body().is_end_stream()));
    let handled = handle(&gateway, route, params, request, Arc::clone(&unread));
    async move {
        let answer = AssertUnwindSafe(handled).catch_unwind().await;
        let result = answer.unwrap_or_else(|panic| Err(panicked(&*panic)));
        let mut response = result.unwrap_or_else(|failure| {
            gateway.metrics().refused(failure.code());
            failure.response()
        });
        response.headers_mut().insert(X_REQUEST_ID, id);
        if unread.load(Ordering::Relaxed) {
            // Answered before the body was read: hyper closes the connection, and the client should know.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let metrics = gateway.metrics().route(route);
        metrics.answered(response.status(), began.elapsed());
        response
    }
}

fn handle(
    gateway: &Gateway,
    route: &'static Route,
    params: Params,
    request: Request<Body>,
    unread: Arc<AtomicBool>,
) -> Handled {
    let rooms = route.is_held_back.then(|| gateway.rooms());
    let permit = match Permit::new(rooms) {
        Ok(permit) => permit,
        Err(failure) => return Box::pin(ready(Err(failure))),
    };
    let (head, body) = request.into_parts();
    let call = Call {
        gateway: gateway.clone(),
        route,
        head,
        params,
        body,
        unread,
        permit,
    };
    (route.handler)(call)
}

/// A path that is none of ours.
fn not_found() -> Failure {
    let detail = "there is nothing at this path: GET /openapi.json lists what there is";
    Failure::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// A path with a part that cannot be read.
fn not_text() -> Failure {
    bad_name("path", "the path is not UTF-8, percent-encoded")
}

/// A path of ours, with another method.
fn method_not_allowed() -> Failure {
    let detail = "the path has other methods: Allow names them";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Answers for what hyper could not read as a request, and gave `status` to.
pub(crate) fn unreadable(config: &GatewayConfig, status: StatusCode) -> Failure {
    let head = config.head_bytes_max;
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            let detail = format!(
                "a request may have {HEADERS_MAX} headers, and {head} bytes before its body"
            );
            Failure::new(status, "headers_too_large", detail)
        }
        StatusCode::URI_TOO_LONG => {
            let detail = format!("path and query may have {URI_BYTES_MAX} bytes");
            Failure::new(status, "uri_too_long", detail)
        }
        _ => {
            let detail =
                "this is no HTTP/1.1 request: its first line, or one of its headers, is malformed";
            Failure::new(status, "malformed_request", detail)
        }
    }
}

/// The answer to a request that no route takes.
fn refuse(gateway: &Gateway, headers: &HeaderMap, failure: &Failure) -> Response {
    let mut response = failure.response();
    let id = request_id(gateway, headers);
    response.headers_mut().insert(X_REQUEST_ID, id);
    gateway.metrics().refused(failure.code());
    response
}

/// The client's own id if it is a sane one, else a new one: the node's start and a count.
fn request_id(gateway: &Gateway, headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(X_REQUEST_ID);
    let sane = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    own.filter(sane)
        .cloned()
        .unwrap_or_else(|| gateway.entropy().request_id())
}

/// The last resort: a bug answers 500 and costs one request, not the connection.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::internal(text.unwrap_or("a handler panicked"))
}
