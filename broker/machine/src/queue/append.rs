//! An event becomes an entry.

use millrace_model::{PayloadRef, Tables, Timestamp};

use super::Queue;
use super::entry::{Entry, Source};
use crate::keys;

/// What joins a queue.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The stored event.
    pub(crate) payload: PayloadRef,
    /// Delay asked for, in milliseconds; `None` takes the queue's.
    pub(crate) delay_ms: Option<u64>,
    /// The queue that it is a dead letter of.
    pub(crate) source: Option<Box<Source>>,
}

impl Queue {
    /// Appends an entry and gives its sequence. The reference to the payload is the caller's to count: an
    /// entry that moves brings its own.
    pub(crate) fn append<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        arrival: Arrival,
    ) -> u64 {
        let sequence = self.row.tail;
        let delay_ms = arrival.delay_ms.unwrap_or(self.rules.delay_ms);
        let mut entry = Entry::new(arrival.payload, at, arrival.source);
        if delay_ms > 0 {
            self.delay(tables, sequence, &mut entry, at.plus_ms(delay_ms));
        }
        tables.insert(&keys::entry(self.id, sequence), entry.encode());
        self.window.appended(sequence, &entry, delay_ms == 0);
        if self.row.entries == 0 {
            self.row.oldest = at;
        }
        self.row.tail += 1;
        self.row.entries += 1;
        self.row.bytes += entry.bytes();
        assert!(self.row.oldest <= at, "time does not go back");
        sequence
    }

    /// Lists an entry as delayed. Its row is the caller's to write.
    pub(super) fn delay<T: Tables>(
        &mut self,
        tables: &mut T,
        sequence: u64,
        entry: &mut Entry,
        due: Timestamp,
    ) {
        entry.due = Some(due);
        self.delays.insert(sequence, due);
        tables.insert(&keys::delay(self.id, due, sequence), Vec::new());
    }
}
