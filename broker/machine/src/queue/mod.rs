//! One queue: its entries, and what is kept of them in memory.

mod append;
mod audit;
mod coming;
mod delays;
mod entry;
mod expire;
mod leases;
mod peek;
mod receive;
mod row;
mod rules;
mod settle;
mod window;

use std::collections::BTreeSet;
use std::ops::Range;

use millrace_model::{Fault, QueueId, Refusal, Tables, Timestamp, row as form};

pub(crate) use append::Arrival;
pub(crate) use coming::{Chunk, Coming};
pub(crate) use entry::Entry;
pub(crate) use rules::{Rules, Settings};
pub(crate) use settle::Dead;

use crate::keys;
use crate::scan::{damaged, each_row};
use delays::Delays;
use leases::Leases;
use row::QueueRow;
use window::Window;

/// A queue of a data group.
///
/// A backlog costs rows, not memory: of the entries that were never received only the next few are held here
/// (the window). Whether a delay or a lease has ended is decided by ticks alone, so that the state of an entry
/// follows from the batches and not from who looks when.
///
/// Invariants:
/// - Every entry is in exactly one state: leased (in `leases`), delayed (in `delays`) or ready (all others).
/// - A ready entry below the window's cover is in the window or in `returned`, and in one of them only.
/// - Receives take the ready entry of the smallest sequence, whichever list holds it: what is in memory
///   never decides what is taken.
/// - Entries are in the order in which they came. One that was carried here from another group was accepted earlier than
///   it came, so `enqueued_at` may fall from one sequence to the next by that time.
/// - `row.entries` counts all entries, `row.bytes` sums their sizes.
#[derive(Debug)]
pub(crate) struct Queue {
    id: QueueId,
    rules: Rules,
    row: QueueRow,
    window: Window,
    returned: BTreeSet<u64>,
    leases: Leases,
    delays: Delays,
    /// What is still to come, of a queue that moves here.
    coming: Option<Coming>,
    /// Delayed entries that joined behind those that are to come.
    delayed_behind: u64,
    /// Whether a command of this batch may have changed the queue.
    pub(crate) touched: bool,
    /// When the index of what is due has it.
    pub(crate) listed: Option<Timestamp>,
}

impl Queue {
    /// A new queue.
    pub(crate) fn new(id: QueueId, rules: Rules) -> Self {
        Self::with_row(id, rules, QueueRow::default())
    }

    fn with_row(id: QueueId, rules: Rules, row: QueueRow) -> Self {
        Self {
            id,
            rules,
            window: Window::new(row.fresh),
            row,
            returned: BTreeSet::new(),
            leases: Leases::default(),
            delays: Delays::default(),
            coming: None,
            delayed_behind: 0,
            touched: false,
            listed: None,
        }
    }

    /// Reads a queue from its rows: the cursors, the delays, and of the entries only those that were received.
    pub(crate) fn open<T: Tables>(tables: &T, id: QueueId, rules: Rules) -> Result<Self, Fault> {
        let value = tables.get(&keys::numbered(keys::QUEUE, id.0))?;
        let value = value.ok_or_else(|| damaged("a queue"))?;
        let mut queue = Self::with_row(id, rules, form::decode("a queue", &value)?);
        queue.open_delays(tables)?;
        queue.open_coming(tables)?;
        queue.open_received(tables)?;
        Ok(queue)
    }

    fn open_delays<T: Tables>(&mut self, tables: &T) -> Result<(), Fault> {
        let from = keys::delay(self.id, self.row.delayed_from, 0);
        let until = keys::delay(self.id, Timestamp::MAX, u64::MAX);
        each_row(tables, &from, &until, |key, _| {
            let row = keys::sequence(key).zip(keys::delay_due(key));
            let (sequence, due) = row.ok_or_else(|| damaged("a delay"))?;
            // Those before the head were purged and wait to be swept.
            if sequence >= self.row.head {
                self.delays.insert(sequence, due);
            }
            Ok(())
        })
    }

