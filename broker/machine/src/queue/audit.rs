//! What does not hold of a queue.

use std::collections::BTreeSet;
use std::ops::Range;

use millrace_model::{Fault, Tables, Timestamp, row as form};

use super::Queue;
use super::entry::Entry;
use super::row::QueueRow;
use crate::keys;
use crate::scan::{damaged, each_row};

/// What a walk over all rows of a queue found.
#[derive(Default)]
struct Found {
    is_ordered: bool,
    entries: u64,
    bytes: u64,
    leased: u64,
    oldest: Option<Timestamp>,
    latest: Timestamp,
    violations: Vec<String>,
}

impl Queue {
    /// Compares memory with rows. `dead` are sequences that wait to be swept; `is_ordered` says that nothing came from
    /// other groups, so that times never fall.
    pub(crate) fn audit<T: Tables>(
        &self,
        tables: &T,
        dead: Option<&Range<u64>>,
        is_ordered: bool,
    ) -> Result<Vec<String>, Fault> {
        let mut found = Found {
            is_ordered,
            ..Found::default()
        };
        self.audit_row(tables, &mut found)?;
        self.audit_delays(tables, &mut found)?;
        let (from, until) = (keys::entry(self.id, 0), keys::entry(self.id, u64::MAX));
        each_row(tables, &from, &until, |key, value| {
            let sequence = keys::sequence(key).ok_or_else(|| damaged("an entry"))?;
            if sequence >= self.row.head {
                self.audit_entry(sequence, &Entry::decode(value)?, &mut found);
            } else if !dead.is_some_and(|dead| dead.contains(&sequence)) {
                found
                    .violations
                    .push(format!("entry {sequence} is below the head"));
            }
            Ok(())
        })?;
        self.audit_counts(&mut found);
        let name = &self.rules.name;
        let named = found.violations.into_iter();
        Ok(named.map(|text| format!("queue {name}: {text}")).collect())
    }

    fn audit_row<T: Tables>(&self, tables: &T, found: &mut Found) -> Result<(), Fault> {
        let value = tables.get(&keys::numbered(keys::QUEUE, self.id.0))?;
        let row: QueueRow = form::decode("a queue", &value.ok_or_else(|| damaged("a queue"))?)?;
        let lowest = self.lowest_received();
        let checks = [
            (row == self.row, "the row is not as memory is"),
            (row.head <= row.fresh, "the head is past the fresh entries"),
            (
                row.fresh <= row.tail,
                "the fresh entries begin past the tail",
            ),
            (row.head == lowest, "the head is not at the lowest entry"),
            (
                self.window.covered() <= row.tail,
                "the window covers more than there is",
            ),
            (
                self.window.covered() >= row.fresh,
                "the window covers less than was received",
            ),
            (self.leases.agree(), "the lists of leases differ"),
            (self.delays.agree(), "the lists of delays differ"),
            (!self.touched, "it is touched between two batches"),
            (
                self.gap().is_none() || self.window.covered() <= self.reach().max(row.fresh),
                "the window covers what has not come",
            ),
            (
                self.coming().is_none_or(|coming| coming.agrees(row.tail)),
                "what is to come does not agree",
            ),
        ];
        let wrong = checks.iter().filter(|(holds, _)| !holds);
        found
            .violations
            .extend(wrong.map(|(_, text)| (*text).to_owned()));
        Ok(())
    }

    fn audit_delays<T: Tables>(&self, tables: &T, found: &mut Found) -> Result<(), Fault> {
        let mut rows = BTreeSet::new();
        let from = keys::delay(self.id, Timestamp(0), 0);
        let until = keys::delay(self.id, Timestamp::MAX, u64::MAX);
        each_row(tables, &from, &until, |key, _| {
            let row = keys::delay_due(key).zip(keys::sequence(key));
            let (due, sequence) = row.ok_or_else(|| damaged("a delay"))?;
            if sequence >= self.row.head {
                rows.insert((due, sequence));
                if due < self.row.delayed_from {
                    found
                        .violations
                        .push(format!("delay {due} is before its cursor"));
                }
            }
            Ok(())
        })?;
        if rows != *self.delays.ends() {
            found
                .violations
                .push("the rows of delays are not as memory is".to_owned());
        }
        Ok(())
    }

    fn audit_entry(&self, sequence: u64, entry: &Entry, found: &mut Found) {
        let leased = self.leases.get(sequence);
        let delayed = self.delays.get(sequence);
        let returned = self.returned.contains(&sequence);
        let hot = self.window.holds(sequence);
        let lists = [leased.is_some(), delayed.is_some(), returned, hot];
        let held = lists.iter().filter(|held| **held).count();
        let covered = sequence < self.window.covered();
        let checks = [
            (held <= 1, "is in two states"),
            (held == 1 || !covered, "is in no state"),
            (
                covered || (!returned && !hot),
                "is ready in memory past the window",
            ),
            (sequence < self.row.tail, "is past the tail"),
            (!self.is_missing(sequence), "has come before its turn"),
            (
                leased.is_none_or(|leased| leased == entry),
                "is leased in another way",
            ),
            (
                leased.is_some() == entry.lease.is_some(),
                "has a lease that is not listed",
            ),
            (
                delayed.is_none() || delayed == entry.due,
                "is delayed in another way",
            ),
            (
                !found.is_ordered || entry.enqueued_at >= found.latest,
                "is older than the one before",
            ),
            (
                (entry.receive_count == 0) == entry.first_received_at.is_none(),
                "was received at no time",
            ),
            (
                sequence < self.row.fresh || entry.receive_count == 0,
                "was received but is among the fresh",
            ),
        ];
        let wrong = checks.iter().filter(|(holds, _)| !holds);
        let wrong = wrong.map(|(_, text)| format!("entry {sequence} {text}"));
        found.violations.extend(wrong);
        found.entries += 1;
        found.bytes += entry.bytes();
        found.leased += u64::from(leased.is_some());
        found.oldest.get_or_insert(entry.enqueued_at);
        found.latest = entry.enqueued_at;
    }

    fn audit_counts(&self, found: &mut Found) {
        let held = found.leased + self.delays.len() + self.held();
        let ready = found.entries.saturating_sub(held);
        let checks = [
            (
                found.entries == self.row.entries,
                "the count of entries is wrong",
            ),
            (found.bytes == self.row.bytes, "the sum of bytes is wrong"),
            (found.leased == self.leases.len(), "a lease has no entry"),
            (ready == self.ready(), "the count of ready entries is wrong"),
            (
                !found.is_ordered || found.oldest.is_none_or(|oldest| self.row.oldest <= oldest),
                "an entry is older than the oldest",
            ),
        ];
        let wrong = checks.iter().filter(|(holds, _)| !holds);
        found
            .violations
            .extend(wrong.map(|(_, text)| (*text).to_owned()));
    }
}
