//! The tables of a node.

use std::path::Path;
use std::sync::Arc;

use millrace_model::{Fault, GroupId};

use crate::tables::{GroupTables, TableMetrics, TableOptions};

/// The tables of a node: one fjall database and one thread that writes to it.
#[derive(Debug)]
pub struct TableStore {
    _private: (),
}

impl TableStore {
    /// Opens the tables in `dir`, creating them when there are none. Blocks while fjall replays its journal.
    ///
    /// # Errors
    /// The disk refused, what is on it is damaged, or another process has it open.
    pub fn open(dir: impl AsRef<Path>, options: TableOptions) -> Result<Self, Fault> {
        todo!()
    }

    /// Whether [`TableStore::open`] found nothing and made new tables. If the log is not new, that is a loss.
    pub fn is_new(&self) -> bool {
        todo!()
    }

    /// The tables of one group, created empty when there are none. They have one owner: a second call is refused until
    /// the first one's tables are dropped.
    ///
    /// # Errors
    /// Already open; the disk refused; an unreadable row.
    pub fn group(&self, group: GroupId) -> Result<GroupTables, Fault> {
        todo!()
    }

    /// What was counted.
    pub fn metrics(&self) -> Arc<TableMetrics> {
        todo!()
    }
}
