//! [`Client`]: HTTP for tests.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Request};

/// Longest answer, a long poll included.
const ANSWER_SECONDS_MAX: u64 = 60;

/// Largest answer that a test reads.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A client of one broker. Cloning it shares its connections.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    /// A client for the broker at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::patient(url, Duration::from_secs(ANSWER_SECONDS_MAX))
    }

    /// A client that waits for no answer longer than `most`.
    #[must_use]
    pub fn patient(url: &str, most: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(most))
            .build();
        Self {
            agent: config.into(),
            url: url.to_owned(),
        }
    }

    /// Sends any request.
    ///
    /// # Errors
    /// When no whole answer comes: whether the request took effect is unknown then.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body).expect("a right request")),
            None => self.agent.run(request.body(()).expect("a right request")),
        }?;
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Answer {
            request: format!("{method} {path}"),
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    /// As [`Client::call`], for a request that must be answered.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        match self.call(method, path, headers, Some(body)) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path}: no answer: {error}"),
        }
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        match self.call("GET", path, &[], None) {
            Ok(answer) => answer,
            Err(error) => panic!("GET {path}: no answer: {error}"),
        }
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        match self.call("DELETE", path, &[], None) {
            Ok(answer) => answer,
            Err(error) => panic!("DELETE {path}: no answer: {error}"),
        }
    }

    /// PUT of a JSON document.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &JSON, body.to_string().as_bytes())
    }

    /// POST of a JSON document.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &JSON, body.to_string().as_bytes())
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    request: String,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer, if it has this status.
    ///
    /// # Panics
    /// Otherwise, with request and body.
    #[track_caller]
    #[must_use]
    pub fn with(self, status: u16) -> Self {
        assert!(
            self.status == status,
            "{}: expected {status}, got {}: {}",
            self.request,
            self.status,
            self.text(),
        );
        self
    }

    /// As [`Answer::with`], for an answer of which nothing more is asked.
    #[track_caller]
    pub fn expect(self, status: u16) {
        let _ = self.with(status);
    }

    /// Asserts a problem document (`application/problem+json`) with this status and code, and gives it.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let text = self.text();
        let answer = self.with(status);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{text}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{}: not JSON ({error}): {}", self.request, self.text()),
        }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
