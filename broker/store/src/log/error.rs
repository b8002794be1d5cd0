//! Why the log refused or failed.

use std::sync::Arc;

use millrace_model::GroupId;

use crate::fault::{Damage, IoFault};

/// Why the log refused or failed. Only `Io`, `Damage`, `Newer`, `Lost` and `Poisoned` speak of the disk; the others tell the
/// caller of a mistake of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// What is on disk is not what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A newer broker wrote it; says what to do.
    #[error("{0}")]
    Newer(String),
    /// The log ends before what was once known to be on disk. The node must be re-seeded.
    #[error("the log has lost acknowledged records: {0}")]
    Lost(String),
    /// Another process has the log open.
    #[error("the log in {0} is in use by another process")]
    InUse(String),
    /// An earlier write or sync failed; nothing is written any more. The node must stop.
    #[error("the log has failed before and takes no more writes: {0}")]
    Poisoned(Arc<LogError>),
    /// The writer thread met a bug. The node must stop.
    #[error("the log's writer has panicked")]
    WriterPanicked,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Entries must be appended one after the other.
    #[error("group {group}: entry {got} does not follow {last}")]
    OutOfOrder {
        /// The group written to.
        group: GroupId,
        /// The last index in the log.
        last: u64,
        /// The index that was to be appended.
        got: u64,
    },
    /// An entry, vote or the like is larger than a segment takes.
    #[error("{bytes} bytes do not fit into a record of at most {max}")]
    TooLarge {
        /// Size of what was to be written.
        bytes: usize,
        /// What a record takes.
        max: usize,
    },
    /// No such entry: never written, truncated, or purged and its segment reused.
    #[error("group {group}: no entry {index}")]
    Missing {
        /// The group asked.
        group: GroupId,
        /// The index asked for.
        index: u64,
    },
    /// A payload was asked for beyond the end of its entry.
    #[error("group {group}: entry {index} has {body} bytes, {end} were asked for")]
    OutOfBody {
        /// The group asked.
        group: GroupId,
        /// The index asked for.
        index: u64,
        /// Length of the body.
        body: u32,
        /// End of the slice asked for.
        end: u64,
    },
    /// The options make no sense.
    #[error("log options: {0}")]
    Options(&'static str),
}

impl LogError {
    /// Whether the disk (or a quota) is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(fault) if fault.is_full())
    }
}
