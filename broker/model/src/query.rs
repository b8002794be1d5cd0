//! What can be asked of a group without changing it.

use serde::{Deserialize, Serialize};

use crate::catalog::Topology;
use crate::digest::Digest;
use crate::id::{DeduplicationKey, PayloadRef, QueueId, Revision, SubscriptionId};
use crate::outcome::Accepted;
use crate::queue::QueueCounters;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use std::sync::Arc;

/// A question. Answered between two batches, from what is applied.
///
/// It travels between nodes, so variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The catalog (group 0).
    Topology,
    /// The bytes of a component (group 0), by digest (`sha256:…`).
    Component(String),
    /// The counters of a queue.
    Counters(QueueId),
    /// Entries of a queue without leasing them.
    Peek {
        /// The queue.
        queue: QueueId,
        /// Which entries.
        states: States,
        /// Only entries with a larger sequence.
        after: Option<u64>,
        /// Most entries.
        limit: u32,
    },
    /// Parked events of a subscription, oldest first.
    Parked {
        /// The subscription.
        subscription: SubscriptionId,
        /// Only those with a larger sequence.
        after: Option<u64>,
        /// Most events.
        limit: u32,
    },
    /// The digest of all tables, and whether every invariant holds.
    Audit,
    /// What a request with this key came to in the group that its queue leaves. Since format version 3.
    Remembered {
        /// The queue.
        queue: QueueId,
        /// The key and the digest of the request.
        key: DeduplicationKey,
    },
    /// How many entries of a queue that moves are not handed over yet. Since format version 3.
    Moving(QueueId),
}

/// A set of entry states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// Ready entries.
    pub ready: bool,
    /// Delayed entries.
    pub delayed: bool,
    /// Leased entries.
    pub leased: bool,
}

/// The answer, in the shape of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is nothing to answer about.
    Refused(Refusal),
    /// The catalog.
    Topology(Arc<Topology>),
    /// A component.
    Component(Vec<u8>),
    /// Counters, by the time of the last batch.
    Counters(QueueCounters),
    /// Entries, in order of their sequence.
    Peeked(Vec<Peeked>),
    /// Parked events, in order of their sequence.
    Parked(Vec<ParkedEvent>),
    /// The audit.
    Audit(Audit),
    /// What the request came to, if it is remembered.
    Remembered(Option<Vec<Result<Accepted, Refusal>>>),
    /// Entries that are not handed over yet.
    Moving(u64),
}

/// One entry as peek shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peeked {
    /// Its sequence.
    pub sequence: u64,
    /// Its state.
    pub state: EntryState,
    /// When it came into the queue.
    pub enqueued_at: Timestamp,
    /// How often it was received.
    pub receive_count: u32,
    /// When it was received first.
    pub first_received_at: Option<Timestamp>,
    /// When its lease or delay ends.
    pub visible_at: Option<Timestamp>,
    /// The queue that it is a dead letter of.
    pub dead_letter_source: Option<String>,
    /// The stored event.
    pub payload: PayloadRef,
}

/// Where an entry of a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EntryState {
    /// A receive may take it.
    Ready,
    /// Its time has not come.
    Delayed,
    /// It is under a lease.
    Leased,
}

/// One parked event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedEvent {
    /// Its sequence in the parked list.
    pub sequence: u64,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// Stable code of the reason.
    pub code: String,
    /// The reason, for people.
    pub detail: String,
    /// The plugin version that failed, as `name@version`.
    pub plugin: Option<String>,
    /// The stored event.
    pub payload: PayloadRef,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Digest of all rows.
    pub digest: Digest,
    /// Index of the last applied log entry.
    pub applied: u64,
    /// The revision that the group stands at.
    pub revision: Revision,
    /// How many rows there are.
    pub rows: u64,
    /// Invariants that do not hold, in words; empty when all do.
    pub violations: Vec<String>,
}
