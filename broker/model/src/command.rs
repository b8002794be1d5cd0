//! What can be asked of a group: every command of the broker.
//!
//! Commands of the catalog go to group 0, all others to the data group of their topic or queue. Payloads
//! travel beside the command, in [`crate::batch::Proposal::payloads`]; a command names them by ordinal.

mod across;
mod moving;

use serde::{Deserialize, Serialize};

use crate::id::{DeduplicationKey, GroupId, QueueId, Revision, SubscriptionId, TopicId};
use crate::name::Name;
use crate::plugin::PluginVersion;
use crate::queue::QueueConfig;
use crate::receipt::Receipt;
use crate::subscription::SubscriptionConfig;
use crate::topic::TopicConfig;
use crate::version::{Feature, FormatVersion};

pub use across::{
    Carried, CarriedTo, Deliver, Delivered, Elsewhere, PublishAcross, RedriveAcross, UnparkAcross,
};
pub use moving::{Kept, Leaving, Moved, Part, TakeOver};

/// One command. Variants are only ever added at the end: their order is part of the log's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Changes the catalog. As JSON text, so that configuration stays extensible.
    Catalog(#[serde(with = "json_text")] CatalogCommand),
    /// Tells a data group what changed in the catalog, up to a revision.
    Adopt(#[serde(with = "json_text")] Adopt),
    /// Accepts events of a topic, with their plans.
    Publish(Publish),
    /// Accepts events for one queue.
    Send(Send),
    /// Leases entries.
    Receive(Receive),
    /// Ends leases: the entries are done.
    Ack(Settle),
    /// Ends leases: the entries become ready, now or later.
    Nack(Nack),
    /// Sets the end of leases anew.
    Extend(Extend),
    /// Drops all entries of a queue.
    Purge(QueueId),
    /// Moves dead letters back.
    Redrive(Redrive),
    /// Delivers parked events by a new plan.
    Unpark(Unpark),
    /// Does what is due: ends of leases and delays, retention, deduplication windows, left-overs of purges.
    Tick,
    /// As [`Command::Publish`], with plans that lead into other groups too.
    PublishAcross(PublishAcross),
    /// As [`Command::Unpark`], with plans that lead into other groups too.
    UnparkAcross(UnparkAcross),
    /// As [`Command::Redrive`], to a queue of another group.
    RedriveAcross(RedriveAcross),
    /// Takes in what another group has accepted for queues and parked lists of this one.
    Deliver(Deliver),
    /// Drops what another group has taken in.
    Delivered(Delivered),
    /// Takes over a part of a queue that moves here.
    TakeOver(TakeOver),
}

impl Command {
    /// The format version that brought it: nothing older reads a log that holds it, and it is proposed only in a
    /// cluster of that version. But for the raise itself, which makes it so.
    #[must_use]
    pub fn since(&self) -> FormatVersion {
        match self {
            Self::Catalog(CatalogCommand::RaiseVersion { to }) => (*to).max(FormatVersion(2)),
            Self::Catalog(
                CatalogCommand::MoveQueue { .. }
                | CatalogCommand::Leave { .. }
                | CatalogCommand::EndMove { .. },
            )
            | Self::TakeOver(_) => Feature::QueueMoves.since(),
            Self::Adopt(adopt)
                if adopt.after.is_some() || adopt.changes.iter().any(Change::moves) =>
            {
                Feature::QueueMoves.since()
            }
            Self::PublishAcross(_)
            | Self::UnparkAcross(_)
            | Self::RedriveAcross(_)
            | Self::Deliver(_)
            | Self::Delivered(_) => Feature::CrossGroupDelivery.since(),
            _ => FormatVersion::MIN,
        }
    }
}

/// A change of the catalog (group 0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogCommand {
    /// Creates or updates a topic.
    PutTopic {
        /// The topic.
        name: Name,
        /// Its configuration from now on.
        config: TopicConfig,
        /// The data groups that a new one may be placed in; empty when there is only one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        among: Vec<GroupId>,
        /// What must be so before.
        expect: Expect,
    },
    /// Deletes a topic.
    DeleteTopic {
        /// The topic.
        name: Name,
        /// Its subscriptions go with it; without this, a topic that has some is refused as in use.
        cascade: bool,
        /// What must be so before.
        expect: Expect,
    },
    /// Creates or updates a subscription.
    PutSubscription {
        /// The topic it belongs to.
        topic: Name,
        /// The subscription.
        name: Name,
        /// Its configuration from now on.
        config: SubscriptionConfig,
        /// What must be so before.
        expect: Expect,
    },
    /// Deletes a subscription.
    DeleteSubscription {
        /// The topic it belongs to.
        topic: Name,
        /// The subscription.
        name: Name,
        /// What must be so before.
        expect: Expect,
    },
    /// Creates or updates a queue.
    PutQueue {
        /// The queue.
        name: Name,
        /// Its configuration from now on.
        config: QueueConfig,
        /// Where a new one is placed if `among` is empty; one that exists stays where it is.
        group: GroupId,
        /// The data groups that a new one may be placed in; empty when there is only one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        among: Vec<GroupId>,
        /// What must be so before.
        expect: Expect,
    },
    /// Deletes a queue with all its entries.
    DeleteQueue {
        /// The queue.
        name: Name,
        /// What must be so before.
        expect: Expect,
    },
    /// Adds a plugin version; the component is the command's only payload.
    PutPlugin {
        /// The version, as its component describes itself.
        version: PluginVersion,
    },
    /// Deletes a plugin version that no subscription uses.
    DeletePlugin {
        /// The plugin.
        name: Name,
        /// Its version.
        version: String,
    },
    /// Forgets news that every data group has adopted.
    Forget {
        /// The last revision to forget.
        upto: Revision,
    },
    /// Raises the format version of the cluster: every member, learners too, supports it and has written that down. A
    /// revision of the catalog, so that no plan from before counts after it. Never lowers.
    RaiseVersion {
        /// From now on.
        to: FormatVersion,
    },
    /// Begins to move a queue to another data group, with all that dead letters tie to it. Confirms when it is there or
    /// on the way there; back to where it has not left yet, it stays.
    MoveQueue {
        /// The queue.
        name: Name,
        /// The group.
        to: GroupId,
    },
    /// Queues leave, since their new group is ready. A move that is further or unknown changes nothing.
    Leave {
        /// The revision that began the move.
        revision: Revision,
    },
    /// Queues have moved: their new group has everything. A move that is over or unknown changes nothing.
    EndMove {
        /// The revision that began the move.
        revision: Revision,
    },
}

