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
    /// The data group that holds its entries.
    pub group: GroupId,
    /// Its name.
    pub name: Name,
    /// Its configuration.
    pub queue: Versioned<QueueConfig>,
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
