//! All rows of a group at one moment.

use std::fmt;

use fjall::{Keyspace, Readable, Snapshot};
use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId};

use crate::tables::fjall_fault::fault;
use crate::tables::rows::{FIRST, SYSTEM};

/// All rows of a group as of one commit. While it is there fjall keeps what is overwritten: do not hold it for long,
/// and drop it before the tables are opened again.
pub struct TableSnapshot {
    group: GroupId,
    applied: u64,
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl TableSnapshot {
    pub(crate) fn new(
        group: GroupId,
        applied: u64,
        snapshot: Snapshot,
        keyspace: Keyspace,
    ) -> Self {
        Self {
            group,
            applied,
            snapshot,
            keyspace,
        }
    }

    /// The index of the last entry that the rows know of.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The rows in order of their keys: system rows first, under their reserved prefix, and without what belongs to
    /// this node alone (reference counts). Fit for [`GroupTables::restore`](crate::tables::GroupTables::restore).
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Fault>> + Send + use<> {
        let system = self.snapshot.prefix(&self.keyspace, SYSTEM);
        let others = self.snapshot.range(&self.keyspace, FIRST..);
        system.chain(others).map(|guard| {
            let (key, value) = guard.into_inner().map_err(fault("read a snapshot"))?;
            Ok((key.to_vec(), value.to_vec()))
        })
    }
}

impl fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot")
            .field("group", &self.group)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}
