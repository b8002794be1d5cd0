//! What time does to a queue: leases and delays end, and what is older than the retention goes.

use millrace_model::{Fault, Tables, Timestamp};

use super::Queue;
use super::entry::Entry;
use super::settle::Dead;
use crate::keys;

impl Queue {
    /// Does what is due at `at`, at most `budget` entries of it. Gives how many that were, and the dead.
    pub(crate) fn expire<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        budget: usize,
    ) -> Result<(usize, Vec<Dead>), Fault> {
        let mut dead = Vec::new();
        let mut work = self.end_leases(tables, at, budget, &mut dead);
        work += self.end_delays(tables, at, budget - work);
        work += self.end_retention(tables, at, budget - work)?;
        assert!(work <= budget, "a tick is bounded");
        Ok((work, dead))
    }

    fn end_leases<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        budget: usize,
        dead: &mut Vec<Dead>,
    ) -> usize {
        let mut work = 0;
        while let Some((end, sequence)) = self.leases.first_end()
            && end <= at
            && work < budget
        {
            dead.extend(self.end_lease(tables, sequence, None));
            work += 1;
        }
        work
    }

    /// The row of an entry whose delay ends stays as it is: the list of delays decides.
    fn end_delays<T: Tables>(&mut self, tables: &mut T, at: Timestamp, budget: usize) -> usize {
        let mut work = 0;
        while let Some((due, sequence)) = self.delays.first_end()
            && due <= at
            && work < budget
        {
            self.end_delay(tables, sequence);
            self.row.delayed_from = due;
            // Past the window's cover it is found when its turn comes.
            if sequence < self.window.covered() {
                self.returned.insert(sequence);
            }
            work += 1;
        }
        work
    }

    fn end_delay<T: Tables>(&mut self, tables: &mut T, sequence: u64) {
        if let Some(due) = self.delays.remove(sequence) {
            self.delayed_behind -= u64::from(self.is_behind(sequence));
            tables.remove(&keys::delay(self.id, due, sequence));
        }
    }

    /// Drops the oldest entries, whatever their state. `oldest` is no later than the oldest entry; when they
    /// differ, this finds out.
    fn end_retention<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        budget: usize,
    ) -> Result<usize, Fault> {
        let Some(retention_ms) = self.rules.retention_ms.filter(|_| self.gap().is_none()) else {
            return Ok(0);
        };
        let mut work = 0;
        while work < budget && self.row.entries > 0 && self.row.oldest.plus_ms(retention_ms) <= at {
            let (sequence, entry) = self.oldest_entry(tables)?;
            self.row.oldest = entry.enqueued_at;
            if entry.enqueued_at.plus_ms(retention_ms) <= at {
                self.drop_oldest(tables, sequence, &entry);
                work += 1;
            }
        }
        Ok(work)
    }

    /// The entry of the smallest sequence, which is the oldest. There must be one.
    fn oldest_entry<T: Tables>(&mut self, tables: &T) -> Result<(u64, Entry), Fault> {
        self.fill(tables)?;
        let fresh = self.window.front();
        let lists = [
            self.leases.first_sequence(),
            self.returned.first().copied(),
            self.delays.first_sequence(),
            fresh.map(|fresh| fresh.sequence),
        ];
        let lowest = lists.into_iter().flatten().min();
        let sequence = lowest.expect("a queue that counts entries lists them");
        match fresh.filter(|fresh| fresh.sequence == sequence) {
            Some(fresh) => Ok((sequence, fresh.clone().into())),
            None => Ok((sequence, self.read(tables, sequence)?)),
        }
    }

    fn drop_oldest<T: Tables>(&mut self, tables: &mut T, sequence: u64, entry: &Entry) {
        if self.leases.remove(sequence).is_none() {
            self.end_delay(tables, sequence);
            self.returned.remove(&sequence);
            if self
                .window
                .front()
                .is_some_and(|fresh| fresh.sequence == sequence)
            {
                self.window.pop();
            }
        }
        // Nothing lives below: the fresh entries begin behind it at the earliest.
        self.row.fresh = self.row.fresh.max(sequence + 1);
        tables.remove(&keys::entry(self.id, sequence));
        tables.release(entry.payload, 1);
        self.discount(entry);
    }
}
