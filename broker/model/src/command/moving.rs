//! What a queue is handed over with when it moves to another group.
//!
//! The group that it leaves serves nothing of it any more, so what is handed over stands still: whoever hands over a part
//! twice says the same twice.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, QueueId, Revision};
use crate::outcome::Accepted;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// A part of a move. The proposal's payloads are those of the entries, one each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOver {
    /// The group that hands over.
    pub source: GroupId,
    /// The revision that began the move.
    pub revision: Revision,
    /// What is taken over.
    pub part: Part,
}

/// What is taken over at once. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All queues of the move begin to live here, at once: dead letters go from one to another.
    Begin(Vec<Leaving>),
    /// Entries of one queue, in order.
    Entries {
        /// The queue.
        queue: QueueId,
        /// All that it has from this sequence …
        from: u64,
        /// … to before this one.
        until: u64,
        /// The entries.
        entries: Vec<Moved>,
    },
    /// Remembered requests of one queue, in order of their keys.
    Keys {
        /// The queue.
        queue: QueueId,
        /// All behind this key; from the first on without one.
        after: Option<[u8; 16]>,
        /// The requests.
        keys: Vec<Kept>,
        /// Whether these are the last.
        is_last: bool,
    },
    /// Nothing: whether all could begin is asked before any queue leaves.
    Ask(Vec<QueueId>),
}

/// A queue as it stood when it began to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The queue.
    pub queue: QueueId,
    /// No entry has a smaller sequence.
    pub head: u64,
    /// Entries from here on were never received.
    pub fresh: u64,
    /// The sequence of the next entry.
    pub tail: u64,
    /// How many entries are ready.
    pub ready: u64,
    /// How many are leased.
    pub leased: u64,
    /// How many are delayed.
    pub delayed: u64,
    /// The sum of their sizes, in bytes.
    pub bytes: u64,
}

/// One entry, as it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its sequence, which it keeps.
    pub sequence: u64,
    /// When it came into the queue.
    pub enqueued_at: Timestamp,
    /// How often it was received.
    pub receive_count: u32,
    /// When it was received first.
    pub first_received_at: Option<Timestamp>,
    /// When its delay ends, if it is delayed.
    pub due: Option<Timestamp>,
    /// Nonce and end of its lease, if it is leased: receipts stay valid.
    pub lease: Option<(u64, Timestamp)>,
    /// Id and name of the queue that it is a dead letter of.
    pub dead_letter_source: Option<(QueueId, String)>,
}

/// One remembered request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The digest of its key.
    pub key: [u8; 16],
    /// The digest of the request.
    pub request: u64,
    /// When it is forgotten.
    pub expires: Timestamp,
    /// What it came to.
    pub outcome: Vec<Result<Accepted, Refusal>>,
}
