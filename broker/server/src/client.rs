//! The HTTP client of the command line: one keep-alive connection to one broker.

mod answer;
mod payload;
mod route;
#[cfg(test)]
pub(crate) mod scripted;

use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use answer::Answer;
pub(crate) use payload::Payload;
pub(crate) use route::Route;

use crate::failure::{Problem, Usage};

/// How long a connection may take to stand.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take: the longest long poll is 30 seconds, a large component compiles for 10 or more.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// A client of one broker. Requests go one after the other over one connection, which is made at the first.
pub(crate) struct Client {
    /// `host:port`, for the connection and the `host` header.
    authority: String,
    connection: Option<SendRequest<Payload>>,
}

impl Client {
    /// A client for `http://HOST[:PORT]`; nothing is connected yet.
    ///
    /// # Errors
    /// [`Usage`] for another form of URL.
    pub(crate) fn new(server: &str) -> Result<Self, Usage> {
        let wrong = |why: &str| {
            Usage::new(format!(
                "--server {server}: {why}; give it as http://HOST:PORT"
            ))
        };
        let uri: Uri = server.parse().map_err(|_| wrong("this is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http is spoken"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a path is not wanted"));
        }
        let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            connection: None,
        })
    }

    /// `host:port` of the broker.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// `GET`, and the JSON that comes back.
    ///
    /// # Errors
    /// [`Problem`] when the broker refuses; else when it cannot be reached or answers no JSON.
    pub(crate) async fn get(&mut self, route: Route) -> Result<Value> {
        self.send(Method::GET, route, &[], Payload::empty())
            .await?
            .json()
    }

    /// `POST` of JSON, and the JSON that comes back.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post(&mut self, route: Route, body: &Value) -> Result<Value> {
        self.send(Method::POST, route, &JSON, Payload::json(body))
            .await?
            .json()
    }

    /// `PUT` of JSON, only over the version `if_match` when one is given.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn put(
        &mut self,
        route: Route,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Answer> {
        let mut headers = JSON.to_vec();
        headers.extend(if_match.map(|etag| ("if-match", etag)));
        self.send(Method::PUT, route, &headers, Payload::json(body))
            .await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn delete(&mut self, route: Route) -> Result<Answer> {
        self.send(Method::DELETE, route, &[], Payload::empty())
            .await
    }

    /// Any request; the answer is one of the 2xx.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn send(
        &mut self,
        method: Method,
        route: Route,
        headers: &[(&str, &str)],
        body: Payload,
    ) -> Result<Answer> {
        let answer = self.exchange(method, route, headers, body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(Problem::read(answer.status.as_u16(), &answer.body).into())
    }

    /// Any request, and the answer whatever its status.
    ///
    /// # Errors
    /// When the broker cannot be reached, or a header is malformed.
    pub(crate) async fn exchange(
        &mut self,
        method: Method,
        route: Route,
        headers: &[(&str, &str)],
        body: Payload,
    ) -> Result<Answer> {
        let request = self.request(method, &route, headers, body)?;
        let mut connection = self.connected().await?;
        let talk = async {
            let response = connection.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, hyper::Error>(Answer::new(&head, body.collect().await?.to_bytes()))
        };
        let answer = timeout(ANSWER_MAX, talk).await.with_context(|| {
            format!(
                "http://{} did not answer within {} seconds",
                self.authority,
                ANSWER_MAX.as_secs()
            )
        })?;
        self.connection = Some(connection);
        answer.with_context(|| format!("the connection to http://{} broke", self.authority))
    }

    fn request(
        &self,
        method: Method,
        route: &Route,
        headers: &[(&str, &str)],
        body: Payload,
    ) -> Result<Request<Payload>> {
        let mut builder = Request::builder()
            .method(method)
            .uri(route.as_str())
            .header(HOST, &self.authority);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder
            .body(body)
            .map_err(|error| Usage::new(format!("a header cannot be sent: {error}")).into())
    }

    /// The connection that stands, or a new one: an idle one may have been closed by the broker.
    async fn connected(&mut self) -> Result<SendRequest<Payload>> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let unreachable = || {
            format!(
                "cannot reach http://{}\n  Is the broker running (`millrace serve`)? --server or MILLRACE_SERVER says where it is",
                self.authority
            )
        };
        let stream = timeout(CONNECT_MAX, TcpStream::connect(&self.authority)).await;
        let stream = stream
            .with_context(unreachable)?
            .with_context(unreachable)?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

/// The header of a JSON body.
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::scripted::{Scripted, reply};
    use super::*;

    #[tokio::test]
    async fn one_connection_serves_many_requests_and_a_closed_one_is_made_again() {
        let close =
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}".to_owned();
        let server = Scripted::start(vec![reply(200, "{}"), close, reply(200, "{}")]).await;
        let mut client = Client::new(&server.url).expect("a URL");
        for _ in 0..3 {
            client.get(Route::of(["livez"])).await.expect("an answer");
        }
        assert_eq!(server.requests().len(), 3);
        assert_eq!(server.connections(), 2);
    }

    #[tokio::test]
    async fn a_refusal_is_a_problem_with_its_code() {
        let body = r#"{"code":"topic_not_found","detail":"There is no topic x.","status":404}"#;
        let server = Scripted::start(vec![reply(404, body)]).await;
        let mut client = Client::new(&server.url).expect("a URL");
        let error = client
            .post(Route::of(["v1"]), &json!({}))
            .await
            .expect_err("refused");
        let problem = error.downcast_ref::<Problem>().expect("a problem");
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (404, "topic_not_found")
        );
    }

    #[tokio::test]
    async fn a_broker_that_is_not_there_is_named() {
        let mut client = Client::new("http://127.0.0.1:9").expect("a URL");
        let error = client
            .get(Route::of(["livez"]))
            .await
            .expect_err("nobody listens");
        assert!(
            format!("{error:#}").contains("http://127.0.0.1:9"),
            "{error:#}"
        );
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "https://a",
            "a:1",
            "http://a/path",
            "http://a?x",
            "",
            "http://",
        ] {
            assert!(Client::new(url).is_err(), "{url}");
        }
        assert_eq!(
            Client::new("http://a").map(|client| client.authority),
            Ok("a:80".to_owned())
        );
    }
}
