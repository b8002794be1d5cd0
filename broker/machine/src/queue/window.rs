//! The hot window: the next fresh entries of a queue, in memory.

use std::collections::VecDeque;

use millrace_model::{PayloadRef, Timestamp};

use super::entry::{Entry, Source};

/// Most entries of a window: what a busy queue needs between two scans, and small when there are many queues.
pub(crate) const WINDOW_ENTRIES_MAX: usize = 4_096;

/// Entries that one scan brings into the window.
pub(crate) const WINDOW_SCAN: usize = 1_024;

const _: () = assert!(WINDOW_SCAN <= WINDOW_ENTRIES_MAX);

/// An entry that was never received, as the window keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) sequence: u64,
    pub(crate) payload: PayloadRef,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) source: Option<Box<Source>>,
}

/// The next fresh entries.
///
/// Invariants:
/// - Sequences rise and are below `covered`.
/// - Every ready entry below `covered` is either here or among the returned ones; a ready entry from
///   `covered` on is in its row alone.
/// - At most [`WINDOW_ENTRIES_MAX`] entries.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<Fresh>,
    covered: u64,
}

impl Window {
    /// An empty window that covers everything below `covered`.
    pub(crate) fn new(covered: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            covered,
        }
    }

    /// All sequences below are accounted for in memory.
    pub(crate) fn covered(&self) -> u64 {
        self.covered
    }

    /// Sees an entry join the queue's end. It is taken in if the window reaches there and has room.
    pub(crate) fn appended(&mut self, sequence: u64, entry: &Entry, ready: bool) {
        if self.covered != sequence {
            return;
        }
        if !ready {
            self.covered = sequence + 1;
        } else if self.entries.len() < WINDOW_ENTRIES_MAX {
            self.push(sequence, entry);
            self.covered = sequence + 1;
        }
    }

    /// Takes in a ready entry that a scan found.
    pub(crate) fn push(&mut self, sequence: u64, entry: &Entry) {
        assert!(sequence >= self.covered, "the window is filled in order");
        assert_eq!(entry.receive_count, 0, "a fresh entry was never received");
        self.entries.push_back(Fresh {
            sequence,
            payload: entry.payload,
            enqueued_at: entry.enqueued_at,
            source: entry.source.clone(),
        });
    }

    /// All ready entries below `covered` have been taken in.
    pub(crate) fn cover(&mut self, covered: u64) {
        assert!(covered >= self.covered, "the window never shrinks");
        self.covered = covered;
    }

    pub(crate) fn front(&self) -> Option<&Fresh> {
        self.entries.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Fresh> {
        self.entries.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn holds(&self, sequence: u64) -> bool {
        let at = self
            .entries
            .binary_search_by_key(&sequence, |fresh| fresh.sequence);
        at.is_ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fresh> {
        self.entries.iter()
    }
}

impl From<Fresh> for Entry {
    fn from(fresh: Fresh) -> Self {
        Self::new(fresh.payload, fresh.enqueued_at, fresh.source)
    }
}
