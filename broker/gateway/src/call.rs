//! One request on its way through the door.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, StatusCode};
use millrace_model::catalog::{Queue, Route as TopicRoute, Subscription};
use millrace_model::{Name, Refusal, Topology};

use crate::Gateway;
use crate::admission::Permit;
use crate::body::{self, Body};
use crate::paths::Params;
use crate::problem::Failure;
use crate::query::Query;
use crate::routes::Route;

/// A request with what the handlers need of it.
pub(crate) struct Call {
    pub(crate) gateway: Gateway,
    pub(crate) route: &'static Route,
    pub(crate) head: Parts,
    pub(crate) params: Params,
    /// Taken by the first read.
    pub(crate) body: Body,
    /// Whether the body has bytes that nobody has read: the connection cannot go on then.
    pub(crate) unread: Arc<AtomicBool>,
    /// What the request takes of the node's room, given back when it is answered.
    pub(crate) permit: Permit,
}

impl Call {
    /// The part of the path that the route names `name`, decoded.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(self.head.uri.path(), name).unwrap_or("")
    }

    /// The same, as a [`Name`].
    ///
    /// # Errors
    /// 400 `invalid_name`.
    pub(crate) fn name(&self, name: &str) -> Result<Name, Failure> {
        Name::new(self.param(name)).map_err(|error| bad_name(name, &error.to_string()))
    }

    /// The query; parameters that the route does not have are refused.
    ///
    /// # Errors
    /// 400 `unknown_parameter` or `invalid_parameter`.
    pub(crate) fn query(&self) -> Result<Query, Failure> {
        Query::parse(self.head.uri.query().unwrap_or(""), self.route.query)
    }

    /// A request header as text, if it is there and is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The whole body.
    ///
    /// # Errors
    /// 408, 413 with `code`, 415, 429, or 400 when the connection broke.
    pub(crate) async fn read_body(
        &mut self,
        limit: usize,
        code: &'static str,
    ) -> Result<Bytes, Failure> {
        let body = std::mem::take(&mut self.body);
        body::read(self, body, limit, code).await
    }

    /// The catalog with every change that was acknowledged before this request, through whatever node: for what shows
    /// or changes it.
    ///
    /// # Errors
    /// 503 when this node cannot tell.
    pub(crate) async fn fresh(&self) -> Result<Arc<Topology>, Failure> {
        let ledger = self.gateway.ledger();
        ledger.fresh().await?;
        Ok(ledger.topology())
    }

    /// The catalog as it is on this node, which is right for what a group checks again; a fresh one when the topic or
    /// queue of the path is not in it, since it may have been made through another node.
    ///
    /// # Errors
    /// As [`Call::fresh`].
    pub(crate) async fn topology(&self) -> Result<Arc<Topology>, Failure> {
        let topology = self.gateway.ledger().topology();
        let mut params = self.params.iter(self.head.uri.path());
        let is_there = params.all(|(key, value)| match key {
            "topic" => topology.topics.contains_key(value),
            "queue" => topology.queues.contains_key(value),
            _ => true,
        });
        if is_there {
            Ok(topology)
        } else {
            self.fresh().await
        }
    }

    /// The topic that the path names.
    ///
    /// # Errors
    /// 404 `topic_not_found`, or 400 `invalid_name`.
    pub(crate) fn topic<'a>(&self, topology: &'a Topology) -> Result<&'a Arc<TopicRoute>, Failure> {
        let text = self.param("topic");
        let found = topology.topics.get(text);
        found.ok_or_else(|| self.missing("topic", Refusal::TopicNotFound))
    }

    /// The queue that the path names.
    ///
    /// # Errors
    /// 404 `queue_not_found`, or 400 `invalid_name`.
    pub(crate) fn queue<'a>(&self, topology: &'a Topology) -> Result<&'a Arc<Queue>, Failure> {
        let found = topology.queues.get(self.param("queue"));
        found.ok_or_else(|| self.missing("queue", Refusal::QueueNotFound))
    }

    /// The subscription of `route` that the path names.
    ///
    /// # Errors
    /// 404 `subscription_not_found`, or 400 `invalid_name`.
    pub(crate) fn subscription<'a>(
        &self,
        route: &'a TopicRoute,
    ) -> Result<&'a Arc<Subscription>, Failure> {
        let found = route.subscriptions.get(self.param("subscription"));
        found.ok_or_else(|| self.missing("subscription", Refusal::SubscriptionNotFound))
    }

    /// Why nothing of that name was found: it may be no name at all.
    fn missing(&self, param: &str, refusal: fn(String) -> Refusal) -> Failure {
        match self.name(param) {
            Ok(name) => refusal(name.to_string()).into(),
            Err(failure) => failure,
        }
    }
}

/// 400: a part of the path is not a name.
pub(crate) fn bad_name(param: &str, detail: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "invalid_name", detail).at(param)
}
