//! Every route, one line each. The paths, the metrics and the served document are all made from this table.

use std::fmt;
use std::future::Future;
use std::sync::LazyLock;

use futures::future::BoxFuture;
use http::Method;
use millrace_model::{QueueConfig, SubscriptionConfig, TopicConfig};

use crate::body::Response;
use crate::call::Call;
use crate::members::{self, AddBody, Cluster, TransferBody};
use crate::moving::{self, MoveAnswer, MoveBody};
use crate::openapi::{Gives, Shape, Takes};
use crate::operations::{self, Health};
use crate::page::Page;
use crate::parked::{self, ParkedRedriveAnswer, ParkedRedriveBody, ParkedView};
use crate::plugin::{self, CheckView, PluginView, SummaryView, VersionView};
use crate::problem::Failure;
use crate::publish::{self, PublishAnswer};
use crate::query::{Kind, PAGE, Param, SEQUENCE_PAGE};
use crate::queue::{self, QueueView};
use crate::subscription::{self, SubscriptionView};
use crate::topic::{self, TopicView};

/// A request that is being handled.
pub(crate) type Handled = BoxFuture<'static, Result<Response, Failure>>;

/// What handles a request.
type Handler = Box<dyn Fn(Call) -> Handled + Send + Sync>;

/// One route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Its `operationId`.
    pub(crate) id: &'static str,
    pub(crate) handler: Handler,
    /// Its place in the table.
    pub(crate) index: usize,
    pub(crate) query: &'static [Param],
    /// Whether it counts against the bounds of admission: what brings data in does, what takes it out does not.
    pub(crate) is_held_back: bool,
    /// Whether it honours `If-Match` and `If-None-Match`.
    pub(crate) has_version: bool,
    pub(crate) takes: Takes,
    pub(crate) gives: Vec<Gives>,
    /// The statuses of its refusals.
    pub(crate) refuses: &'static [u16],
}

/// `?explain=`.
const EXPLAIN: &[Param] = &[Param {
    name: "explain",
    kind: Kind::Flag,
    about: "Tell what each subscription did with each event.",
}];

/// Refusals of what each node answers by itself.
const LOOK: &[u16] = &[400, 500];
/// Refusals of what lists the catalog.
const LIST: &[u16] = &[400, 500, 503];
/// Refusals of what reads one thing of the catalog, or a list below one.
const READ: &[u16] = &[400, 404, 500, 503];
/// Refusals of a change of the members.
const MEMBERS: &[u16] = &[400, 404, 408, 409, 413, 415, 422, 429, 500, 503];
/// Refusals of the removal of a member.
const REMOVE: &[u16] = &[400, 404, 409, 429, 500, 503];
/// Refusals of what asks a group.
const ASK: &[u16] = &[400, 404, 429, 500, 503, 504, 507];
/// Refusals of a change of the catalog.
const CHANGE: &[u16] = &[
    400, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503, 504, 507,
];
/// Refusals of a deletion.
const DELETE: &[u16] = &[400, 404, 409, 412, 429, 500, 503, 504, 507];
/// Refusals of what brings events in, and of the verbs of queues.
const VERB: &[u16] = &[400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504, 507];
/// Refusals of a check of a component.
const CHECK: &[u16] = &[400, 408, 413, 415, 422, 429, 500, 503];
/// Refusals of readiness.
const READY: &[u16] = &[400, 500, 503];

