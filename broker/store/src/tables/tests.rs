//! Behaviour of tables on a real disk.

#![allow(clippy::unwrap_used, clippy::panic)]

mod behaviour;
mod faults;
mod pages;
mod property;
mod speed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_model::{GroupId, PayloadRef, Tables};

use crate::log::SegmentId;
use crate::refs::Segments;
use crate::tables::{GroupTables, TableOptions, TableStore};

pub(super) const GROUP: GroupId = GroupId(1);

/// A log of which only the arithmetic is there: a hundred entries a segment. It keeps what it was told last.
#[derive(Default)]
pub(super) struct Hundreds {
    told: Mutex<BTreeMap<GroupId, (u64, BTreeSet<SegmentId>)>>,
}

impl Hundreds {
    pub(super) fn told(&self, group: GroupId) -> (u64, Vec<u64>) {
        let told = self.told.lock().unwrap();
        let (applied, live) = told.get(&group).cloned().unwrap_or_default();
        (applied, live.iter().map(|segment| segment.0).collect())
    }
}

impl Segments for Hundreds {
    fn segment_of(&self, _: GroupId, index: u64) -> Option<SegmentId> {
        (index < 1_000_000).then_some(SegmentId(index / 100))
    }

    fn flushed(&self, group: GroupId, applied: u64, live: &BTreeSet<SegmentId>) {
        self.told
            .lock()
            .unwrap()
            .insert(group, (applied, live.clone()));
    }
}

/// Options under which nothing is flushed but when asked.
pub(super) fn lazy() -> TableOptions {
    let hour = Duration::from_secs(3_600);
    TableOptions {
        flush_age: hour,
        sync_age: hour,
        sync_pause: Duration::ZERO,
        reserve_bytes: 0,
        ..TableOptions::new(Arc::new(Hundreds::default()))
    }
}

pub(super) fn open(dir: &Path, options: TableOptions) -> (TableStore, GroupTables) {
    let store = TableStore::open(dir.join("tables"), options).unwrap();
    let group = store.group(GROUP).unwrap();
    (store, group)
}

/// A payload of entry `index`.
pub(super) fn place(index: u64) -> PayloadRef {
    PayloadRef {
        index,
        offset: 0,
        len: 10,
    }
}

/// All rows of a machine.
pub(super) fn all(tables: &GroupTables) -> Vec<(Vec<u8>, Vec<u8>)> {
    tables.scan(&[], &[0xff; 8], usize::MAX).unwrap()
}
