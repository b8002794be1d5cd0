//! Everything that a client is told when it is told "no": `application/problem+json` (RFC 9457).

pub(crate) mod causes;

use std::borrow::Cow;

use crate::body::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use millrace_model::Problem;
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of every error.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Most items of `errors[]`: enough to work with, and a bound on the answer.
pub(crate) const ERRORS_MAX: usize = 32;

/// Longest `detail`, in bytes: it may quote what the client sent.
const DETAIL_BYTES_MAX: usize = 1_024;

/// Why a request, or one event of it, is refused. Boxed: it is the rare case of many results.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Box<Cause>);

#[derive(Clone, Debug)]
struct Cause {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    pointer: Option<String>,
    errors: Vec<Problem>,
    retry_after_seconds: Option<u32>,
}

/// The document of an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDocument<'a> {
    /// A URN that names the kind of problem: `urn:millrace:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The phrase of the HTTP status.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for people: what is wrong and what to do.
    detail: &'a str,
    /// Stable code in snake_case.
    code: &'a str,
    /// Where: a JSON Pointer into the request body, or the name of a header or parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pointer: Option<&'a str>,
    /// Each thing that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Problem],
}

impl Failure {
    /// A failure with a stable code and a sentence for people.
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Self(Box::new(Cause {
            status,
            code: code.into(),
            detail,
            pointer: None,
            errors: Vec::new(),
            retry_after_seconds: None,
        }))
    }

    /// 400.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 500: a bug of ours, met where the request can still be answered.
    pub(crate) fn internal(detail: &str) -> Self {
        tracing::error!(detail, "a request met a bug");
        let sentence =
            "the broker met a bug: please report it with the x-request-id of this answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", sentence)
    }

    /// All that is wrong with a document; the first problem gives code, pointer and sentence.
    pub(crate) fn problems(status: StatusCode, mut problems: Vec<Problem>) -> Self {
        problems.truncate(ERRORS_MAX);
        let Some(first) = problems.first().cloned() else {
            return Self::internal("a document was refused without a problem");
        };
        let mut failure = Self::new(status, first.code, first.detail).at(first.pointer);
        failure.0.errors = problems;
        failure
    }

    /// The same, saying where.
    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        let pointer = pointer.into();
        self.0.pointer = (!pointer.is_empty()).then_some(pointer);
        self
    }

    /// The same, with the code in place of the first problem's.
    pub(crate) fn coded(mut self, code: &'static str) -> Self {
        self.0.code = code.into();
        self
    }

    /// The same, asking to come back.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    /// The document.
    pub(crate) fn document(&self) -> ProblemDocument<'_> {
        let cause = &*self.0;
        ProblemDocument {
            kind: format!("urn:millrace:problem:{}", cause.code),
            title: cause.status.canonical_reason().unwrap_or("Error"),
            status: cause.status.as_u16(),
            detail: &cause.detail,
            code: &cause.code,
            pointer: cause.pointer.as_deref(),
            errors: &cause.errors,
        }
    }

    /// The document as JSON text.
    pub(crate) fn text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.document()).expect("a problem has string keys only")
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response {
        self.response_with(self.text())
    }

    /// The answer with `document` for a body: the problem, and more.
    pub(crate) fn response_with(&self, document: Vec<u8>) -> Response {
        let mut response = Response::new(document.into());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