/// What a change expects of the thing it changes (`If-Match`, `If-None-Match: *`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nothing.
    #[default]
    Any,
    /// It does not exist.
    Absent,
    /// It exists.
    Present,
    /// It has this version.
    Version(Revision),
}

/// News of the catalog for a data group. Idempotent: what is older than the group, or was made for what it is no more, is
/// answered and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopt {
    /// The revision that the group stands at afterwards: plans made against an older one are refused.
    pub revision: Revision,
    /// The revision that the group stands at before. News that were proposed while earlier ones were under way repeat
    /// those, and a queue must not be awaited twice. None before format 3, which brought that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Revision>,
    /// All changes of the catalog that concern this group since its last revision.
    pub changes: Vec<Change>,
}

/// One change that a data group must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A queue was created or configured anew.
    Queue {
        /// The queue.
        id: QueueId,
        /// Its name.
        name: Name,
        /// Its configuration from now on.
        config: QueueConfig,
        /// Its dead-letter queue, resolved.
        dead_letter: Option<QueueId>,
    },
    /// A queue was deleted: its entries go.
    QueueDeleted {
        /// The queue.
        id: QueueId,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// The topic.
        id: TopicId,
    },
    /// A subscription was deleted: its parked events go.
    SubscriptionDeleted {
        /// The subscription.
        id: SubscriptionId,
    },
    /// A subscription was deleted of which events may be under way between groups: they go when they come.
    SubscriptionGone {
        /// The subscription.
        id: SubscriptionId,
    },
    /// A queue leaves the group: from here on it serves nothing of it, hands it over and sends on what still comes.
    QueueLeaves {
        /// The queue.
        id: QueueId,
        /// Where it goes.
        to: GroupId,
        /// The revision that began the move.
        revision: Revision,
    },
    /// A queue will be handed over to the group.
    QueueAwaited {
        /// The queue.
        id: QueueId,
        /// Its name.
        name: Name,
        /// Its configuration.
        config: QueueConfig,
        /// Its dead-letter queue, resolved.
        dead_letter: Option<QueueId>,
        /// Where it comes from.
        from: GroupId,
        /// The revision that began the move.
        revision: Revision,
    },
    /// A queue is awaited no more: it stays where it is.
    QueueStays {
        /// The queue.
        id: QueueId,
    },
    /// A queue was handed over: what is left of it here goes. What still comes is sent on.
    QueueLeft {
        /// The queue.
        id: QueueId,
        /// The revision that began the move.
        revision: Revision,
    },
}

