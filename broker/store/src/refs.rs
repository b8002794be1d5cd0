//! How tables and log agree on which segments may be reused.
//!
//! **The tables own the counts; the log owns the segments.** Rows refer to payloads by the index of their log entry,
//! the same on every node; which segment holds the entry is the node's own business. So the tables ask
//! [`Segments::segment_of`] once for each entry that a batch touches, count references for each segment, and write the
//! counts as rows beside the rows that refer, in the same atomic unit. The log counts nothing: it is told.
//! Payloads that were moved out of the log, or came with a snapshot, are counted one by one, in the tables too
//! ([`crate::spill`]); from the log's side their references have ended.
//!
//! # The contract
//! Tables call [`Segments::flushed`] when a group is opened or restored, and after every sync. From then on the log may
//! reuse a segment when, for **every** group with entries in it:
//! 1. all its entries are purged, and none lies after the `applied` that the group told last: a restart replays from
//!    there; and
//! 2. the segment is not in the `live` that the group told last. A group that has told nothing yet holds everything.
//!
//! Why that is enough: `live` holds every segment that the synced state refers to, that the present state refers to,
//! and that any state between referred to. A later state can only refer to these, or to entries after `applied`, whose
//! segments stay by the first rule.

use std::collections::BTreeSet;

use millrace_model::GroupId;

use crate::log::SegmentId;

/// The log, as tables see it. Called from the apply thread and from the flusher: must be quick and never call back.
pub trait Segments: Send + Sync {
    /// The segment that holds entry `index` of `group`, purged or not; `None` when no segment does, or the entry is not
    /// yet durable. A reference is only ever made to a durable entry, so `None` says that it counts
    /// outside the log, or nowhere, which is a fault.
    fn segment_of(&self, group: GroupId, index: u64) -> Option<SegmentId>;

    /// The tables of `group` are durable with everything up to and including `applied`, and `live` are the segments
    /// that must stay. Each call replaces what was said before.
    fn flushed(&self, group: GroupId, applied: u64, live: &BTreeSet<SegmentId>);
}