#[rustfmt::skip]
fn table() -> Vec<Route> {
    vec![
        get("/v1/topics", "list_topics", topic::list).query(PAGE).gives::<Page<TopicView<'_>>>(200).refuses(LIST),
        get("/v1/topics/{topic}", "get_topic", topic::show).versioned().gives::<TopicView<'_>>(200).refuses(READ),
        put("/v1/topics/{topic}", "put_topic", topic::put).versioned().takes::<TopicConfig>(false).gives::<TopicView<'_>>(200).gives::<TopicView<'_>>(201).refuses(CHANGE),
        delete("/v1/topics/{topic}", "delete_topic", topic::delete).versioned().query(topic::DELETE).gives_nothing(204).refuses(DELETE),
        post("/v1/topics/{topic}/messages", "publish", publish::publish).query(EXPLAIN).takes_events().gives::<PublishAnswer<'_>>(200).refuses(VERB),

        get("/v1/topics/{topic}/subscriptions", "list_subscriptions", subscription::list).query(PAGE).gives::<Page<SubscriptionView<'_>>>(200).refuses(READ),
        get("/v1/topics/{topic}/subscriptions/{subscription}", "get_subscription", subscription::show).versioned().gives::<SubscriptionView<'_>>(200).refuses(READ),
        put("/v1/topics/{topic}/subscriptions/{subscription}", "put_subscription", subscription::put).versioned().takes::<SubscriptionConfig>(true).gives::<SubscriptionView<'_>>(200).gives::<SubscriptionView<'_>>(201).refuses(CHANGE),
        delete("/v1/topics/{topic}/subscriptions/{subscription}", "delete_subscription", subscription::delete).versioned().gives_nothing(204).refuses(DELETE),
        get("/v1/topics/{topic}/subscriptions/{subscription}/parked", "list_parked", parked::list).query(SEQUENCE_PAGE).gives::<Page<ParkedView<'_>>>(200).refuses(ASK),
        post("/v1/topics/{topic}/subscriptions/{subscription}/parked/redrive", "redrive_parked", parked::redrive).takes::<ParkedRedriveBody>(false).gives::<ParkedRedriveAnswer>(200).refuses(VERB),

        get("/v1/queues", "list_queues", queue::list).query(PAGE).gives::<Page<QueueView<'_>>>(200).refuses(LIST),
        get("/v1/queues/{queue}", "get_queue", queue::show).versioned().gives::<QueueView<'_>>(200).refuses(ASK),
        put("/v1/queues/{queue}", "put_queue", queue::put).versioned().takes::<QueueConfig>(false).gives::<QueueView<'_>>(200).gives::<QueueView<'_>>(201).refuses(CHANGE),
        delete("/v1/queues/{queue}", "delete_queue", queue::delete).versioned().gives_nothing(204).refuses(DELETE),
        get("/v1/queues/{queue}/messages", "peek", queue::peek).query(queue::PEEK).gives::<Page<queue::PeekedMessage<'_>>>(200).refuses(ASK),
        post("/v1/queues/{queue}/messages", "send", queue::send).takes_events().gives::<PublishAnswer<'_>>(200).refuses(VERB),
        post("/v1/queues/{queue}/receive", "receive", queue::receive).never_held_back().takes::<queue::ReceiveBody>(false).gives::<queue::ReceiveAnswer>(200).refuses(VERB),
        post("/v1/queues/{queue}/ack", "ack", queue::ack).never_held_back().takes::<queue::AckBody<'_>>(true).gives::<queue::AckAnswer<'_>>(200).refuses(VERB),
        post("/v1/queues/{queue}/nack", "nack", queue::nack).never_held_back().takes::<queue::NackBody<'_>>(true).gives::<queue::NackAnswer<'_>>(200).refuses(VERB),
        post("/v1/queues/{queue}/extend", "extend", queue::extend).never_held_back().takes::<queue::ExtendBody<'_>>(true).gives::<queue::ExtendAnswer<'_>>(200).refuses(VERB),
        post("/v1/queues/{queue}/purge", "purge", queue::purge).gives::<queue::PurgedAnswer>(200).refuses(VERB),
        post("/v1/queues/{queue}/redrive", "redrive", queue::redrive).takes::<queue::RedriveBody>(false).gives::<queue::MovedAnswer>(200).refuses(VERB),

        get("/v1/plugins", "list_plugins", plugin::list).query(PAGE).gives::<Page<SummaryView<'_>>>(200).refuses(LIST),
        get("/v1/plugins/{plugin}", "get_plugin", plugin::show).gives::<PluginView<'_>>(200).refuses(READ),
        get("/v1/plugins/{plugin}/versions/{version}", "get_plugin_version", plugin::show_version).query(plugin::SHOW).gives::<VersionView<'_>>(200).or_gives_component().refuses(ASK),
        put("/v1/plugins/{plugin}/versions/{version}", "put_plugin_version", plugin::put_version).takes_component().gives::<VersionView<'_>>(200).gives::<VersionView<'_>>(201).refuses(CHANGE),
        delete("/v1/plugins/{plugin}/versions/{version}", "delete_plugin_version", plugin::delete).gives_nothing(204).refuses(DELETE),
        post("/v1/plugins/check", "check_plugin", plugin::check).takes_component().gives::<CheckView<'_>>(200).refuses(CHECK),

        get("/v1/cluster", "get_cluster", members::show).gives::<Cluster>(200).refuses(LOOK),
        post("/v1/cluster/members", "add_member", members::add).never_held_back().takes::<AddBody>(true).gives_nothing(202).refuses(MEMBERS),
        delete("/v1/cluster/members/{node}", "remove_member", members::remove).never_held_back().gives_nothing(204).refuses(REMOVE),
        post("/v1/cluster/transfer", "transfer_leadership", members::transfer).never_held_back().takes::<TransferBody>(true).gives_nothing(204).refuses(MEMBERS),
        post("/v1/cluster/move", "move_queue", moving::start).never_held_back().takes::<MoveBody>(true).gives::<MoveAnswer<'_>>(200).gives::<MoveAnswer<'_>>(202).refuses(VERB),
        get("/livez", "live", operations::live).gives::<Health>(200).refuses(LOOK),
        get("/readyz", "ready", operations::ready).gives::<Health>(200).refuses(READY),
        get("/metrics", "get_metrics", operations::metrics).gives_text(crate::metrics::OPENMETRICS).refuses(LOOK),
        get("/openapi.json", "get_openapi", operations::description).gives_object(200).refuses(LOOK),
    ]
}

