//! Moves on a real log and real tables, with a crash after each step.

#![allow(clippy::unwrap_used, clippy::panic)]

mod disk;
mod random;
mod steps;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use millrace_model::{Fault, GroupId, PayloadRef, Tables as _};

use crate::log::{Log, LogEntry, LogOptions};
use crate::spill::{Payloads, SpillOptions, Spiller};
use crate::tables::{GroupTables, TableOptions, TableStore, rows};

pub(crate) const GROUP: GroupId = GroupId(1);

/// Payloads in one entry.
const PER_ENTRY: u32 = 10;
/// Bytes of one payload.
const PAYLOAD_BYTES: u32 = 500;

/// A node: one entry holds ten payloads, one row refers to each.
pub(crate) struct Node {
    pub(crate) tables: GroupTables,
    pub(crate) payloads: Payloads,
    _store: TableStore,
    pub(crate) log: Arc<Log>,
    pub(crate) next: u64,
}

/// The payload that a row of these tests refers to.
pub(crate) fn reference(_: &[u8], value: &[u8]) -> Result<Option<PayloadRef>, Fault> {
    Ok(rows::read_payload_key(value))
}

pub(crate) fn place(index: u64, ordinal: u32) -> PayloadRef {
    PayloadRef {
        index,
        offset: ordinal * PAYLOAD_BYTES,
        len: PAYLOAD_BYTES,
    }
}

pub(crate) fn bytes(place: PayloadRef) -> Vec<u8> {
    let seed = place.index * 31 + u64::from(place.offset);
    (0..u64::from(place.len))
        .map(|at| (seed.wrapping_mul(0x9e37_79b9) >> (at % 24)) as u8 ^ at as u8)
        .collect()
}

fn key(place: PayloadRef, copy: u8) -> Vec<u8> {
    [&b"c"[..], &rows::payload_key(place), &[copy]].concat()
}

impl Node {
    pub(crate) fn open(dir: &Path) -> Self {
        let options = LogOptions {
            segment_bytes: 64 << 10,
            cache_bytes: 0,
            ..LogOptions::default()
        };
        let log = Arc::new(Log::open(dir.join("log"), options).unwrap());
        let options = TableOptions {
            reserve_bytes: 0,
            sync_pause: Duration::ZERO,
            flush_age: Duration::from_millis(5),
            sync_age: Duration::from_millis(10),
            ..TableOptions::new(log.clone())
        };
        let store = TableStore::open(dir.join("tables"), options).unwrap();
        let tables = store.group(GROUP).unwrap();
        let payloads = Payloads::new(log.group(GROUP), tables.handle());
        let next = log.group(GROUP).last().map_or(1, |last| last.index + 1);
        let mut node = Self {
            tables,
            payloads,
            _store: store,
            log,
            next,
        };
        node.replay();
        node
    }

    /// Applies again what the tables have forgotten in a crash.
    fn replay(&mut self) {
        for index in self.tables.applied() + 1..self.next {
            self.apply(index);
        }
        self.next = self.next.max(self.tables.applied() + 1);
    }

    fn apply(&mut self, index: u64) {
        for ordinal in 0..PER_ENTRY {
            self.add(place(index, ordinal), 0);
        }
        self.tables.commit(index);
    }

    /// Writes and applies `entries` entries, all payloads of which live.
    pub(crate) fn fill(&mut self, entries: u64) {
        for _ in 0..entries {
            let index = self.next;
            let places: Vec<_> = (0..PER_ENTRY)
                .map(|ordinal| place(index, ordinal))
                .collect();
            let body: Vec<u8> = places.iter().flat_map(|place| bytes(*place)).collect();
            let entry = LogEntry {
                term: 1,
                index,
                tag: 0,
                body: Bytes::from(body),
            };
            let (tell, told) = mpsc::channel();
            let done = Box::new(move |result| drop(tell.send(result)));
            self.log.group(GROUP).append(vec![entry], done).unwrap();
            told.recv().unwrap().unwrap();
            self.apply(index);
            self.next += 1;
        }
    }

    pub(crate) fn add(&mut self, place: PayloadRef, copy: u8) {
        let value = rows::payload_key(place).to_vec();
        self.tables.put(&key(place, copy), value);
        self.tables.retain(place, 1);
    }

    pub(crate) fn drop_one(&mut self, place: PayloadRef, copy: u8) {
        self.tables.remove(&key(place, copy));
        self.tables.release(place, 1);
    }

    /// Ends the batch: as an entry of its own, so that a replay would do it again.
    pub(crate) fn commit(&mut self) {
        let index = self.tables.applied();
        self.tables.commit(index);
        self.tables.health().unwrap();
    }

    /// Keeps of all entries so far only the payloads for which `keep` holds, and makes all durable.
    pub(crate) fn thin(&mut self, keep: impl Fn(PayloadRef) -> bool) {
        for place in self.live() {
            if !keep(place) {
                self.drop_one(place, 0);
            }
        }
        self.commit();
        self.settle();
    }

    /// Purges the log and waits until it has heard what the tables refer to.
    pub(crate) fn settle(&mut self) {
        self.tables.flush().unwrap();
        let group = self.log.group(GROUP);
        group.purge(group.last().unwrap()).unwrap();
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |result| drop(tell.send(result)));
        group.save_vote(Bytes::from_static(b"v"), done).unwrap();
        told.recv().unwrap().unwrap();
    }

    pub(crate) fn settle_if_any(&mut self) {
        if self.log.group(GROUP).last().is_some() {
            self.settle();
        }
    }

    /// The payloads that rows refer to.
    pub(crate) fn live(&self) -> BTreeSet<PayloadRef> {
        let rows = self.tables.scan(b"c", b"d", usize::MAX).unwrap();
        let places = rows.iter().map(|(_, value)| rows::read_payload_key(value));
        places.map(Option::unwrap).collect()
    }

    pub(crate) fn spiller(&self) -> Spiller {
        let options = SpillOptions {
            slack_bytes: 128 << 10,
            ..SpillOptions::default()
        };
        let groups = vec![self.tables.handle()];
        Spiller::new(self.log.clone(), groups, reference, options)
    }

    /// Every payload that a row refers to is read as it was written, and the counts are those of the rows.
    pub(crate) fn check(&mut self) {
        let live: Vec<_> = self.live().into_iter().collect();
        let read = self.payloads.read(&live).unwrap();
        for (place, read) in live.iter().zip(read) {
            assert_eq!(read, bytes(*place), "{place:?}");
        }
        self.tables.health().unwrap();
        let snapshot = self.tables.handle().snapshot(false).unwrap();
        assert_eq!(
            crate::spill::audit::audit(&snapshot, &self.log, reference).unwrap(),
            [""; 0]
        );
    }

    pub(crate) fn segments(&self) -> usize {
        self.log.segments().len()
    }
}

/// A copy of the folder, as a crash would leave it.
pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_all(from, to.path());
    to
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_all(&file.path(), &to);
        } else {
            // Spare segments and finished compactions come and go meanwhile.
            let _ = std::fs::copy(file.path(), to);
        }
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
