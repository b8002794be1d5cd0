//! The rows of a node: one fjall database, two keyspaces for each Raft group (rows, and payloads that
//! lie outside the log), and memory in front of them.
//!
//! # Why memory in front
//! A row costs fjall about a microsecond and most rows of a queue live for milliseconds. So a batch writes to an ordered
//! map in memory (the *overlay*); once it is large or a second old it is frozen, between two commits, and a background
//! thread writes it to fjall as one batch, with the index of the last applied log entry in it. A row that was inserted
//! and removed meanwhile is never written. After a crash the tables stand at the last overlay that was written, and the
//! log is replayed from there.
//!
//! # Pages
//! Neighbours of a sequence are one row of fjall (`page`). Rows below are those that stand alone and those of pages, as
//! one: only the flusher knows (`write`), and whoever reads fjall (`home`).
//!
//! # Invariants
//! 1. fjall holds the state of exactly one commit of each group: rows, reference counts and index change in one batch.
//! 2. A read sees every earlier write of its owner: overlay first, then the one in flight, then fjall.
//! 3. `flushed` moves only after a sync of everything up to it. The log keeps what a replay from there needs
//!    ([`crate::refs`]).
//! 4. The thread that applies never writes to fjall: fjall makes writers sleep. It waits for the flusher only when
//!    memory is full, which bounds memory.
//! 5. Nothing runs while nothing is dirty.
//! 6. Nothing is handed to fjall without room for it on the disk: it does not recover from a full one. Until there is
//!    room, rows stay in memory, and when that is full, owners wait.
//! 7. A reference counts in one place: for a segment of the log, or for a payload outside of it ([`crate::spill`]). The
//!    bytes of a payload outside are there while its count is, and go in the same batch.
//! 8. After a fault every fallible call returns it, and nothing is written any more.

pub(crate) mod cell;
pub(crate) mod counts;
pub(crate) mod fjall_fault;
mod flusher;
mod group;
mod handle;
pub(crate) mod home;
mod journal;
pub(crate) mod key;
mod merge;
mod metrics;
mod options;
pub(crate) mod orphans;
mod overlay;
mod page;
pub(crate) mod payload;
mod references;
pub(crate) mod room;
pub(crate) mod rows;
mod snapshot;
pub(crate) mod spilled;
pub(crate) mod staging;
pub(crate) mod state;
pub(crate) mod store;
#[cfg(test)]
mod tests;
#[cfg_attr(simulation, path = "threads_simulated.rs")]
mod threads;
mod write;

pub use group::GroupTables;
pub use handle::{Outside, TableHandle};
pub use home::Pages;
pub use metrics::{Reading, TableMetrics};
pub use options::TableOptions;
pub use snapshot::TableSnapshot;
pub use staging::Staging;
pub use store::TableStore;
