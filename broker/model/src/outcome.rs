//! What came of a command.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{Queue, Subscription, Topic};
use crate::command::json_text;
use crate::id::{PayloadRef, Revision};
use crate::plugin::PluginVersion;
use crate::receipt::Receipt;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// The outcome of one command, in the shape of the command.
///
/// It travels between nodes, so variants are only ever added at the end; configuration in it is JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command as a whole was refused; nothing changed.
    Refused(Refusal),
    /// A topic was created, updated or confirmed.
    Topic {
        /// The topic as it is now.
        #[serde(with = "json_text")]
        topic: Arc<Topic>,
        /// It is new.
        created: bool,
    },
    /// A subscription was created, updated or confirmed.
    Subscription {
        /// The subscription as it is now.
        #[serde(with = "json_text")]
        subscription: Arc<Subscription>,
        /// It is new.
        created: bool,
    },
    /// A queue was created, updated or confirmed.
    Queue {
        /// The queue as it is now.
        #[serde(with = "json_text")]
        queue: Arc<Queue>,
        /// It is new.
        created: bool,
    },
    /// A plugin version was added or confirmed.
    Plugin {
        /// The version.
        #[serde(with = "json_text")]
        version: Arc<PluginVersion>,
        /// It is new.
        created: bool,
    },
    /// Something of the catalog was deleted.
    Deleted,
    /// The group stands at this revision.
    Adopted(Revision),
    /// Events of a topic or queue were accepted, in order; each has its own result.
    Accepted(Vec<Result<Accepted, Refusal>>),
    /// Entries were leased; none is fine.
    Received(Vec<Lease>),
    /// Receipts were settled (acked, nacked or extended).
    Settled(Settled),
    /// So many entries were dropped.
    Purged(u64),
    /// So many entries were moved.
    Redriven(u64),
    /// Parked events were planned anew.
    Unparked(Unparked),
    /// The tick did what it could.
    Ticked {
        /// Entries, windows and rows that were moved or dropped.
        work: u64,
    },
    /// Everything up to this sequence of the outbox is taken in ([`crate::Command::Deliver`]), or dropped from it
    /// ([`crate::Command::Delivered`]).
    Carried(u64),
    /// How far the queues of a [`crate::Command::TakeOver`] are taken over, each in its order.
    TakenOver(Vec<Taken>),
}

/// How far a queue that moves is taken over: what its new group needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Taken {
    /// Left-overs of an earlier stay are being removed first: ask again in a moment.
    Waits,
    /// Entries from this sequence on.
    Entries {
        /// The sequence.
        next: u64,
    },
    /// Remembered requests behind this key; from the first on without one.
    Keys {
        /// The key.
        after: Option<[u8; 16]>,
    },
    /// Nothing: it has everything, or the queue is deleted, or this move was over before.
    Done,
    /// The beginning: it is ready.
    Begin,
}

/// One accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its number in the topic or queue.
    pub sequence: u64,
    /// How many entries it became.
    pub deliveries: u32,
}

/// One leased entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The right to settle it. Holds sequence and receive count.
    pub receipt: Receipt,
    /// When it came into the queue.
    pub enqueued_at: Timestamp,
    /// When it was received first.
    pub first_received_at: Timestamp,
    /// When the lease ends.
    pub visible_at: Timestamp,
    /// The queue that it is a dead letter of.
    pub dead_letter_source: Option<String>,
    /// The stored event.
    pub payload: PayloadRef,
}

/// What came of some receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// How many were settled.
    pub done: u32,
    /// The others: ordinal in the request, and why.
    pub failed: Vec<(u32, Refusal)>,
}

/// What came of a redrive of parked events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unparked {
    /// How many left the parked list.
    pub redriven: u64,
    /// How many stay in it.
    pub parked: u64,
}
