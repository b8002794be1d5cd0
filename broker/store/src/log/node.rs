//! The log of a node.

use std::path::Path;
use std::sync::Arc;

use crate::log::{GroupId, GroupLog, LogError, LogMetrics, LogOptions, SegmentId};

/// The log of a node, shared by all its groups. Dropping it closes it; [`Log::close`] tells whether that went well.
#[derive(Debug)]
pub struct Log {
    _private: (),
}

/// How much room is left without asking the disk for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes left in the active segment and in those that stand ready.
    pub free_bytes: u64,
    /// No further segment can be had: refuse what adds payload (507 `storage_full`); acks, receives and votes may go
    /// on in the reserve. Ends by itself.
    pub full: bool,
}

/// One live segment, for whoever decides what to spill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    /// The segment.
    pub id: SegmentId,
    /// Bytes of records in it.
    pub bytes: u64,
    /// Live references to its entries, over all groups.
    pub refs: u64,
    /// Whether it is the one being written.
    pub active: bool,
}

impl Log {
    /// Opens the log in `dir`, creating it (and the folder) when there is none. Blocks while it verifies every live
    /// segment; starts the writer thread.
    ///
    /// # Errors
    /// `Damage`: a record is unreadable that was known to be durable. `Lost`: the log ends before the watermark.
    /// `InUse`: another process has it. `Io`, also when there is no space for a first segment. `Options`.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        todo!()
    }

    /// Whether [`Log::open`] found nothing and made a new log. If the node has tables with a `last_applied`, that is a loss.
    pub fn is_new(&self) -> bool {
        todo!()
    }

    /// The groups that have ever written here, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        todo!()
    }

    /// The log of one group; it need not have been written to yet. Clones share everything.
    pub fn group(&self, group: GroupId) -> GroupLog {
        todo!()
    }

    /// How much room there is. Cheap: two atomic loads.
    pub fn space(&self) -> Space {
        todo!()
    }

    /// The live segments in order, with their references.
    pub fn segments(&self) -> Vec<SegmentUse> {
        todo!()
    }

    /// What was counted.
    pub fn metrics(&self) -> Arc<LogMetrics> {
        todo!()
    }

    /// Writes and syncs everything that waits, records the end in the watermark, and stops the writer. Operations after
    /// it get `Closed`; reads still work. Further calls do nothing.
    ///
    /// # Errors
    /// The failure of the last write or sync, or an earlier one.
    pub fn close(&self) -> Result<(), Arc<LogError>> {
        todo!()
    }
}
