//! The leased entries of a queue, in memory: at most [`millrace_model::limit::QUEUE_LEASED_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::Timestamp;

use super::entry::Entry;

/// Leased entries, by sequence and by the end of their leases.
///
/// Invariants: both lists hold the same entries; each entry has a lease; no two have the same sequence.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    entries: BTreeMap<u64, Entry>,
    ends: BTreeSet<(Timestamp, u64)>,
}

impl Leases {
    pub(crate) fn insert(&mut self, sequence: u64, entry: Entry) {
        let term = entry.lease.expect("only leased entries are put here");
        let before = self.entries.insert(sequence, entry);
        assert!(before.is_none(), "an entry is leased once");
        self.ends.insert((term.visible_at, sequence));
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        let term = entry.lease.expect("only leased entries are put here");
        let listed = self.ends.remove(&(term.visible_at, sequence));
        assert!(listed, "every lease has its end listed");
        Some(entry)
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    /// Sets the end of a lease anew and gives the entry as it is then.
    pub(crate) fn extend(&mut self, sequence: u64, visible_at: Timestamp) -> Option<&Entry> {
        let entry = self.entries.get_mut(&sequence)?;
        let term = entry
            .lease
            .as_mut()
            .expect("only leased entries are put here");
        self.ends.remove(&(term.visible_at, sequence));
        term.visible_at = visible_at;
        self.ends.insert((visible_at, sequence));
        Some(entry)
    }

    /// The lease that ends first.
    pub(crate) fn first_end(&self) -> Option<(Timestamp, u64)> {
        self.ends.first().copied()
    }

    pub(crate) fn first_sequence(&self) -> Option<u64> {
        self.entries
            .first_key_value()
            .map(|(sequence, _)| *sequence)
    }

    /// Sequences from `from` on.
    pub(crate) fn sequences(&self, from: u64) -> impl Iterator<Item = u64> {
        self.entries.range(from..).map(|(sequence, _)| *sequence)
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether both lists hold the same.
    pub(crate) fn agree(&self) -> bool {
        let listed = self.entries.iter().all(|(sequence, entry)| {
            entry
                .lease
                .is_some_and(|term| self.ends.contains(&(term.visible_at, *sequence)))
        });
        listed && self.ends.len() == self.entries.len()
    }
}
