//! The node's write-ahead log: one ordered stream for all Raft groups of the node, one fdatasync for many batches.
//!
//! # What it keeps
//! Entries, votes, truncations, purges and committed positions are records of one stream of fixed-size segments.
//! A payload is stored once, here; tables refer to it by (index, offset, length) and keep its segment by saying so
//! ([`crate::refs`]).
//!
//! # Invariants
//! 1. A callback with `Ok` means: this operation and every earlier one of the node are on disk.
//! 2. An entry is readable by everybody from the return of [`GroupLog::append`], before it is durable.
//! 3. The entries of a group are consecutive in `(purged, last]`. A gap found at open is damage.
//! 4. A segment is reused only when a synced checkpoint no longer lists it; it is dropped from the list only when, for
//!    every group, its entries are durably purged, applied in the synced tables, and not referred to by them
//!    ([`GroupLog::flushed`]).
//! 5. Bytes of a segment's earlier life never look valid: a record's checksum is salted with the segment's own random
//!    nonce and the record's offset.
//! 6. After a failed write or sync nothing is written any more. A full disk is no such failure: see [`Log::space`].
//! 7. Opening cuts a torn tail (never acknowledged) of the last segment; anything else unreadable refuses to open. A
//!    log shorter than the watermark file says refuses to open: it never starts empty when it was not.

mod cache;
mod checkpoint;
mod entry;
mod error;
mod format;
mod group;
mod group_state;
mod index;
mod metrics;
mod node;
mod op;
mod options;
mod payload;
mod pin;
mod pins;
mod read;
mod record;
mod recovery;
mod replay;
mod scan;
mod segment;
mod shared;
#[cfg_attr(simulation, allow(dead_code, reason = "its thread does not run"))]
mod spares;
mod state;
mod tail;
#[cfg_attr(simulation, path = "threads_simulated.rs")]
mod threads;
mod watermark;
mod writer;

pub use entry::{LogEntry, LogId, SegmentId};
pub use error::LogError;
pub use group::{Done, GroupLog};
pub use metrics::{LogMetrics, Reading};
pub use millrace_model::PayloadRef as PayloadRange;
pub use node::{Log, SegmentUse, Space};
pub use options::{LogOptions, SyncObserver};
pub use pin::LogPin;
pub(crate) use segment::random;
