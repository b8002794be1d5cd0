//! A receive: ready entries are leased, those of the smallest sequence first.

use millrace_model::command::Receive;
use millrace_model::outcome::Lease;
use millrace_model::{Fault, PayloadRef, Receipt, Tables, Timestamp, limit};

use super::Queue;
use super::entry::{Entry, Term};
use super::window::WINDOW_SCAN;
use crate::keys;
use crate::scan::damaged;

impl Queue {
    /// Leases ready entries: at most what was asked for, what one answer may hold, and what one queue may
    /// have leased.
    pub(crate) fn receive<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        receive: &Receive,
    ) -> Result<Vec<Lease>, Fault> {
        let most = u64::from(receive.max.min(limit::RECEIVE_MESSAGES_MAX));
        let room = limit::QUEUE_LEASED_MAX - self.leases.len();
        let visibility_ms = receive.visibility_ms.unwrap_or(self.rules.visibility_ms);
        let term = Term {
            nonce: receive.nonce,
            visible_at: at.plus_ms(visibility_ms),
        };
        let mut bytes = 0;
        let mut leases = Vec::new();
        while (leases.len() as u64) < most.min(room) {
            let Some((sequence, entry)) = self.next_ready(tables)? else {
                break;
            };
            bytes += entry.bytes();
            if bytes > limit::RECEIVE_BYTES_MAX && !leases.is_empty() {
                break;
            }
            self.take(sequence);
            leases.push(self.lease(tables, at, sequence, entry, term));
        }
        Ok(leases)
    }

    fn lease<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        sequence: u64,
        mut entry: Entry,
        term: Term,
    ) -> Lease {
        entry.receive_count = entry.receive_count.saturating_add(1);
        let first_received_at = *entry.first_received_at.get_or_insert(at);
        entry.due = None;
        entry.lease = Some(term);
        tables.put(&keys::entry(self.id, sequence), entry.encode());
        let lease = Lease {
            receipt: Receipt {
                queue: self.id,
                sequence,
                receive_count: entry.receive_count,
                nonce: term.nonce,
            },
            enqueued_at: entry.enqueued_at,
            first_received_at,
            visible_at: term.visible_at,
            dead_letter_source: entry.source.as_ref().map(|source| source.name.clone()),
            payload: entry.payload,
        };
        self.leases.insert(sequence, entry);
        lease
    }

    /// The ready entry of the smallest sequence.
    pub(super) fn next_ready<T: Tables>(
        &mut self,
        tables: &T,
    ) -> Result<Option<(u64, Entry)>, Fault> {
        if self.returned.is_empty() {
            self.fill(tables)?;
        }
        let fresh = self.window.front();
        let returned = self.returned.first().copied();
        match (returned, fresh) {
            (Some(sequence), Some(fresh)) if fresh.sequence < sequence => {
                Ok(Some((fresh.sequence, fresh.clone().into())))
            }
            (Some(sequence), _) => Ok(Some((sequence, self.read(tables, sequence)?))),
            (None, Some(fresh)) => Ok(Some((fresh.sequence, fresh.clone().into()))),
            (None, None) => Ok(None),
        }
    }

    /// Takes the ready entry of the smallest sequence out of the lists of the ready ones.
    pub(super) fn take(&mut self, sequence: u64) {
        if self
            .window
            .front()
            .is_some_and(|fresh| fresh.sequence == sequence)
        {
            self.window.pop();
        } else {
            let returned = self.returned.remove(&sequence);
            assert!(returned, "a ready entry is in the window or returned");
        }
        self.row.fresh = self.row.fresh.max(sequence + 1);
    }

    /// Takes out the ready entry of the smallest sequence, for a move; [`Queue::remove_taken`] or
    /// [`Queue::give_back`] must follow.
    pub(crate) fn take_ready<T: Tables>(
        &mut self,
        tables: &T,
    ) -> Result<Option<(u64, Entry)>, Fault> {
        let next = self.next_ready(tables)?;
        if let Some((sequence, _)) = &next {
            self.take(*sequence);
        }
        Ok(next)
    }

    /// Removes an entry that was taken out; its reference is the caller's then.
    pub(crate) fn remove_taken<T: Tables>(
        &mut self,
        tables: &mut T,
        sequence: u64,
        entry: &Entry,
    ) -> PayloadRef {
        tables.remove(&keys::entry(self.id, sequence));
        self.discount(entry);
        entry.payload
    }

    /// Puts entries back that were taken out. Their rows stand as they were.
    pub(crate) fn give_back(&mut self, sequences: Vec<u64>) {
        self.returned.extend(sequences);
    }

    /// Reads ahead when the window is empty, so that it holds an entry unless none is left to read.
    pub(super) fn fill<T: Tables>(&mut self, tables: &T) -> Result<(), Fault> {
        let reach = self.reach();
        while self.window.is_empty() && self.window.covered() < reach {
            let from = self.delays.past(self.window.covered()).min(reach);
            let from = keys::entry(self.id, from);
            let until = keys::entry(self.id, reach);
            let rows = tables.scan(&from, &until, WINDOW_SCAN)?;
            let mut covered = reach;
            for (key, value) in &rows {
                let sequence = keys::sequence(key).ok_or_else(|| damaged("an entry"))?;
                if self.delays.get(sequence).is_none() {
                    self.window.push(sequence, &Entry::decode(value)?);
                }
                if rows.len() == WINDOW_SCAN {
                    covered = sequence + 1;
                }
            }
            self.window.cover(covered);
        }
        Ok(())
    }

    /// Reads an entry that must be there.
    pub(super) fn read<T: Tables>(&self, tables: &T, sequence: u64) -> Result<Entry, Fault> {
        let value = tables.get(&keys::entry(self.id, sequence))?;
        Entry::decode(&value.ok_or_else(|| damaged("an entry"))?)
    }
}
