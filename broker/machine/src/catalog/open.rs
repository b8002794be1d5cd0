//! The catalog from its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_model::catalog::{Placement, Queue, Route, Subscription, Topic};
use millrace_model::{Fault, Name, PluginVersion, Revision, Tables, TopicId, Topology, row};

use super::{Catalog, version};
use crate::keys;
use crate::scan::{damaged, each_row};

impl Catalog {
    /// Reads the whole catalog: it is held in memory.
    pub(crate) fn open<T: Tables>(tables: &T, revision: Revision) -> Result<Self, Fault> {
        let (topics, queues) = (topics(tables)?, queues(tables)?);
        let topology = Topology {
            revision,
            version: version::open(tables)?,
            placement: placement(&topics, &queues),
            topics,
            queues,
            plugins: plugins(tables)?,
        };
        Ok(Self {
            topology: Arc::new(topology),
        })
    }
}

fn placement(topics: &ByName<Route>, queues: &ByName<Queue>) -> Placement {
    let mut placement = Placement::default();
    for route in topics.values() {
        let group = route.topic.group;
        placement.add_topic(group);
        for subscription in route.subscriptions.values() {
            placement.add_subscription(subscription.id, group);
        }
    }
    for queue in queues.values() {
        placement.add_queue(queue.id, queue.delivered_to());
        if let Some(moving) = queue.moving {
            placement.begin_move(queue.id, moving);
        }
    }
    placement
}

fn topics<T: Tables>(tables: &T) -> Result<BTreeMap<Name, Arc<Route>>, Fault> {
    let mut subscriptions = subscriptions(tables)?;
    let mut topics = BTreeMap::new();
    let (from, until) = keys::all(keys::TOPIC);
    each_row(tables, &from, &until, |_, value| {
        let topic: Topic = row::decode_json("a topic", value)?;
        let route = Route {
            subscriptions: subscriptions.remove(&topic.id).unwrap_or_default(),
            topic: Arc::new(topic),
        };
        topics.insert(route.topic.name.clone(), Arc::new(route));
        Ok(())
    })?;
    Ok(topics)
}

type ByName<V> = BTreeMap<Name, Arc<V>>;

fn subscriptions<T: Tables>(tables: &T) -> Result<BTreeMap<TopicId, ByName<Subscription>>, Fault> {
    let mut topics = BTreeMap::<_, ByName<Subscription>>::new();
    let (from, until) = keys::all(keys::SUBSCRIPTION);
    each_row(tables, &from, &until, |key, value| {
        let topic = keys::subscription_topic(key).ok_or_else(|| damaged("a subscription"))?;
        let subscription: Subscription = row::decode_json("a subscription", value)?;
        let name = subscription.name.clone();
        let subscriptions = topics.entry(topic).or_default();
        subscriptions.insert(name, Arc::new(subscription));
        Ok(())
    })?;
    Ok(topics)
}

fn queues<T: Tables>(tables: &T) -> Result<ByName<Queue>, Fault> {
    let mut queues = BTreeMap::new();
    let (from, until) = keys::all(keys::CATALOG_QUEUE);
    each_row(tables, &from, &until, |_, value| {
        let queue: Queue = row::decode_json("a queue of the catalog", value)?;
        queues.insert(queue.name.clone(), Arc::new(queue));
        Ok(())
    })?;
    Ok(queues)
}

fn plugins<T: Tables>(tables: &T) -> Result<BTreeMap<(Name, String), Arc<PluginVersion>>, Fault> {
    let mut plugins = BTreeMap::new();
    let (from, until) = keys::all(keys::PLUGIN);
    each_row(tables, &from, &until, |_, value| {
        let plugin: PluginVersion = row::decode_json("a plugin version", value)?;
        let key = (plugin.name.clone(), plugin.version.clone());
        plugins.insert(key, Arc::new(plugin));
        Ok(())
    })?;
    Ok(plugins)
}
