//! The tables of one group.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock::Instant;
#[cfg(test)]
use crate::kv::Keyspace;
use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId, PayloadRef, Tables};

use crate::log::SegmentId;
use crate::tables::cell::Cell;
use crate::tables::counts::Counts;
use crate::tables::home::Home;
use crate::tables::key::Key;
use crate::tables::metrics::nanos_since;
use crate::tables::overlay::Overlay;
use crate::tables::page::PageKey;
use crate::tables::spilled::Spilled;
use crate::tables::state::{Position, State};
use crate::tables::store::{Loaded, StoreInner};
use crate::tables::{Staging, TableHandle, merge, orphans, references, rows};

/// The tables of one group, owned by the thread that applies. Dropping them drops what was not yet flushed, as a crash
/// does: the log is replayed from [`GroupTables::applied`] as it is found at the next open.
pub struct GroupTables {
    store: Arc<StoreInner>,
    cell: Arc<Cell>,
    // The same as in the state, to read from without its lock.
    home: Home,
    applied: u64,
    leftovers: usize,
    /// Changes of references since the last commit.
    references: Vec<(PayloadRef, i64)>,
    /// Bytes of log since a sync was asked for.
    log_bytes: u64,
}

/// fjall writes the length of a key in 16 bits.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

impl GroupTables {
    pub(crate) fn open(store: Arc<StoreInner>, group: GroupId) -> Result<Self, Fault> {
        let Loaded {
            home,
            applied,
            counts,
            mut spilled,
            leftovers,
        } = store.load(group)?;
        orphans::sweep(&store, group, &home, &mut spilled)?;
        let state = State::new(home.clone(), applied, Counts::restored(counts), spilled);
        let synced = state.synced;
        let cell = Arc::new(Cell::new(group, state));
        store.desk.add(&cell)?;
        cell.synced(synced, &*store.options.segments);
        Ok(Self {
            store,
            cell,
            home,
            applied,
            leftovers,
            references: Vec::new(),
            log_bytes: 0,
        })
    }

    /// Snapshots that were found incomplete, or replaced, when these tables were opened: a crash left them, and they
    /// were removed.
    pub fn leftovers(&self) -> usize {
        self.leftovers
    }

    /// A way to these tables for others than their owner.
    pub fn handle(&self) -> TableHandle {
        TableHandle::new(&self.store, &self.cell)
    }

    /// Which group this is.
    pub fn id(&self) -> GroupId {
        self.cell.id
    }

    /// The system row `name`: invisible to `get`, `scan` and so to digests.
    ///
    /// # Errors
    /// A [`Fault`] when the row cannot be read.
    pub fn system(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.read(&rows::system_key(name))
    }

    /// Writes the system row `name`; part of the next [`GroupTables::commit`].
    pub fn set_system(&mut self, name: &str, value: Vec<u8>) {
        let key = Key::new(&rows::system_key(name));
        self.write(|active| active.put(key, value));
    }

    /// Ends one applied log entry: everything written since the last commit becomes one unit together with `index`.
    /// After a crash the tables stand at some commit, never between two. The same index again is fine (system rows).
    ///
    /// Blocks while memory is full and the flusher is behind.
    ///
    /// # Panics
    /// When `index` is before the last commit's: an entry was applied twice.
    pub fn commit(&mut self, index: u64) {
        assert!(
            index >= self.applied,
            "entry {index} was applied after {}",
            self.applied
        );
        let now = Instant::now();
        let mut state = self.cell.lock();
        let seq = state.committed.seq + 1;
        if let Err(fault) = references::settle(
            &self.store,
            self.cell.id,
            &mut state,
            &mut self.references,
            seq,
        ) {
            state.fail(fault);
        }
        state.open = false;
        state.committed = Position {
            seq,
            applied: index,
        };
        let was_clean = state.dirty_since.is_none();
        state.dirty_since.get_or_insert(now);
        let frozen = state.freeze_if_due(now, &self.store.options);
        if was_clean || frozen {
            self.store.desk.wake();
        }
        self.wait_for_room(state);
        self.applied = index;
    }

    /// The index of the last commit; 0 when there is none. After open: where to replay the log from. If the log was
    /// purged beyond it, these tables have lost something: do not start.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The index up to which everything is in fjall and synced: the log may forget what only later state needs.
    pub fn flushed(&self) -> u64 {
        self.cell.lock().synced.applied
    }

