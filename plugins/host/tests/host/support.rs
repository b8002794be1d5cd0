//! A catalog in memory, components in a map, and fixtures made of text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use millrace_model::catalog::{Queue, Route, Subscription, Topic, Topology, Versioned};
use millrace_model::event::{Data, Event};
use millrace_model::id::{GroupId, QueueId, Revision, SubscriptionId, TopicId};
use millrace_model::router::{Plan, PlanError, PlanRequest};
use millrace_model::{BoxFuture, Name, PluginVersion, Router, Timestamp};
use millrace_plugin_host::{Components, Host, Limits};
use serde_json::{Value, json};

/// Components by digest.
#[derive(Default)]
pub(crate) struct Store(Mutex<BTreeMap<String, Bytes>>);

impl Components for Store {
    fn component(&self, digest: &str) -> BoxFuture<'_, Result<Bytes, String>> {
        let found = self
            .0
            .lock()
            .unwrap()
            .get(digest)
            .cloned()
            .ok_or_else(|| format!("no component {digest}"));
        Box::pin(async { found })
    }
}

/// A host with a catalog.
pub(crate) struct World {
    pub(crate) host: Arc<Host>,
    pub(crate) store: Arc<Store>,
    pub(crate) topology: Topology,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn versioned<T>(version: Revision, config: T) -> Versioned<T> {
    Versioned {
        version,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        config,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits {
            instances_max: 32,
            ..Limits::default()
        })
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let store = Arc::new(Store::default());
        let host = Arc::new(Host::new(limits, Arc::clone(&store) as Arc<dyn Components>).unwrap());
        Self {
            host,
            store,
            topology: Topology::default(),
        }
    }

    fn next_revision(&mut self) -> Revision {
        self.topology.revision = Revision(self.topology.revision.0 + 1);
        self.topology.revision
    }

    /// Uploads a component under the name `plugin` and version 1.
    pub(crate) async fn push(&mut self, plugin: &str, component: Vec<u8>) -> Arc<PluginVersion> {
        let inspection = self.host.inspect(component.clone().into()).await.unwrap();
        self.next_revision();
        let version = Arc::new(PluginVersion {
            name: name(plugin),
            version: "1".into(),
            digest: inspection.digest.clone(),
            bytes: component.len() as u64,
            uploaded_at: Timestamp(0),
            description: inspection.description,
        });
        self.store
            .0
            .lock()
            .unwrap()
            .insert(inspection.digest, component.into());
        self.topology
            .plugins
            .insert((name(plugin), "1".into()), Arc::clone(&version));
        version
    }

    /// Creates a topic and its queues, then a subscription from JSON.
    pub(crate) fn subscribe(&mut self, topic: &str, subscription: &str, config: Value) {
        let revision = self.next_revision();
        let number = u32::try_from(revision.0).unwrap();
        let config: millrace_model::SubscriptionConfig = serde_json::from_value(config).unwrap();
        let subscription = Subscription {
            id: SubscriptionId(number),
            name: name(subscription),
            subscription: versioned(revision, config),
        };
        let route = self.topology.topics.remove(&name(topic));
        let mut route = route.map_or_else(|| new_route(topic, number), |route| (*route).clone());
        route
            .subscriptions
            .insert(subscription.name.clone(), Arc::new(subscription));
        self.topology.topics.insert(name(topic), Arc::new(route));
    }

    pub(crate) fn queue(&mut self, queue: &str) {
        let revision = self.next_revision();
        let queue = Queue {
            id: QueueId(u32::try_from(revision.0).unwrap()),
            group: GroupId::DATA,
            name: name(queue),
            queue: versioned(revision, serde_json::from_value(json!({})).unwrap()),
            moving: None,
            left: vec![],
        };
        self.topology
            .queues
            .insert(queue.name.clone(), Arc::new(queue));
    }

    /// Queues, so that a test can name them at once.
    pub(crate) fn queues(&mut self, queues: &[&str]) {
        queues.iter().for_each(|queue| self.queue(queue));
    }

    pub(crate) fn request(&self, topic: &str, events: Vec<Event>) -> PlanRequest {
        PlanRequest {
            topology: Arc::new(self.topology.clone()),
            route: Arc::clone(&self.topology.topics[&name(topic)]),
            only: None,
            events: events.into(),
            accepted_at: Timestamp(1_700_000_000_000),
            delay_ms: None,
            explain: true,
        }
    }

    pub(crate) async fn try_plan(
        &self,
        topic: &str,
        events: Vec<Event>,
    ) -> Result<Vec<Plan>, PlanError> {
        self.host.plan(self.request(topic, events)).await
    }

    pub(crate) async fn plan(&self, topic: &str, events: Vec<Event>) -> Vec<Plan> {
        self.try_plan(topic, events).await.unwrap()
    }

    /// Names of the queues that an event is delivered to, each with the number of its payload.
    pub(crate) fn delivered(&self, plan: &Plan) -> Vec<(String, u32)> {
        let queue = |id: QueueId| {
            self.topology
                .queues
                .values()
                .find(|queue| queue.id == id)
                .unwrap()
                .name
                .to_string()
        };
        plan.deliveries
            .iter()
            .map(|delivery| (queue(delivery.queue), delivery.payload))
            .collect()
    }
}

fn new_route(topic: &str, number: u32) -> Route {
    let config = serde_json::from_value(json!({})).unwrap();
    let topic = Topic {
        id: TopicId(number),
        group: GroupId::DATA,
        name: name(topic),
        topic: versioned(Revision(u64::from(number)), config),
    };
    Route {
        topic: Arc::new(topic),
        subscriptions: BTreeMap::new(),
    }
}

/// An event with JSON data.
pub(crate) fn event(kind: &str, data: &Value) -> Event {
    Event {
        id: "1".into(),
        source: "/test".into(),
        kind: kind.into(),
        content_type: Some("application/json".into()),
        data: Data::Json(serde_json::to_vec(data).unwrap().into()),
        ..Event::default()
    }
}

/// Events without data.
pub(crate) fn events(kinds: &[&str]) -> Vec<Event> {
    let bare = |kind: &&str| Event {
        id: "1".into(),
        source: "/test".into(),
        kind: (*kind).into(),
        ..Event::default()
    };
    kinds.iter().map(bare).collect()
}

/// A hostile guest: a whole component or module, or a core module to be put in the shell.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/fixtures");
    let text = std::fs::read_to_string(folder.join(name).with_extension("wat")).unwrap();
    if !text.contains("(core module $plugin") {
        return wat::parse_str(&text).unwrap();
    }
    let shell = std::fs::read_to_string(folder.join("shell.wat")).unwrap();
    wat::parse_str(shell.replace("{{core module}}", &text))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A plugin that ships, as `plugins/build` made it.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guests/dist")
        .join(name)
        .with_extension("wasm");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run plugins/build first", path.display()))
}
