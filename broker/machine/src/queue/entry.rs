//! One event in one queue.

use millrace_model::{Fault, PayloadRef, QueueId, Timestamp, row};
use serde::{Deserialize, Serialize};

/// An entry, as its row has it.
///
/// Invariants:
/// - `lease` is set exactly while the entry is leased; `due` is set while it is delayed, and may stay set
///   after the delay ended (the list of delays decides).
/// - Never both: an entry is ready, delayed or leased.
/// - `first_received_at` is set exactly when `receive_count` is not 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The stored event.
    pub(crate) payload: PayloadRef,
    /// When it came into this queue.
    pub(crate) enqueued_at: Timestamp,
    /// How often it was received.
    pub(crate) receive_count: u32,
    /// When it was received first.
    pub(crate) first_received_at: Option<Timestamp>,
    /// When its last delay ends or ended.
    pub(crate) due: Option<Timestamp>,
    /// Its lease.
    pub(crate) lease: Option<Term>,
    /// The queue that it is a dead letter of.
    pub(crate) source: Option<Box<Source>>,
}

/// What a lease is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Term {
    /// The nonce of the receive.
    pub(crate) nonce: u64,
    /// When it ends.
    pub(crate) visible_at: Timestamp,
}

/// The queue that a dead letter came from: the name is for people, the id for a redrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) queue: QueueId,
    pub(crate) name: String,
}

impl Entry {
    /// An entry that was never received.
    pub(crate) fn new(
        payload: PayloadRef,
        enqueued_at: Timestamp,
        source: Option<Box<Source>>,
    ) -> Self {
        Self {
            payload,
            enqueued_at,
            receive_count: 0,
            first_received_at: None,
            due: None,
            lease: None,
            source,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(
            self.lease.is_none() || self.due.is_none(),
            "an entry is not leased and delayed"
        );
        row::encode(self)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Fault> {
        row::decode("an entry", value)
    }

    /// The size of the stored event, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.payload.len)
    }
}
