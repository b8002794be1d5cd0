//! The door with everything behind it, and a client that holds it to its own description.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use jsonschema::Validator;
use millrace_model::Timestamp;
use serde_json::{Value, json};

use super::ledger::MemoryLedger;
use super::planner::TestPlanner;
use crate::body::Broken;
use crate::{Clock, Entropy, Gateway, GatewayConfig, door};

/// A door with its ledger and its clock.
pub(super) struct Door {
    pub(super) gateway: Gateway,
    pub(super) ledger: Arc<MemoryLedger>,
    now: Arc<AtomicU64>,
    document: Value,
    validators: std::sync::Mutex<BTreeMap<String, Arc<Validator>>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body as JSON; null when there is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a refusal.
    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("").to_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The same, whose status must be `status`.
    pub(super) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        self
    }
}

impl Door {
    pub(super) fn new() -> Self {
        Self::with(GatewayConfig::default())
    }

    pub(super) fn with(config: GatewayConfig) -> Self {
        Self::on(config, 1)
    }

    /// A door before so many data groups.
    pub(super) fn on(config: GatewayConfig, data_groups: u32) -> Self {
        let now = Arc::new(AtomicU64::new(1_763_000_000_000));
        let hands = Arc::clone(&now);
        let clock = Clock::new(move || Timestamp(hands.load(Ordering::Relaxed)));
        let ledger = MemoryLedger::new(clock.clone(), data_groups);
        let gateway = Gateway::new(
            Arc::clone(&ledger) as _,
            Arc::new(TestPlanner),
            clock,
            Entropy::seeded([1; 32]),
            config,
        );
        Self {
            gateway,
            ledger,
            now,
            document: serde_json::from_slice(&crate::openapi::text()).expect("JSON"),
            validators: std::sync::Mutex::default(),
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, JSON, body.to_string()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, JSON, body.to_string()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "").await
    }

    /// Sends a request, and checks the answer against the served document.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).expect("a request"))
            .await
    }

    /// The same, for a request that was made elsewhere.
    pub(super) async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Broken>,
    {
        let (method, path) = (
            request.method().as_str().to_lowercase(),
            request.uri().path().to_owned(),
        );
        let response = door::answer(self.gateway.clone(), request).await;
        let (head, body) = response.into_parts();
        let answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.expect("in memory").to_bytes(),
        };
        assert!(
            !answer.header("x-request-id").is_empty(),
            "every answer has an id"
        );
        if head.status.is_client_error() || head.status.is_server_error() {
            self.check_problem(&answer, head.status);
        }
        self.check(&method, &path, &answer);
        answer
    }

    fn check_problem(&self, answer: &Answer, status: StatusCode) {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["status"], status.as_u16());
        self.validate("#/components/schemas/ProblemDocument", answer);
    }

    /// The status is documented for the route, and the body has the documented form.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        if matches!(answer.code().as_str(), "not_found" | "method_not_allowed") {
            return;
        }
        let (template, item) = self.route(path).expect("a documented path");
        let pointer = |part: &str| part.replace('~', "~0").replace('/', "~1");
        let status = answer.status.to_string();
        let responses = &item[method]["responses"];
        let response = responses.get(&status);
        let response =
            response.unwrap_or_else(|| panic!("{method} {template} does not document {status}"));
        let media_type = answer.header("content-type");
        if response.get("content").is_none() {
            return assert!(
                answer.body.is_empty(),
                "{method} {template} {status} has no body"
            );
        }
        let content = response["content"].get(media_type);
        assert!(
            content.is_some(),
            "{method} {template} {status} gives {media_type}"
        );
        if media_type.ends_with("json") {
            let parts = [
                "paths",
                template,
                method,
                "responses",
                &status,
                "content",
                media_type,
                "schema",
            ];
            let place: String = parts
                .iter()
                .map(|part| format!("/{}", pointer(part)))
                .collect();
            self.validate(
                &format!("#{}", place.replace('{', "%7B").replace('}', "%7D")),
                answer,
            );
        }
    }

    fn route(&self, path: &str) -> Option<(&str, &Value)> {
        let paths = self.document["paths"].as_object()?;
        let fits = |template: &str| {
            let (ours, theirs) = (template.split('/'), path.split('/'));
            template.split('/').count() == path.split('/').count()
                && ours
                    .zip(theirs)
                    .all(|(ours, theirs)| ours.starts_with('{') || ours == theirs)
        };
        let mut found = paths.iter().filter(|(template, _)| fits(template));
        found
            .next()
            .map(|(template, item)| (template.as_str(), item))
    }

    fn validate(&self, place: &str, answer: &Answer) {
        let mut validators = self.validators.lock().unwrap();
        let validator = validators.entry(place.to_owned()).or_insert_with(|| {
            let mut schema = self.document.clone();
            schema["$ref"] = json!(place);
            Arc::new(jsonschema::draft202012::new(&schema).expect("a sound schema"))
        });
        let body = answer.json();
        if let Err(error) = validator.validate(&body) {
            panic!("{place}: {error} at {} of {body}", error.instance_path());
        }
    }

    /// A topic `orders` with a subscription to the queue `work`.
    pub(super) async fn with_orders(self) -> Self {
        self.put("/v1/queues/work", &json!({})).await.expect(201);
        self.put("/v1/topics/orders", &json!({})).await.expect(201);
        let to = json!({"to": {"queue": "work"}});
        self.put("/v1/topics/orders/subscriptions/all", &to)
            .await
            .expect(201);
        self
    }

    /// Receives up to a thousand messages of the queue `work`.
    pub(super) async fn receive(&self) -> Vec<Value> {
        self.receive_of("work").await
    }

    /// Receives up to a thousand messages of a queue.
    pub(super) async fn receive_of(&self, queue: &str) -> Vec<Value> {
        let path = format!("/v1/queues/{queue}/receive");
        let answer = self.post(&path, &json!({"max": 1000})).await.expect(200);
        answer.json()["messages"]
            .as_array()
            .expect("messages")
            .clone()
    }
}

/// The header of a JSON body.
pub(super) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// The header of an event in structured mode.
pub(super) const EVENT: &[(&str, &str)] = &[("content-type", "application/cloudevents+json")];

/// The header of a batch.
pub(super) const BATCH: &[(&str, &str)] = &[("content-type", "application/cloudevents-batch+json")];
