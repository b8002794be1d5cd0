//! Commands of which a part is in other groups.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Publish, Redrive, Unpark};
use crate::id::{GroupId, QueueId, Revision, SubscriptionId};
use crate::time::Timestamp;

/// What plans name that is not in the group that follows them: everything else is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Queues with their groups, in order of their ids.
    pub queues: Vec<(QueueId, GroupId)>,
    /// Subscriptions with the groups of their topics, in order of their ids.
    pub subscriptions: Vec<(SubscriptionId, GroupId)>,
}

impl Elsewhere {
    /// The group of a queue that is not here.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<GroupId> {
        let at = self.queues.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.queues[at].1)
    }

    /// The group of a subscription's parked list that is not here.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> Option<GroupId> {
        let known = self.subscriptions.binary_search_by_key(&id, |(id, _)| *id);
        Some(self.subscriptions[known.ok()?].1)
    }

    /// Whether everything is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.subscriptions.is_empty()
    }

    /// The groups named, each once.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<GroupId> {
        let queues = self.queues.iter().map(|(_, group)| *group);
        let subscriptions = self.subscriptions.iter().map(|(_, group)| *group);
        queues.chain(subscriptions).collect()
    }
}

/// Events of one topic of which some go to other groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishAcross {
    /// The events with their plans.
    pub publish: Publish,
    /// What of the plans is in other groups.
    pub elsewhere: Elsewhere,
}

/// Parked events of one subscription of which some go to other groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnparkAcross {
    /// The events with their plans.
    pub unpark: Unpark,
    /// What of the plans is in other groups.
    pub elsewhere: Elsewhere,
}

/// A redrive to a queue of another group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveAcross {
    /// The redrive; it names where to.
    pub redrive: Redrive,
    /// The group of that queue.
    pub group: GroupId,
    /// The revision of the topology that the request was made against.
    pub revision: Revision,
}

/// What one group accepted for another, in the order of its outbox. The proposal's payloads are those of the items,
/// each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// The group that accepted it.
    pub source: GroupId,
    /// The sequence of the first item in the outbox; the others follow without a gap.
    pub first: u64,
    /// The latest revision that any of it was planned against: an older group must adopt it first.
    pub revision: Revision,
    /// What is taken in.
    pub items: Vec<Carried>,
}

/// One delivery or park on its way between groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Which of the proposal's payloads.
    pub payload: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Where it goes.
    pub to: CarriedTo,
}

/// Where something goes in another group. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CarriedTo {
    /// Into a queue.
    Queue {
        /// The queue.
        queue: QueueId,
        /// Delay asked for, in milliseconds from the acceptance; `None` takes the queue's.
        delay_ms: Option<u64>,
    },
    /// Into a parked list.
    Parked {
        /// The subscription.
        subscription: SubscriptionId,
        /// Stable code of the reason.
        code: String,
        /// The reason, for people.
        detail: String,
        /// The plugin version that failed, as `name@version`.
        plugin: Option<String>,
    },
}

/// What another group has taken in of the outbox for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The other group.
    pub to: GroupId,
    /// The last sequence that it has taken in.
    pub upto: u64,
}