impl Change {
    /// Whether it belongs to the move of a queue.
    fn moves(&self) -> bool {
        matches!(
            self,
            Self::QueueLeaves { .. }
                | Self::QueueAwaited { .. }
                | Self::QueueStays { .. }
                | Self::QueueLeft { .. }
        )
    }
}

/// Events of one topic, each with the plan that was made for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The topic.
    pub topic: TopicId,
    /// The revision of the topology that the plans were made against.
    pub revision: Revision,
    /// `Idempotency-Key`, if one was sent.
    pub deduplication: Option<Deduplication>,
    /// The events, in order.
    pub events: Vec<Routed>,
}

/// One event with its plan. Its payloads are `payloads` consecutive ones of the proposal, following those
/// of the event before; the first is the event as published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// How many payloads of the proposal are this event's: 1, and one more for each changed form.
    pub payloads: u32,
    /// Where it goes.
    pub deliveries: Vec<Delivery>,
    /// Where it is parked.
    pub parked: Vec<Park>,
}

/// One delivery of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The queue.
    pub queue: QueueId,
    /// Which of the event's payloads: 0 is the event as published.
    pub payload: u32,
    /// Delay asked for by publisher or plugin, in milliseconds; `None` takes the queue's.
    pub delay_ms: Option<u64>,
}

/// An event that waits in a subscription's parked list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Park {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Which of the event's payloads: 0 unless the event was changed on its way over topics.
    pub payload: u32,
    /// Stable code: `plugin_trap`, `plugin_timeout`, `rejected`, `paused`, ….
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// The plugin version that failed, as `name@version`.
    pub plugin: Option<String>,
}

/// Deduplication of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduplication {
    /// The digest of the key and of the request.
    pub key: DeduplicationKey,
    /// Length of the window, in milliseconds.
    pub window_ms: u64,
}

/// Events for one queue: one payload of the proposal each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The queue.
    pub queue: QueueId,
    /// `Idempotency-Key`, if one was sent.
    pub deduplication: Option<Deduplication>,
    /// Delay of all of them, in milliseconds; `None` takes the queue's.
    pub delay_ms: Option<u64>,
}

/// A receive. Proposed only when something is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receive {
    /// The queue.
    pub queue: QueueId,
    /// Most messages.
    pub max: u32,
    /// Length of the leases, in milliseconds; `None` takes the queue's.
    pub visibility_ms: Option<u64>,
    /// Random: part of the receipts, so that they cannot be guessed.
    pub nonce: u64,
}

/// Receipts of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The queue.
    pub queue: QueueId,
    /// The receipts.
    pub receipts: Vec<Receipt>,
}

/// A nack of some receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// The queue.
    pub queue: QueueId,
    /// The receipts.
    pub receipts: Vec<Receipt>,
    /// How long the entries stay delayed, in milliseconds.
    pub delay_ms: u64,
}

/// An extension of some leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    /// The queue.
    pub queue: QueueId,
    /// The receipts.
    pub receipts: Vec<Receipt>,
    /// The new length of the leases, counted from now, in milliseconds; 0 ends them as a nack would.
    pub visibility_ms: u64,
}

/// Moves ready entries of a dead-letter queue back to the queues that they came from, oldest first. An
/// entry whose source is gone stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// The dead-letter queue.
    pub queue: QueueId,
    /// Where to, instead of the sources.
    pub to: Option<QueueId>,
    /// Most entries.
    pub max: u32,
}

/// Delivers parked events of one subscription by a new plan, atomically. The changed forms are the
/// proposal's payloads, those of one event after those of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpark {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The revision of the topology that the plans were made against.
    pub revision: Revision,
    /// The events, by their sequence in the parked list.
    pub events: Vec<Unparked>,
}

/// One parked event with its new plan. A delivery's payload 0 is the parked event as it is, 1 is the first
/// of its own `payloads`, and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unparked {
    /// Sequence in the parked list.
    pub sequence: u64,
    /// How many payloads of the proposal are this event's.
    pub payloads: u32,
    /// Where it goes; empty when the new plan drops it.
    pub deliveries: Vec<Delivery>,
    /// Where it is parked again. An event that its own subscription parks again keeps its place, with the
    /// new reason.
    pub parked: Vec<Park>,
}

/// A value as JSON text inside the binary form, which cannot leave fields out.
pub(crate) mod json_text {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(value).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: DeserializeOwned,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}
