//! One group's view of the log.

use std::ops::RangeBounds;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::{GroupId, LogEntry, LogError, LogId, PayloadRange, SegmentId};

/// Told once when an operation is durable (`Ok`) or never will be. Runs on the writer thread, in the order of the
/// operations over all groups: hand on, do not work or block in it, and do not call a writing method of the log.
pub type Done = Box<dyn FnOnce(Result<(), Arc<LogError>>) + Send>;

/// One group's view of the log. Cheap to clone; all clones see the same. Calls that write are to be made in order by
/// one caller (Raft serialises them); reads may come from anywhere.
#[derive(Clone, Debug)]
pub struct GroupLog {
    _private: (),
}

impl GroupLog {
    /// Which group this is.
    pub fn id(&self) -> GroupId {
        todo!()
    }

    /// Appends `entries`, readable by everybody on return; `done` comes after the fdatasync that covers them.
    /// Bodies are not copied: they are written from where they are. Blocks only while
    /// [`LogOptions::queue_bytes`](crate::log::LogOptions::queue_bytes) wait for the disk.
    ///
    /// The first index of an empty log is free; after that they are consecutive (after a purge beyond the end: from there).
    ///
    /// # Errors
    /// `OutOfOrder`, `TooLarge`, `Poisoned`, `Closed`: nothing was taken and `done` is never called.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), Arc<LogError>> {
        todo!()
    }

    /// Drops every entry after `index`; `None` drops all that are not purged. Effective for readers on return.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`; `Missing` when `index` was purged or lies beyond the end.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) -> Result<(), Arc<LogError>> {
        todo!()
    }

    /// Drops every entry up to `upto`, which may lie beyond the end (a snapshot was installed). Logical: the payloads
    /// stay readable through [`GroupLog::payload`] while their segment lives. Not waited for; made durable with the next sync.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn purge(&self, upto: LogId) -> Result<(), Arc<LogError>> {
        todo!()
    }

    /// Stores the group's vote (any bytes, at most 4 KiB) and tells `done` when it is durable.
    ///
    /// # Errors
    /// `TooLarge`, `Poisoned`, `Closed`.
    pub fn save_vote(&self, vote: Bytes, done: Done) -> Result<(), Arc<LogError>> {
        todo!()
    }

    /// The vote saved last.
    pub fn read_vote(&self) -> Option<Bytes> {
        todo!()
    }

    /// Remembers how far the group has committed. Written along with the next batch, at idle, and at close: after a
    /// crash an older value may come back, never a newer one. Costs no I/O by itself.
    pub fn save_committed(&self, committed: Option<LogId>) {
        todo!()
    }

    /// The committed position saved last.
    pub fn read_committed(&self) -> Option<LogId> {
        todo!()
    }

    /// The last entry, or where the log was purged to when there is none.
    pub fn last(&self) -> Option<LogId> {
        todo!()
    }

    /// How far the log was purged.
    pub fn purged(&self) -> Option<LogId> {
        todo!()
    }

    /// The position of the entry at `index`, when it is there and not purged. Reads no disk: use it for Raft's key log ids.
    pub fn log_id(&self, index: u64) -> Option<LogId> {
        todo!()
    }

    /// The entries of `range` that the log holds, in order, as of the call. Stops once `byte_budget` bytes of bodies
    /// are exceeded, yet is never empty while the first one exists. What was purged or is not there is left out at the ends.
    ///
    /// # Errors
    /// `Io`, `Damage`.
    pub fn read(
        &self,
        range: impl RangeBounds<u64>,
        byte_budget: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        todo!()
    }

    /// `len` bytes from `offset` of the body of entry `index`, purged or not. From memory it costs no copy; else the
    /// 16 KiB blocks around it are read and their checksums verified.
    ///
    /// # Errors
    /// `Missing`, `OutOfBody`, `Io`, `Damage`.
    pub fn payload(&self, index: u64, offset: u32, len: u32) -> Result<Bytes, LogError> {
        todo!()
    }

    /// Many payloads, answered in the order asked; neighbours are read from disk together.
    ///
    /// # Errors
    /// As [`GroupLog::payload`], for the first that fails.
    pub fn payloads(&self, ranges: &[PayloadRange]) -> Result<Vec<Bytes>, LogError> {
        todo!()
    }

    /// The last index such that it and all before it are on disk; `None` when nothing is. Apply no entry beyond it.
    pub fn durable_index(&self) -> Option<u64> {
        todo!()
    }

    /// Calls `done` when `durable_index` has reached `index`: at once, on this thread, if it has.
    pub fn when_durable(&self, index: u64, done: Done) {
        todo!()
    }

    /// Blocks until `durable_index` has reached `index`.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn wait_durable(&self, index: u64) -> Result<(), Arc<LogError>> {
        todo!()
    }

    /// Counts the references to payloads that one apply batch makes (+) and drops (−), as (entry index, change) pairs,
    /// `applied` being the last index applied by the batch. Returns the new absolute count of each segment that changed:
    /// write them into this group's tables **in the same batch** as the rows that refer, under the segment's number
    /// (0: delete the row).
    ///
    /// # Errors
    /// `Missing`: the entry's segment is gone. `RefUnderflow`. Both are bugs; nothing was counted.
    pub fn count_refs(
        &self,
        applied: u64,
        changes: &[(u64, i64)],
    ) -> Result<Vec<(SegmentId, u64)>, LogError> {
        todo!()
    }

    /// Replaces every count of this group by those read from its tables, `applied` being the tables' last applied index.
    /// To be called after open before the first apply, and after the tables were replaced by a snapshot.
    ///
    /// # Errors
    /// `Lost`: the tables refer to a segment that is gone.
    pub fn restore_refs(&self, applied: u64, counts: &[(SegmentId, u64)]) -> Result<(), LogError> {
        todo!()
    }

    /// Says that the group's tables are **durable** (synced) with everything up to and including `applied`: read
    /// `applied` from the tables before the sync that made it durable. Segments are reused only on the word of this.
    pub fn set_flushed(&self, applied: u64) {
        todo!()
    }

    /// The segment that holds entry `index`, purged or not; `None` while it is not yet on disk.
    pub fn segment_of(&self, index: u64) -> Option<SegmentId> {
        todo!()
    }
}
