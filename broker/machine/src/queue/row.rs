//! The cursors and counts of a queue.

use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};

/// One row, written once a batch that touches the queue.
///
/// Invariants: `head <= fresh <= tail`; the queue's entries have sequences from `head` to before `tail`, and
/// those from `fresh` on were never received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRow {
    /// No entry of the queue has a smaller sequence; rows below are left-overs of a purge.
    pub(crate) head: u64,
    /// Entries from here on were never received: they are read only when their turn comes.
    pub(crate) fresh: u64,
    /// The sequence of the next entry.
    pub(crate) tail: u64,
    /// How many entries there are.
    pub(crate) entries: u64,
    /// The sum of their sizes, in bytes.
    pub(crate) bytes: u64,
    /// Nothing outlives the retention before this time and it. No entry came into the queue earlier, unless one was under
    /// way from another group: it may live longer by that time, since retention looks at the first entry.
    pub(crate) oldest: Timestamp,
    /// No delay of an entry ends earlier: behind it lie the rows of delays that ended.
    pub(crate) delayed_from: Timestamp,
}

impl Default for QueueRow {
    fn default() -> Self {
        Self {
            head: 1,
            fresh: 1,
            tail: 1,
            entries: 0,
            bytes: 0,
            oldest: Timestamp(0),
            delayed_from: Timestamp(0),
        }
    }
}
