//! The catalog: topics, subscriptions, queues and plugins, as group 0 keeps them and every door reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, QueueId, Revision, SubscriptionId, TopicId};
use crate::name::Name;
use crate::plugin::PluginVersion;
use crate::queue::QueueConfig;
use crate::subscription::SubscriptionConfig;
use crate::time::Timestamp;
use crate::topic::TopicConfig;
use crate::version::{Feature, FormatVersion};

/// Configuration with its version, which is its `ETag`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// The revision of the catalog that set it last.
    pub version: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was set last.
    pub updated_at: Timestamp,
    /// The configuration.
    pub config: T,
}

/// A topic of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// The data group that accepts its events.
    pub group: GroupId,
    /// Its name.
    pub name: Name,
    /// Its configuration.
    pub topic: Versioned<TopicConfig>,
}

/// A subscription of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Its name, unique within the topic.
    pub name: Name,
    /// Its configuration.
    pub subscription: Versioned<SubscriptionConfig>,
}

/// A queue of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its id.
    pub id: QueueId,
    /// The data group that takes all requests: it holds the entries, or they come to it.
    pub group: GroupId,
    /// Its name.
    pub name: Name,
    /// Its configuration.
    pub queue: Versioned<QueueConfig>,
    /// Set while it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// Groups that it left: what reaches them late is sent on, so they are told when it is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<GroupId>,
}

/// The move of a queue to another group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Where it comes from.
    pub from: GroupId,
    /// Where it goes.
    pub to: GroupId,
    /// The revision that began the move: its name.
    pub revision: Revision,
    /// Whether it leaves. Before, it is served where it was, and its new group gets ready.
    pub leaves: bool,
}

impl Queue {
    /// The group that deliveries are sent to. While the queue leaves that is the one that it leaves, which sends them on:
    /// so they follow what it handed over, and none comes to a group that does not know yet how many there were.
    #[must_use]
    pub fn delivered_to(&self) -> GroupId {
        self.moving.map_or(self.group, |moving| moving.from)
    }

    /// The group that it will be in when it moves no more.
    #[must_use]
    pub fn target(&self) -> GroupId {
        self.moving.map_or(self.group, |moving| moving.to)
    }
}

/// A topic with its subscriptions, as routing uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Its subscriptions, by name.
    pub subscriptions: BTreeMap<Name, Arc<Subscription>>,
}

/// Everything that routing must know, at one revision. Immutable; a change makes a new one that shares all
/// that did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The revision of the catalog.
    pub revision: Revision,
    /// The format version of the cluster at that revision.
    pub version: FormatVersion,
    /// Topics by name.
    pub topics: BTreeMap<Name, Arc<Route>>,
    /// Queues by name.
    pub queues: BTreeMap<Name, Arc<Queue>>,
    /// Plugin versions by name and version.
    pub plugins: BTreeMap<(Name, String), Arc<PluginVersion>>,
    /// Which groups they are placed in.
    pub placement: Placement,
}

/// Which data group each queue and subscription is in, and how many topics and queues each group has. It says what the
/// topics and queues say, for whoever has an id and no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Queues whose deliveries do not go to the first data group.
    queues: BTreeMap<QueueId, GroupId>,
    /// Subscriptions whose topics are not in the first data group.
    subscriptions: BTreeMap<SubscriptionId, GroupId>,
    /// Topics and queues of each group that has any.
    load: BTreeMap<GroupId, u64>,
    /// Queues that are to move and do not leave yet.
    bound: BTreeMap<QueueId, Moving>,
}

impl Placement {
    /// Notes a new topic.
    pub fn add_topic(&mut self, group: GroupId) {
        *self.load.entry(group).or_default() += 1;
    }

    /// Notes that a topic is gone.
    pub fn remove_topic(&mut self, group: GroupId) {
        if let Some(load) = self.load.get_mut(&group) {
            *load = load.saturating_sub(1);
        }
        self.load.retain(|_, load| *load > 0);
    }

    /// Notes a new queue.
    pub fn add_queue(&mut self, id: QueueId, group: GroupId) {
        self.add_topic(group);
        if group != GroupId::DATA {
            self.queues.insert(id, group);
        }
    }

    /// Notes that a queue is to move: it counts in both groups, and deliveries go where they went.
    pub fn begin_move(&mut self, id: QueueId, moving: Moving) {
        self.add_topic(moving.to);
        if !moving.leaves {
            self.bound.insert(id, moving);
        }
    }

    /// Notes that a queue leaves.
    pub fn leave(&mut self, id: QueueId) {
        self.bound.remove(&id);
    }

    /// Notes that a queue moves no more: it is in `group`, and in `other` no longer.
    pub fn end_move(&mut self, id: QueueId, group: GroupId, other: GroupId) {
        self.remove_queue(id, other);
        if group != GroupId::DATA {
            self.queues.insert(id, group);
        }
    }

    /// Queues that are to move and do not leave yet.
    pub fn bound(&self) -> impl Iterator<Item = (QueueId, Moving)> {
        self.bound.iter().map(|(id, moving)| (*id, *moving))
    }

    /// Notes that a queue is gone.
    pub fn remove_queue(&mut self, id: QueueId, group: GroupId) {
        self.remove_topic(group);
        self.queues.remove(&id);
        self.bound.remove(&id);
    }

    /// Notes a subscription of a topic of `group`.
    pub fn add_subscription(&mut self, id: SubscriptionId, group: GroupId) {
        if group != GroupId::DATA {
            self.subscriptions.insert(id, group);
        }
    }

    /// Notes that a subscription is gone.
    pub fn remove_subscription(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(&id);
    }

    /// The group that deliveries to a queue of the catalog go to ([`Queue::delivered_to`]).
    #[must_use]
    pub fn queue(&self, id: QueueId) -> GroupId {
        self.queues.get(&id).copied().unwrap_or(GroupId::DATA)
    }

    /// The group of the topic of a subscription of the catalog.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> GroupId {
        let group = self.subscriptions.get(&id);
        group.copied().unwrap_or(GroupId::DATA)
    }

    /// How many topics and queues a group has.
    #[must_use]
    pub fn load(&self, group: GroupId) -> u64 {
        self.load.get(&group).copied().unwrap_or(0)
    }

    /// The groups that have topics or queues.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.load.keys().copied()
    }
}

impl Topology {
    /// Whether `feature` is on: every member of the cluster understands it.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.version.has(feature)
    }

    /// The plugin version that a binding names.
    #[must_use]
    pub fn plugin(&self, name: &Name, version: &str) -> Option<&Arc<PluginVersion>> {
        self.plugins.get(&(name.clone(), version.to_owned()))
    }
}