    fn open_received<T: Tables>(&mut self, tables: &T) -> Result<(), Fault> {
        let from = keys::entry(self.id, self.row.head);
        let until = keys::entry(self.id, self.row.fresh);
        each_row(tables, &from, &until, |key, value| {
            let sequence = keys::sequence(key).ok_or_else(|| damaged("an entry"))?;
            let entry = Entry::decode(value)?;
            if entry.lease.is_some() {
                self.leases.insert(sequence, entry);
            } else if self.delays.get(sequence).is_none() {
                self.returned.insert(sequence);
            }
            Ok(())
        })
    }

    /// Writes the cursors: once a batch.
    pub(crate) fn write<T: Tables>(&mut self, tables: &mut T) {
        let head = self.lowest_received();
        assert!(
            head >= self.row.head,
            "the head of queue {} went back",
            self.id
        );
        self.row.head = head;
        assert!(
            self.row.head <= self.row.fresh && self.row.fresh <= self.row.tail,
            "the cursors of queue {} crossed",
            self.id
        );
        let key = keys::numbered(keys::QUEUE, self.id.0);
        tables.put(&key, form::encode(&self.row));
        self.write_coming(tables);
    }

    /// The smallest sequence that an entry can have: the lowest of those received or delayed, or where the
    /// fresh ones begin, or those that are to come.
    fn lowest_received(&self) -> u64 {
        let lists = [
            self.leases.first_sequence(),
            self.returned.first().copied(),
            self.delays.first_sequence(),
            self.gap().map(|coming| coming.next),
        ];
        let lowest = lists.into_iter().flatten().min();
        lowest.map_or(self.row.fresh, |lowest| lowest.min(self.row.fresh))
    }

    /// Takes on another configuration.
    pub(crate) fn configure(&mut self, rules: Rules) {
        self.rules = rules;
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many entries a receive could take, were there no limit.
    pub(crate) fn ready(&self) -> u64 {
        let held = self.leases.len() + self.delays.len();
        assert!(
            held <= self.row.entries,
            "queue {} holds more than it counts",
            self.id
        );
        self.row.entries - held - self.held()
    }

    /// How many entries it may take in yet.
    pub(crate) fn room(&self) -> u64 {
        let most = self.rules.entries_max.unwrap_or(u64::MAX);
        most.saturating_sub(self.row.entries + self.missing())
    }

    /// The refusal of what does not fit.
    pub(crate) fn full(&self) -> Refusal {
        Refusal::QueueFull(self.rules.name.to_string())
    }

    /// When a tick has work here: a lease or delay ends, or retention may.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        // The oldest may be among those that are to come: it is looked for when they have.
        let has_oldest = self.row.entries > 0 && self.gap().is_none();
        let retention = self.rules.retention_ms.filter(|_| has_oldest);
        let lists = [
            self.leases.first_end().map(|(at, _)| at),
            self.delays.first_end().map(|(at, _)| at),
            retention.map(|ms| self.row.oldest.plus_ms(ms)),
        ];
        lists.into_iter().flatten().min()
    }

    /// Drops everything at once: how many entries that were, and where their rows are to be swept.
    pub(crate) fn purge(&mut self) -> (u64, Range<u64>) {
        let entries = self.row.entries + self.purge_coming();
        let rows = self.row.head..self.row.tail;
        self.row = QueueRow {
            head: self.row.tail,
            fresh: self.row.tail,
            tail: self.row.tail,
            entries: 0,
            bytes: 0,
            ..self.row
        };
        self.window = Window::new(self.row.tail);
        self.returned = BTreeSet::new();
        self.leases = Leases::default();
        self.delays = Delays::default();
        assert_eq!(self.ready(), 0, "nothing is left after a purge");
        (entries, rows)
    }

    /// Counts an entry that left.
    fn discount(&mut self, entry: &Entry) {
        assert!(self.row.entries > 0, "queue {} counts its entries", self.id);
        assert!(
            self.row.bytes >= entry.bytes(),
            "queue {} sums its entries",
            self.id
        );
        self.row.entries -= 1;
        self.row.bytes -= entry.bytes();
    }
}