    /// Whether an earlier call or the flusher met a fault. Ask after a batch, before its outcomes are told.
    ///
    /// # Errors
    /// The first fault; from then on every fallible call returns it.
    pub fn health(&self) -> Result<(), Fault> {
        self.cell.lock().check()
    }

    /// Blocks until everything committed is in fjall and synced: for a clean stop.
    ///
    /// # Errors
    /// The disk refused; it is full, which passes: then `health` is still fine.
    ///
    /// # Panics
    /// In the middle of a batch.
    pub fn flush(&mut self) -> Result<(), Fault> {
        let mut state = self.between_commits();
        state.sync_urgent = state.committed.seq;
        self.drain(state, |state| state.synced.seq)
    }

    /// Asks for a flush and a sync soon (at most every `sync_pause`) and returns at once: the log is short of segments.
    pub fn request_sync(&self) {
        let mut state = self.cell.lock();
        state.freeze_wanted = state.committed.seq;
        state.sync_wanted = state.committed.seq;
        self.store.desk.wake();
    }

    /// Says that `bytes` of log were applied, so that syncs keep up with the log.
    pub fn note_log_bytes(&mut self, bytes: u64) {
        self.log_bytes += bytes;
        if self.log_bytes >= self.store.options.sync_log_bytes {
            self.log_bytes = 0;
            self.request_sync();
        }
    }

    /// Live references of each segment, as of the last commit. After open, before the first apply: if one of these
    /// segments is gone, payloads are lost.
    pub fn references(&self) -> BTreeMap<SegmentId, u64> {
        let state = self.cell.lock();
        let live = state.counts.live().iter();
        live.map(|(segment, live)| (*segment, live.references))
            .collect()
    }

    /// The segments that must stay: see [`crate::refs`]. The log is told the same after every sync.
    pub fn live_segments_flushed(&self) -> BTreeSet<SegmentId> {
        self.cell.lock().counts.needed()
    }

    /// Replaces everything by what was staged, durable on return. After a crash in the middle the old rows are there,
    /// complete, or the new ones. From now on entries up to the staged position count as gone from the log, whatever it
    /// still holds of them: purge it.
    ///
    /// # Errors
    /// The disk refused, or what was staged is of another group or was never completed: the old tables stay as they
    /// were, unless [`GroupTables::health`] says otherwise.
    ///
    /// # Panics
    /// In the middle of a batch.
    pub fn install(&mut self, staged: Staging) -> Result<(), Fault> {
        self.between_commits().check()?;
        let (home, applied, spilled) = staged.complete(self.id())?;
        let old = self.switch(home, Position { seq: 0, applied }, spilled)?;
        self.store.delete_home(old)
    }

    /// Takes over staged keyspaces and gives back those before. The flusher writes nothing to them any more.
    fn switch(&mut self, home: Home, mut at: Position, spilled: Spilled) -> Result<Home, Fault> {
        let state = self.cell.lock();
        let mut state = self.cell.wait(state, |state| state.in_flight.is_some());
        state.check()?;
        at.seq = state.committed.seq + 1;
        self.cell.set_floor(spilled.floor);
        self.home = home.clone();
        let new = State::new(home, at.applied, Counts::default(), spilled);
        let old = std::mem::replace(&mut *state, new);
        state.start_at(at);
        (state.reported, state.views_wanted) = (old.reported, old.views_wanted);
        self.store.metrics.report(&mut state);
        drop(state);
        self.cell.synced(at, &*self.store.options.segments);
        self.cell.tell();
        self.applied = at.applied;
        Ok(old.home)
    }

    #[cfg(test)]
    pub(crate) fn keyspace(&self) -> &Keyspace {
        &self.home.rows
    }

    /// Waits until `reached` has come to the last commit. A full disk is an error that passes.
    fn drain(
        &self,
        mut state: MutexGuard<'_, State>,
        reached: fn(&State) -> u64,
    ) -> Result<(), Fault> {
        let (target, holds) = (state.committed.seq, state.holds);
        state.freeze_wanted = target;
        self.store.desk.wake();
        let behind = |state: &State| reached(state) < target;
        let state = self
            .cell
            .wait(state, |state| behind(state) && state.holds == holds);
        state.check()?;
        if behind(&state) {
            return Err(Fault::new("flush tables", "the disk is full"));
        }
        Ok(())
    }

