//! What a group's log is made of.

use bytes::Bytes;

/// The position of an entry. Ordered by term, then index, as Raft compares logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The leader's term.
    pub term: u64,
    /// The place in the group's log, counted by Raft.
    pub index: u64,
}

impl LogId {
    /// The entry of `term` at `index`.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }
}

/// One entry of a group. The log never looks into `body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The leader's term.
    pub term: u64,
    /// The place in the group's log.
    pub index: u64,
    /// The writer's own mark of what `body` is (blank, command, membership).
    pub tag: u8,
    /// The bytes, at most [`LogOptions::body_bytes_max`](crate::log::LogOptions::body_bytes_max).
    pub body: Bytes,
}

impl LogEntry {
    /// Where the entry stands.
    pub const fn id(&self) -> LogId {
        LogId::new(self.term, self.index)
    }
}

/// The number of a segment. Numbers rise along the stream and are never given twice, also when files are reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);
