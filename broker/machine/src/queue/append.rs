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
    /// When it was accepted, if that was in another group, and so earlier than now. Delay and retention count from it.
    pub(crate) accepted_at: Option<Timestamp>,
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
        let enqueued_at = arrival.accepted_at.unwrap_or(at);
        assert!(enqueued_at <= at, "nothing is accepted later than now");
        let mut entry = Entry::new(arrival.payload, enqueued_at, arrival.source);
        let due = enqueued_at.plus_ms(delay_ms);
        if due > at {
            self.delay(tables, sequence, &mut entry, due);
        }
        tables.insert(&keys::entry(self.id, sequence), entry.encode());
        // What joins behind a gap is found when that is closed.
        if !self.is_behind(sequence) {
            self.window.appended(sequence, &entry, due <= at);
        }
        if self.row.entries == 0 || enqueued_at < self.row.oldest {
            self.row.oldest = enqueued_at;
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
        self.delayed_behind += u64::from(self.is_behind(sequence));
        tables.insert(&keys::delay(self.id, due, sequence), Vec::new());
    }
}