/// The routes of this broker.
pub(crate) fn all() -> &'static [Route] {
    static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
        let mut routes = table();
        (routes.iter_mut().enumerate()).for_each(|(index, route)| route.index = index);
        routes
    });
    &ROUTES
}

fn get<F>(path: &'static str, id: &'static str, handler: fn(Call) -> F) -> Route
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    Route::new(Method::GET, path, id, handler).never_held_back()
}

fn put<F>(path: &'static str, id: &'static str, handler: fn(Call) -> F) -> Route
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    Route::new(Method::PUT, path, id, handler)
}

fn post<F>(path: &'static str, id: &'static str, handler: fn(Call) -> F) -> Route
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    Route::new(Method::POST, path, id, handler)
}

fn delete<F>(path: &'static str, id: &'static str, handler: fn(Call) -> F) -> Route
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    Route::new(Method::DELETE, path, id, handler)
}

impl Route {
    fn new<F>(method: Method, path: &'static str, id: &'static str, handler: fn(Call) -> F) -> Self
    where
        F: Future<Output = Result<Response, Failure>> + Send + 'static,
    {
        Self {
            method,
            path,
            id,
            handler: Box::new(move |call| Box::pin(handler(call))),
            index: 0,
            query: &[],
            is_held_back: true,
            has_version: false,
            takes: Takes::Nothing,
            gives: Vec::new(),
            refuses: &[],
        }
    }

    fn query(mut self, query: &'static [Param]) -> Self {
        self.query = query;
        self
    }

    fn never_held_back(mut self) -> Self {
        self.is_held_back = false;
        self
    }

    fn versioned(mut self) -> Self {
        self.has_version = true;
        self
    }

    fn takes<T: utoipa::ToSchema>(mut self, required: bool) -> Self {
        self.takes = Takes::Json(Shape::of::<T>(), required);
        self
    }

    fn takes_events(mut self) -> Self {
        self.takes = Takes::Events;
        self
    }

    fn takes_component(mut self) -> Self {
        self.takes = Takes::Component;
        self
    }

    fn gives<T: utoipa::ToSchema>(mut self, status: u16) -> Self {
        self.gives.push(Gives::Json(status, Shape::of::<T>()));
        self
    }

    fn gives_nothing(mut self, status: u16) -> Self {
        self.gives.push(Gives::Nothing(status));
        self
    }

    fn gives_object(mut self, status: u16) -> Self {
        self.gives.push(Gives::Object(status));
        self
    }

    fn gives_text(mut self, content_type: &'static str) -> Self {
        self.gives.push(Gives::Text(content_type));
        self
    }

    fn or_gives_component(mut self) -> Self {
        self.gives.push(Gives::Component);
        self
    }

    fn refuses(mut self, refuses: &'static [u16]) -> Self {
        self.refuses = refuses;
        self
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}