    fn between_commits(&self) -> MutexGuard<'_, State> {
        let state = self.cell.lock();
        assert!(!state.open && self.references.is_empty(), "a batch is open");
        state
    }

    fn wait_for_room(&self, state: MutexGuard<'_, State>) {
        let options = &self.store.options;
        let full = |state: &State| state.active.bytes() >= options.flush_bytes_max;
        let mut state = state;
        if full(&state) && state.in_flight.is_some() {
            let start = Instant::now();
            state = self
                .cell
                .wait(state, |state| full(state) && state.in_flight.is_some());
            if state.freeze_if_due(Instant::now(), options) {
                self.store.desk.wake();
            }
            self.store.metrics.stalls.fetch_add(1, Relaxed);
            self.store
                .metrics
                .stall_nanos
                .fetch_add(nanos_since(start), Relaxed);
        }
        self.store.metrics.report(&mut state);
    }

    fn change_references(&mut self, payload: PayloadRef, change: i64) {
        // Between two commits once is enough: the lock costs more than the rest.
        if self.references.is_empty() {
            self.cell.lock().open = true;
        }
        match self.references.last_mut() {
            Some(last) if last.0 == payload => last.1 += change,
            _ => self.references.push((payload, change)),
        }
    }

    fn write(&mut self, change: impl FnOnce(&mut Overlay)) {
        let mut state = self.cell.lock();
        state.open = true;
        change(&mut state.active);
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let key = Key::new(bytes);
        let state = self.cell.lock();
        state.check()?;
        let in_flight = || state.in_flight.as_ref()?.rows.get(&key);
        if let Some(slot) = state.active.get(&key).or_else(in_flight) {
            return Ok(slot.value().cloned());
        }
        // Whatever the flusher writes from here on is of other keys: it was looked for in memory.
        drop(state);
        self.home.get(bytes).map_err(|fault| self.failed(fault))
    }

    fn failed(&self, fault: Fault) -> Fault {
        self.cell.fail(fault.clone());
        fault
    }
}

fn checked(key: &[u8]) -> Key {
    assert!(
        key.first().is_some_and(|b| *b != rows::RESERVED),
        "key {key:02x?} is reserved"
    );
    assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes", key.len());
    assert!(
        PageKey::fits(key),
        "key {key:02x?} is neither of a sequence nor of something else"
    );
    Key::new(key)
}

impl Tables for GroupTables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if key < rows::FIRST {
            return self.health().map(|()| None);
        }
        self.read(key)
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Fault> {
        let from = from.max(rows::FIRST);
        if from >= until || limit == 0 {
            return self.health().map(|()| Vec::new());
        }
        let (first, end) = (Key::new(from), Key::new(until));
        let nothing = Overlay::default();
        // Locked to the end: what is in flight must stay in memory until fjall's part is read.
        let state = self.cell.lock();
        state.check()?;
        let older = state
            .in_flight
            .as_ref()
            .map_or(&nothing, |frozen| &frozen.rows);
        let above = merge::overlays(state.active.range(&first, &end), older.range(&first, &end));
        let below = self.home.range(from, until);
        let found = merge::rows(above, below, limit);
        drop(state);
        found.map_err(|fault| self.failed(fault))
    }

    fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        let row = checked(key);
        debug_assert!(
            !matches!(self.get(key), Ok(Some(_))),
            "row {key:02x?} is there already"
        );
        self.write(|active| active.insert(row, value));
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let row = checked(key);
        self.write(|active| active.put(row, value));
    }

    fn remove(&mut self, key: &[u8]) {
        let row = checked(key);
        self.write(|active| active.remove(row));
    }

    fn retain(&mut self, payload: PayloadRef, count: u32) {
        self.change_references(payload, i64::from(count));
    }

    fn release(&mut self, payload: PayloadRef, count: u32) {
        self.change_references(payload, -i64::from(count));
    }
}

impl Drop for GroupTables {
    fn drop(&mut self) {
        let mut state = self.cell.lock();
        // Nothing more is frozen, so once nothing is in flight either the rows may have another owner.
        state.open = true;
        state.closed = true;
        self.cell.tell();
        let writing =
            |state: &State| state.watch.is_some() || (state.in_flight.is_some() && !state.held);
        let mut state = self.cell.wait(state, writing);
        // On a full disk that is all the same, and without an end.
        state.in_flight = None;
        // After a fault the group stays taken: nobody may go on with it.
        if state.fault.is_none() {
            drop(state);
            self.store.desk.remove(&self.cell);
        }
    }
}

impl fmt::Debug for GroupTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTables")
            .field("id", &self.id())
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn owned_by_one_thread<T: Send>() {}
    owned_by_one_thread::<GroupTables>();
};
