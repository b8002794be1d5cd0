//! Left-overs: rows of purged queues, deleted queues and deleted subscriptions, removed by ticks in steps.

use std::collections::BTreeMap;
use std::ops::Range;

use millrace_model::{Fault, QueueId, SubscriptionId, Tables, row};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::parked::Parked;
use crate::queue::Entry;
use crate::scan::{damaged, each_row};

/// Rows of one queue or parked list that are dead: none of them is ever shown again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sweep {
    /// The first sequence that is left.
    next: u64,
    /// Where the dead rows end.
    until: u64,
}

/// What is to be swept, by kind of row and by queue or subscription.
///
/// Invariants:
/// - Between two batches the rows of sweeps are as this list is.
/// - The dead rows of one queue or list are below its head, so that sweeps of the same one join.
/// - A dead row holds its reference until it is removed.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    sweeps: BTreeMap<(u8, u32), Sweep>,
}

impl Sweeps {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        let mut sweeps = BTreeMap::new();
        let (from, until) = keys::all(keys::SWEEP);
        each_row(tables, &from, &until, |key, value| {
            let kind = key.get(1).copied();
            let id = key.get(1..).and_then(keys::number);
            let id = kind.zip(id).ok_or_else(|| damaged("a sweep"))?;
            sweeps.insert(id, row::decode("a sweep", value)?);
            Ok(())
        })?;
        Ok(Self { sweeps })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sweeps.is_empty()
    }

    /// The entries of these sequences are dead.
    pub(crate) fn entries<T: Tables>(&mut self, tables: &mut T, queue: QueueId, dead: Range<u64>) {
        self.add(tables, (keys::ENTRY, queue.0), dead);
    }

    /// The parked events of these sequences are dead.
    pub(crate) fn parked<T: Tables>(
        &mut self,
        tables: &mut T,
        subscription: SubscriptionId,
        dead: Range<u64>,
    ) {
        self.add(tables, (keys::PARKED, subscription.0), dead);
    }

    fn add<T: Tables>(&mut self, tables: &mut T, id: (u8, u32), dead: Range<u64>) {
        if dead.is_empty() {
            return;
        }
        let sweep = self.sweeps.entry(id).or_insert(Sweep {
            next: dead.start,
            until: dead.start,
        });
        assert!(sweep.until <= dead.start, "rows die in order");
        sweep.until = dead.end;
        tables.put(&keys::sweep(id.0, id.1), row::encode(sweep));
    }

    /// Removes dead rows, at most `budget` of them.
    pub(crate) fn run<T: Tables>(&mut self, tables: &mut T, budget: usize) -> Result<usize, Fault> {
        let mut work = 0;
        while work < budget
            && let Some((&id, sweep)) = self.sweeps.iter_mut().next()
        {
            let removed = sweep.step(tables, id, budget - work)?;
            if sweep.next == sweep.until {
                self.sweeps.remove(&id);
                tables.remove(&keys::sweep(id.0, id.1));
            } else {
                tables.put(&keys::sweep(id.0, id.1), row::encode(sweep));
            }
            work += removed;
        }
        assert!(work <= budget, "a sweep is bounded");
        Ok(work)
    }

    /// The dead rows of a queue or list: those to be found below its head.
    pub(crate) fn dead(&self, kind: u8, id: u32) -> Option<Range<u64>> {
        self.sweeps
            .get(&(kind, id))
            .map(|sweep| sweep.next..sweep.until)
    }

    /// What does not hold of the rows.
    pub(crate) fn audit<T: Tables>(
        &self,
        tables: &T,
        violations: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let rows = Self::open(tables)?;
        if rows.sweeps != self.sweeps {
            violations.push(format!("sweeps are {self:?}, their rows {rows:?}"));
        }
        if self.sweeps.values().any(|sweep| sweep.next >= sweep.until) {
            violations.push(format!("a sweep is at its end: {self:?}"));
        }
        Ok(())
    }
}

impl Sweep {
    /// Removes up to `budget` rows; moves `next` behind them, to the end when none is left.
    fn step<T: Tables>(
        &mut self,
        tables: &mut T,
        (kind, id): (u8, u32),
        budget: usize,
    ) -> Result<usize, Fault> {
        let from = keys::sequenced(kind, id, self.next);
        let until = keys::sequenced(kind, id, self.until);
        let rows = tables.scan(&from, &until, budget)?;
        for (key, value) in &rows {
            let sequence = keys::sequence(key).ok_or_else(|| damaged("a sweep"))?;
            remove(tables, (kind, id), sequence, value)?;
            tables.remove(key);
            self.next = sequence + 1;
        }
        if rows.len() < budget {
            self.next = self.until;
        }
        Ok(rows.len())
    }
}

/// Removes what belongs to a dead row.
fn remove<T: Tables>(
    tables: &mut T,
    (kind, id): (u8, u32),
    sequence: u64,
    value: &[u8],
) -> Result<(), Fault> {
    if kind == keys::PARKED {
        tables.release(Parked::decode(value)?.payload, 1);
        return Ok(());
    }
    let entry = Entry::decode(value)?;
    tables.release(entry.payload, 1);
    if let Some(due) = entry.due {
        tables.remove(&keys::delay(QueueId(id), due, sequence));
    }
    Ok(())
}
