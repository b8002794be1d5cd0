//! Looking at a queue without changing it.

use millrace_model::limit::PAGE_ITEMS_MAX;
use millrace_model::query::{EntryState, Peeked, States};
use millrace_model::queue::QueueCounters;
use millrace_model::{Fault, Tables, Timestamp};

use super::Queue;
use super::entry::Entry;
use super::window::WINDOW_SCAN;
use crate::keys;
use crate::scan::damaged;

/// Fewest rows that one step of a peek reads: some of them may be delayed.
const PEEK_SCAN_MIN: usize = 16;

const _: () = assert!(PEEK_SCAN_MIN <= WINDOW_SCAN);

impl Queue {
    /// The counters, at the time of the last batch.
    pub(crate) fn counters<T: Tables>(
        &self,
        tables: &T,
        at: Timestamp,
    ) -> Result<QueueCounters, Fault> {
        let oldest = self.ready_from(tables, 0, 1)?;
        let age = match oldest.first() {
            Some(sequence) => Some(at.since(self.read(tables, *sequence)?.enqueued_at) / 1_000),
            None => None,
        };
        let coming = self.coming();
        let and = |counted: u64, coming: Option<u64>| counted + coming.unwrap_or(0);
        Ok(QueueCounters {
            ready: and(self.ready() + self.held(), coming.map(|it| it.ready)),
            leased: and(self.leases.len(), coming.map(|it| it.leased)),
            delayed: and(self.delays.len(), coming.map(|it| it.delayed)),
            rewindable: 0,
            oldest_ready_age_seconds: age,
            bytes: and(self.row.bytes, coming.map(|it| it.bytes)),
        })
    }

    /// The first entries in any of `states` behind `after`.
    pub(crate) fn peek<T: Tables>(
        &self,
        tables: &T,
        states: States,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Peeked>, Fault> {
        let limit = limit.min(PAGE_ITEMS_MAX) as usize;
        let from = after.map_or(0, |after| after.saturating_add(1));
        let mut found = Vec::new();
        if states.ready {
            let ready = self.ready_from(tables, from, limit)?;
            found.extend(
                ready
                    .into_iter()
                    .map(|sequence| (sequence, EntryState::Ready)),
            );
        }
        if states.delayed {
            let delayed = self.delays.sequences(from).take(limit);
            found.extend(delayed.map(|sequence| (sequence, EntryState::Delayed)));
        }
        if states.leased {
            let leased = self.leases.sequences(from).take(limit);
            found.extend(leased.map(|sequence| (sequence, EntryState::Leased)));
        }
        found.sort_unstable();
        found.truncate(limit);
        let shown = found.into_iter().map(|(sequence, state)| {
            let entry = self.read(tables, sequence)?;
            Ok(self.shown(sequence, state, entry))
        });
        shown.collect()
    }

    fn shown(&self, sequence: u64, state: EntryState, entry: Entry) -> Peeked {
        let visible_at = match state {
            EntryState::Ready => None,
            EntryState::Delayed => self.delays.get(sequence),
            EntryState::Leased => entry.lease.map(|term| term.visible_at),
        };
        Peeked {
            sequence,
            state,
            enqueued_at: entry.enqueued_at,
            receive_count: entry.receive_count,
            first_received_at: entry.first_received_at,
            visible_at,
            dead_letter_source: entry.source.map(|source| source.name),
            payload: entry.payload,
        }
    }

    /// Sequences of the first `limit` ready entries from `from` on: from memory, then from the rows that
    /// memory does not cover.
    fn ready_from<T: Tables>(
        &self,
        tables: &T,
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Fault> {
        let window = self.window.iter().map(|fresh| fresh.sequence);
        let window = window.filter(|sequence| *sequence >= from).take(limit);
        let returned = self.returned.range(from..).copied().take(limit);
        let mut ready: Vec<_> = window.chain(returned).collect();
        ready.sort_unstable();
        ready.truncate(limit);
        let mut next = from.max(self.window.covered());
        while ready.len() < limit && next < self.row.tail {
            next = self.read_ready(tables, next, limit, &mut ready)?;
        }
        Ok(ready)
    }

    /// One step of reading ready entries; gives where the next one begins.
    fn read_ready<T: Tables>(
        &self,
        tables: &T,
        from: u64,
        limit: usize,
        ready: &mut Vec<u64>,
    ) -> Result<u64, Fault> {
        let from = keys::entry(self.id, self.delays.past(from));
        let until = keys::entry(self.id, self.row.tail);
        let step = limit.clamp(PEEK_SCAN_MIN, WINDOW_SCAN);
        let rows = tables.scan(&from, &until, step)?;
        let mut next = self.row.tail;
        for (key, _) in &rows {
            let sequence = keys::sequence(key).ok_or_else(|| damaged("an entry"))?;
            if ready.len() < limit && self.delays.get(sequence).is_none() {
                ready.push(sequence);
            }
            if rows.len() == step {
                next = sequence + 1;
            }
        }
        Ok(next)
    }
}
