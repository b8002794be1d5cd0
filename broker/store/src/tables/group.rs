//! The tables of one group.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId, Tables};

use crate::log::SegmentId;
use crate::tables::TableSnapshot;

/// The tables of one group, owned by the thread that applies (`Send`). Dropping them drops what was not yet flushed,
/// as a crash does: the log is replayed from [`GroupTables::applied`] as it is found at the next open.
#[derive(Debug)]
pub struct GroupTables {
    _private: (),
}

impl GroupTables {
    /// Which group this is.
    pub fn id(&self) -> GroupId {
        todo!()
    }

    /// The system row `name`: invisible to `get`, `scan` and so to digests.
    ///
    /// # Errors
    /// A [`Fault`] when the row cannot be read.
    pub fn system(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        todo!()
    }

    /// Writes the system row `name`; part of the next [`GroupTables::commit`].
    pub fn set_system(&mut self, name: &str, value: Vec<u8>) {
        todo!()
    }

    /// Ends one applied log entry: everything written since the last commit becomes one unit together with `index`.
    /// After a crash the tables stand at some commit, never between two. The same index again is fine (system rows).
    ///
    /// Blocks while memory is full and the flusher is behind.
    pub fn commit(&mut self, index: u64) {
        todo!()
    }

    /// The index of the last commit; 0 when there is none. After open: where to replay the log from. If the log was
    /// purged beyond it, these tables have lost something: do not start.
    pub fn applied(&self) -> u64 {
        todo!()
    }

    /// The index up to which everything is in fjall and synced: the log may forget what only later state needs.
    pub fn flushed(&self) -> u64 {
        todo!()
    }

    /// Whether an earlier call or the flusher met a fault. Ask after a batch and before its outcomes are told.
    ///
    /// # Errors
    /// The first fault; from then on every fallible call returns it.
    pub fn health(&self) -> Result<(), Fault> {
        todo!()
    }

    /// Blocks until everything committed is in fjall and synced: for a clean stop.
    ///
    /// # Errors
    /// The disk refused.
    pub fn flush(&mut self) -> Result<(), Fault> {
        todo!()
    }

    /// Asks for a flush and a sync soon (at most every `sync_pause`) and returns at once: the log is short of segments.
    pub fn request_sync(&self) {
        todo!()
    }

    /// Says that `bytes` of log were applied, so that syncs keep up with the log.
    pub fn note_log_bytes(&mut self, bytes: u64) {
        todo!()
    }

    /// Live references of each segment, as of the last commit. After open, before the first apply: if one of these
    /// segments is gone, payloads are lost.
    pub fn references(&self) -> BTreeMap<SegmentId, u64> {
        todo!()
    }

    /// The segments that must stay: see [`crate::refs`]. The same is told to the log after every sync.
    pub fn live_segments_flushed(&self) -> BTreeSet<SegmentId> {
        todo!()
    }

    /// All rows as of the last commit. Flushes to fjall first (no sync), which blocks.
    ///
    /// # Errors
    /// The disk refused.
    pub fn snapshot(&mut self) -> Result<TableSnapshot, Fault> {
        todo!()
    }

    /// Replaces everything by `rows` (in ascending order, as [`TableSnapshot::rows`] gives them) at `applied`, durable
    /// on return. `references` are (entry index, count) pairs that the new rows hold in this node's log. After a crash
    /// in the middle the old rows are there, complete.
    ///
    /// # Errors
    /// The disk refused, a row was an error or out of order: the old tables stay as they were, unless `health` says
    /// otherwise.
    pub fn restore(
        &mut self,
        applied: u64,
        rows: impl IntoIterator<Item = Result<Row, Fault>>,
        references: &[(u64, u32)],
    ) -> Result<(), Fault> {
        todo!()
    }
}

impl Tables for GroupTables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        todo!()
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Fault> {
        todo!()
    }

    fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        todo!()
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        todo!()
    }

    fn remove(&mut self, key: &[u8]) {
        todo!()
    }

    fn retain(&mut self, index: u64, count: u32) {
        todo!()
    }

    fn release(&mut self, index: u64, count: u32) {
        todo!()
    }
}
