//! The newest entries of a group in memory: those that wait for the disk, and some behind them.

use std::collections::VecDeque;

use crate::log::LogEntry;

/// What an entry costs beside its body, in bytes; keeps a flood of empty entries within the budget.
const ENTRY_OVERHEAD: usize = 64;

/// The newest entries of a group, consecutive, the last one being the last of the log.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// Each with the number of the operation that appended it.
    entries: VecDeque<(u64, LogEntry)>,
}

impl Cache {
    pub(crate) fn get(&self, index: u64) -> Option<&LogEntry> {
        let (_, front) = self.entries.front()?;
        let at = usize::try_from(index.checked_sub(front.index)?).ok()?;
        self.entries.get(at).map(|(_, entry)| entry)
    }

    /// Adds the entry that follows the last; returns the bytes taken.
    pub(crate) fn push(&mut self, op: u64, entry: LogEntry) -> usize {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|(_, back)| back.index + 1 == entry.index)
        );
        let bytes = cost(&entry);
        self.entries.push_back((op, entry));
        bytes
    }

    /// Forgets what operations up to `op` appended; returns the bytes freed.
    pub(crate) fn evict(&mut self, op: u64) -> usize {
        let mut freed = 0;
        while self
            .entries
            .front()
            .is_some_and(|(number, _)| *number <= op)
        {
            freed += self
                .entries
                .pop_front()
                .map_or(0, |(_, entry)| cost(&entry));
        }
        freed
    }

    /// Forgets every entry after `last`, or all; returns the bytes freed.
    pub(crate) fn truncate_after(&mut self, last: Option<u64>) -> usize {
        let mut freed = 0;
        while self
            .entries
            .back()
            .is_some_and(|(_, entry)| last.is_none_or(|last| entry.index > last))
        {
            freed += self.entries.pop_back().map_or(0, |(_, entry)| cost(&entry));
        }
        freed
    }
}

fn cost(entry: &LogEntry) -> usize {
    entry.body.len() + ENTRY_OVERHEAD
}
