//! The node's write-ahead log: one ordered stream for all Raft groups of the node, one fdatasync for many batches.
//!
//! # What it keeps
//! Entries, votes, truncations, purges and committed positions are records of one stream of fixed-size segments.
//! A payload is stored once, here; tables refer to it by (group, index, offset) and pin its segment by counting
//! references ([`GroupLog::count_refs`]).
//!
//! # Invariants
//! 1. A callback with `Ok` means: this operation and every earlier one of the node are on disk.
//! 2. An entry is readable by everybody from the return of [`GroupLog::append`], before it is durable.
//! 3. The entries of a group are consecutive in `(purged, last]`. A gap found at open is damage.
//! 4. A segment is reused only when a synced checkpoint no longer lists it; it is dropped from the list only when, for
//!    every group, its entries are purged, it has no references, and tables that know both facts are durable
//!    ([`GroupLog::set_flushed`]).
//! 5. Bytes of a segment's earlier life never look valid: a record's checksum is salted with the segment's own random
//!    nonce and the record's offset.
//! 6. After a failed write or sync nothing is written any more. A full disk is no such failure: see [`Log::space`].
//! 7. Opening cuts a torn tail (never acknowledged) of the last segment; anything else unreadable refuses to open. A
//!    log shorter than the watermark file says refuses to open: it never starts empty when it was not.

mod entry;
mod error;
mod group;
mod metrics;
mod node;
mod options;

pub use entry::{LogEntry, LogId, PayloadRange, SegmentId};
pub use error::LogError;
pub use group::{Done, GroupLog};
pub use metrics::{LogMetrics, Reading};
pub use node::{Log, SegmentUse, Space};
pub use options::LogOptions;

/// Which Raft group a record belongs to.
pub type GroupId = u32;
