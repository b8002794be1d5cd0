//! The delayed entries of a queue, in memory: some 50 bytes each.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::Timestamp;

/// Delayed entries, by sequence and by the end of their delays.
///
/// Invariants: both lists hold the same entries, and so do the rows of delays from the queue's head on.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    entries: BTreeMap<u64, Timestamp>,
    ends: BTreeSet<(Timestamp, u64)>,
}

impl Delays {
    pub(crate) fn insert(&mut self, sequence: u64, due: Timestamp) {
        let before = self.entries.insert(sequence, due);
        assert!(before.is_none(), "an entry is delayed once");
        self.ends.insert((due, sequence));
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Timestamp> {
        let due = self.entries.remove(&sequence)?;
        let listed = self.ends.remove(&(due, sequence));
        assert!(listed, "every delay has its end listed");
        Some(due)
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<Timestamp> {
        self.entries.get(&sequence).copied()
    }

    /// The delay that ends first.
    pub(crate) fn first_end(&self) -> Option<(Timestamp, u64)> {
        self.ends.first().copied()
    }

    pub(crate) fn first_sequence(&self) -> Option<u64> {
        self.entries
            .first_key_value()
            .map(|(sequence, _)| *sequence)
    }

    /// The first sequence from `from` on that is not delayed: what lies between need not be read.
    pub(crate) fn past(&self, from: u64) -> u64 {
        let mut next = from;
        for sequence in self.sequences(from) {
            if sequence != next {
                break;
            }
            next += 1;
        }
        next
    }

    /// Sequences from `from` on.
    pub(crate) fn sequences(&self, from: u64) -> impl Iterator<Item = u64> {
        self.entries.range(from..).map(|(sequence, _)| *sequence)
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn ends(&self) -> &BTreeSet<(Timestamp, u64)> {
        &self.ends
    }

    /// Whether both lists hold the same.
    pub(crate) fn agree(&self) -> bool {
        let listed = |(sequence, due): (&u64, &Timestamp)| self.ends.contains(&(*due, *sequence));
        self.entries.iter().all(listed) && self.ends.len() == self.entries.len()
    }
}
