//! A way to a group's tables for others than their owner.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::kv::Keyspace;
use bytes::Bytes;
use millrace_model::{Fault, GroupId, PayloadRef};

use crate::log::SegmentId;
use crate::tables::cell::Cell;
use crate::tables::counts::Live;
use crate::tables::fjall_fault::fault;
use crate::tables::store::StoreInner;
use crate::tables::{Staging, TableSnapshot, payload, rows};

/// A way to a group's tables for others than their owner: payloads outside the log, views, snapshots that arrive.
/// Cloning is cheap, and it does not keep the tables open: once their owner is gone every call fails.
#[derive(Clone)]
pub struct TableHandle {
    id: GroupId,
    store: Weak<StoreInner>,
    cell: Weak<Cell>,
    floor: Arc<AtomicU64>,
}

/// What a group has outside the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Payloads.
    pub payloads: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl TableHandle {
    pub(crate) fn new(store: &Arc<StoreInner>, cell: &Arc<Cell>) -> Self {
        Self {
            id: cell.id,
            store: Arc::downgrade(store),
            cell: Arc::downgrade(cell),
            floor: cell.floor(),
        }
    }

    /// Which group this is.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// The last entry that came with a snapshot: whatever the log still holds up to there means nothing. Cheap.
    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// The bytes of a payload that lies outside the log; `None` when it does not. May read the disk.
    ///
    /// # Errors
    /// The bytes are damaged or cannot be read; the tables are closed.
    pub fn payload(&self, place: PayloadRef) -> Result<Option<Bytes>, Fault> {
        let (_store, cell) = self.upgrade()?;
        let home = cell.lock().home.clone();
        let value = home.payloads.get(rows::payload_key(place));
        let value = value.map_err(fault("read a payload"))?;
        value
            .map(|value| payload::decode(place, &value))
            .transpose()
    }

    /// All rows as of now. Waits until they are in fjall, synced if asked for: call it where blocking is fine. Holds
    /// up neither the owner nor the flusher.
    ///
    /// # Errors
    /// A fault of the tables; they are closed or were replaced meanwhile; the disk is full.
    pub fn snapshot(&self, synced: bool) -> Result<TableSnapshot, Fault> {
        let (store, cell) = self.upgrade()?;
        TableSnapshot::take(&store, &cell, synced)
    }

    /// Begins to receive rows that are to replace these: one at a time.
    ///
    /// # Errors
    /// Another is being received; the tables are closed; the disk refused.
    pub fn stage(&self) -> Result<Staging, Fault> {
        let (store, cell) = self.upgrade()?;
        Staging::begin(&store, &cell)
    }

    /// What lies outside the log.
    pub fn outside(&self) -> Outside {
        let Ok((_store, cell)) = self.upgrade() else {
            return Outside::default();
        };
        let spilled = &cell.lock().spilled;
        Outside {
            payloads: spilled.payloads,
            bytes: spilled.bytes,
        }
    }

    /// Gives room on the disk back: that of payloads outside the log when they take more than one and a half times what
    /// lives and `slack_bytes`, and that of rows when
    /// a good part of what is there are removals. fjall does it by itself only as
    /// more is written. Blocks, up to seconds; whether there was something to do.
    ///
    /// # Errors
    /// The disk refused; the tables are closed.
    pub fn tidy(&self, slack_bytes: u64) -> Result<bool, Fault> {
        let (_store, cell) = self.upgrade()?;
        let (home, live, removed) = {
            let state = cell.lock();
            (state.home.clone(), state.spilled.bytes, state.removed)
        };
        let taken = home.payloads.disk_space();
        let payloads = taken > live + live / 2 + slack_bytes;
        if payloads {
            compact(&home.payloads)?;
        }
        let rows = removed >= TIDY_ROWS && removed >= home.rows.approximate_len() as u64 / 4;
        if rows {
            cell.lock().removed = 0;
            compact(&home.rows)?;
        }
        Ok(payloads || rows)
    }

    /// The lengths of the payloads in the log that rows refer to, once for each reference.
    pub fn referred_bytes(&self) -> u64 {
        self.live().values().map(|live| live.bytes).sum()
    }

    /// What refers to each segment of the log.
    pub(crate) fn live(&self) -> BTreeMap<SegmentId, Live> {
        let upgraded = self.upgrade();
        upgraded.map_or_else(
            |_| BTreeMap::new(),
            |(_store, cell)| cell.lock().counts.live().clone(),
        )
    }

    pub(crate) fn upgrade(&self) -> Result<(Arc<StoreInner>, Arc<Cell>), Fault> {
        let closed = || Fault::new("look at tables", "they are closed");
        let store = self.store.upgrade().ok_or_else(closed)?;
        let cell = self.cell.upgrade().ok_or_else(closed)?;
        if cell.lock().closed {
            return Err(closed());
        }
        Ok((store, cell))
    }
}

/// Rows that must have been removed before it is worth the work.
const TIDY_ROWS: u64 = 100_000;

/// Rewrites what lives. The first pass learns which values are dead, the second rewrites the files that they lie in.
fn compact(keyspace: &Keyspace) -> Result<(), Fault> {
    let failed = || fault("compact tables");
    keyspace.rotate_memtable_and_wait().map_err(failed())?;
    for _ in 0..if keyspace.is_kv_separated() { 2 } else { 1 } {
        keyspace.major_compact().map_err(failed())?;
    }
    Ok(())
}

impl fmt::Debug for TableHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
