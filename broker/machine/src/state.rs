//! The state of a group that is no list: its time, its revision and the ids that it gave away.

use millrace_model::{Fault, Revision, Tables, Timestamp, row};
use serde::{Deserialize, Serialize};

use crate::keys;

/// One row, written once a batch.
///
/// Invariants:
/// - `at`, `revision` and the ids never go back.
/// - No row of an expiry is earlier than `deduplication_from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The time of the last batch.
    pub(crate) at: Timestamp,
    /// Group 0: the revision of the catalog. A data group: the revision that it adopted.
    pub(crate) revision: Revision,
    /// The last id given to a topic.
    pub(crate) topic: u32,
    /// The last id given to a queue.
    pub(crate) queue: u32,
    /// The last id given to a subscription.
    pub(crate) subscription: u32,
    /// Where the first row of an expiry may be: behind it lie the rows that were removed.
    pub(crate) deduplication_from: Timestamp,
}

impl State {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        match tables.get(keys::STATE)? {
            Some(value) => row::decode("the group", &value),
            None => Ok(Self::default()),
        }
    }

    pub(crate) fn write<T: Tables>(&self, tables: &mut T) {
        tables.put(keys::STATE, row::encode(self));
    }
}
