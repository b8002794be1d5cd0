//! What is on its way to the disk.

use millrace_model::GroupId;

use crate::log::record::Body;
use crate::log::{Done, LogId};

/// One operation in the queue of the writer.
pub(crate) struct Op {
    /// Counts all operations of the node; the order of the stream.
    pub(crate) number: u64,
    pub(crate) group: GroupId,
    pub(crate) action: Action,
    /// Bytes of bodies that it holds in the queue.
    pub(crate) bytes: usize,
    pub(crate) done: Option<Done>,
}

/// What an operation does.
pub(crate) enum Action {
    /// Entries with the caller's tag.
    Append(Vec<(LogId, u8, Body)>),
    Vote(Body),
    /// What is the last entry afterwards.
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// What a record that was written changes in memory once it is synced. In the order of the stream.
pub(crate) enum Effect {
    Entry(GroupId, super::index::Place),
    Truncate(GroupId, Option<LogId>),
    Purge(GroupId, LogId),
    /// The operation is complete.
    Finish {
        number: u64,
        group: GroupId,
        bytes: usize,
        done: Option<Done>,
    },
}
