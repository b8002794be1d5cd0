//! One move: the payloads of one group out of some segments. The steps are told in [`crate::spill`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Instant;
use crate::kv::PersistMode;
use millrace_model::{Fault, PayloadRef};

use crate::log::{GroupLog, LogPin, SegmentId};
use crate::spill::{ReferenceOf, window};
use crate::tables::cell::Cell;
use crate::tables::fjall_fault::fault;
use crate::tables::key::Key;
use crate::tables::spilled::Watch;
use crate::tables::staging::ingest_payloads;
use crate::tables::state::State;
use crate::tables::store::StoreInner;
use crate::tables::{TableHandle, TableSnapshot, orphans, room, rows};

/// Bytes that are read from the log at once.
const READ_BYTES: usize = 4 << 20;

/// What is left to the others after each of these reads: the disk and a core.
#[cfg(not(simulation))]
const BREATH: std::time::Duration = std::time::Duration::from_millis(10);

/// Counts that are written at once.
const BATCH_ROWS: usize = 1_024;

/// One move under way. Dropping it ends it.
pub(crate) struct Round {
    store: Arc<StoreInner>,
    cell: Arc<Cell>,
    log: GroupLog,
    _pin: LogPin,
    /// Runs of entries in the segments.
    runs: Vec<(u64, u64, SegmentId)>,
    view: Option<TableSnapshot>,
    found: BTreeMap<PayloadRef, u64>,
    /// Whether anything may have been written outside the log.
    wrote: std::cell::Cell<bool>,
}

impl Round {
    /// Step 1: takes note that a move begins, and a view.
    pub(crate) fn begin(
        tables: &TableHandle,
        log: GroupLog,
        segments: BTreeSet<SegmentId>,
    ) -> Result<Self, Fault> {
        let (store, cell) = tables.upgrade()?;
        let floor = tables.floor();
        // Its last reference may go while a segment is read: it is given back after the round then.
        let mut pin = log.pin();
        pin.narrow(&segments);
        // Entries that a snapshot replaced may stand in one run with those behind it.
        let above =
            |(first, last, segment): (u64, u64, SegmentId)| (first.max(floor + 1), last, segment);
        let runs = log.runs_in(&segments).into_iter().map(above);
        let runs: Vec<_> = runs.filter(|(first, last, _)| first <= last).collect();
        let mut state = cell.lock();
        state.check()?;
        if state.watch.is_some() {
            return Err(failed("a move is under way already"));
        }
        state.watch = Some(Watch::new(segments, state.spilled.copying));
        (state.spilled.copying, state.spilled_changed) = (true, true);
        drop(state);
        let mut round = Self {
            store,
            cell,
            log,
            _pin: pin,
            runs,
            view: None,
            found: BTreeMap::new(),
            wrote: std::cell::Cell::new(false),
        };
        let view = TableSnapshot::take(&round.store, &round.cell, false)?;
        let newest = round.runs.last().map_or(0, |(_, last, _)| *last);
        if newest > view.applied() {
            return Err(failed("a segment is not wholly applied"));
        }
        round.view = Some(view);
        Ok(round)
    }

    /// Step 2: finds what lives in the segments; bytes for each. `None` when it is more than `max` payloads.
    pub(crate) fn collect(
        &mut self,
        reference: ReferenceOf,
        max: usize,
    ) -> Result<Option<BTreeMap<SegmentId, u64>>, Fault> {
        let view = self.view.as_ref().ok_or_else(|| failed("no view"))?;
        let runs = &self.runs;
        let wanted = |place| segment_of(runs, place).is_some();
        self.found = window(view, reference, None, max, wanted)?;
        if self.found.len() >= max {
            return Ok(None);
        }
        let mut live = BTreeMap::new();
        for place in self.found.keys() {
            if let Some(segment) = segment_of(&self.runs, *place) {
                *live.entry(segment).or_default() += u64::from(place.len);
            }
        }
        Ok(Some(live))
    }

    /// Steps 3 and 4 for the segments that are worth it: payloads and bytes moved. `present` are the segments that the
    /// log has.
    pub(crate) fn move_out(
        &mut self,
        worth: &[SegmentId],
        present: &BTreeSet<SegmentId>,
    ) -> Result<(u64, u64), Fault> {
        let runs = &self.runs;
        let goes = |place| segment_of(runs, place).is_some_and(|segment| worth.contains(&segment));
        self.found.retain(|place, _| goes(*place));
        let moved = self.copy().and_then(|()| self.switch(worth, present));
        if moved.is_err() && !self.cell.lock().closed {
            self.forget()?;
        }
        moved
    }

    /// Step 3.
    pub(crate) fn copy(&self) -> Result<(), Fault> {
        let bytes = self.found.keys().map(|place| place.len as usize).sum();
        if !room::is_there(&self.store.dir, bytes)? {
            return Err(failed("the disk is full"));
        }
        let home = self.home()?;
        // The note of step 1 must be older than what it speaks of.
        self.persist()?;
        self.wrote.set(true);
        ingest_payloads(&home.payloads, Reads::new(self))?;
        let mut counts = self.found.iter().peekable();
        while counts.peek().is_some() {
            let mut batch = self.store.db.batch();
            for (place, count) in counts.by_ref().take(BATCH_ROWS) {
                batch.insert(
                    &home.rows,
                    rows::payload_count_key(*place),
                    rows::number(*count),
                );
            }
            batch
                .commit()
                .map_err(fault("count payloads outside the log"))?;
        }
        self.persist()
    }

    /// Step 4.
    pub(crate) fn switch(
        &self,
        worth: &[SegmentId],
        present: &BTreeSet<SegmentId>,
    ) -> Result<(u64, u64), Fault> {
        let view = self.view.as_ref().ok_or_else(|| failed("no view"))?;
        let mut state = self.cell.lock();
        state.check()?;
        let same = state.home.generation == view.home().generation && !state.closed;
        let watch = state.watch.as_ref().filter(|watch| same && !watch.overrun);
        let watch = watch.ok_or_else(|| failed("the rows changed too much meanwhile"))?;
        let (changes, copying) = (watch.since(view.seq()), watch.copying);
        let changes = self.changed(changes, worth)?;
        self.check_sums(&state, &changes, worth)?;
        self.write_counts(&mut state, &changes);
        let seq = state.commit_aside(Instant::now());
        for segment in worth {
            state.counts.move_out(*segment, seq);
            state.spilled.segments.insert(*segment);
        }
        state
            .spilled
            .segments
            .retain(|segment| present.contains(segment));
        (state.spilled.copying, state.spilled_changed) = (copying, true);
        state.sync_wanted = seq;
        self.store.desk.wake();
        let bytes = self.found.keys().map(|place| u64::from(place.len)).sum();
        Ok((self.found.len() as u64, bytes))
    }

    /// The counts now of the payloads whose counts have changed since the view.
    fn changed(
        &self,
        changes: BTreeMap<PayloadRef, i64>,
        worth: &[SegmentId],
    ) -> Result<BTreeMap<PayloadRef, u64>, Fault> {
        let goes = |place: &PayloadRef| {
            segment_of(&self.runs, *place).is_some_and(|segment| worth.contains(&segment))
        };
        let changes = changes.into_iter().filter(|(place, _)| goes(place));
        let now = |(place, change): (PayloadRef, i64)| {
            let before = self.found.get(&place).copied().unwrap_or(0);
            let now = before.checked_add_signed(change);
            let known = before > 0 || change == 0;
            let now = now.filter(|_| known).ok_or_else(|| uneven(place.index))?;
            Ok((place, now))
        };
        changes.map(now).collect()
    }

    /// Every reference that counts for a segment was found in a row: nothing is left behind, nothing made up.
    fn check_sums(
        &self,
        state: &State,
        changed: &BTreeMap<PayloadRef, u64>,
        worth: &[SegmentId],
    ) -> Result<(), Fault> {
        let mut sums: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for (place, count) in &self.found {
            if let Some(segment) = segment_of(&self.runs, *place) {
                *sums.entry(segment).or_default() += changed.get(place).unwrap_or(count);
            }
        }
        let live = state.counts.live();
        let even = |segment: &&SegmentId| {
            let counted = live.get(*segment).map_or(0, |live| live.references);
            sums.get(*segment).copied().unwrap_or(0) == counted
        };
        match worth.iter().find(|segment| !even(segment)) {
            Some(segment) => Err(uneven(segment.0)),
            None => Ok(()),
        }
    }

    fn write_counts(&self, state: &mut State, changed: &BTreeMap<PayloadRef, u64>) {
        state.spilled.payloads += self.found.len() as u64;
        state.spilled.bytes += self
            .found
            .keys()
            .map(|place| u64::from(place.len))
            .sum::<u64>();
        for (place, count) in changed {
            let key = Key::new(&rows::payload_count_key(*place));
            if *count > 0 {
                state.active.put(key, rows::number(*count));
            } else if self.found.contains_key(place) {
                state.active.remove(key);
                state.spilled.payloads -= 1;
                state.spilled.bytes -= u64::from(place.len);
            }
        }
    }

    /// Removes what step 3 wrote, after a failure.
    fn forget(&self) -> Result<(), Fault> {
        let found = self.found.keys().copied().map(Ok);
        orphans::remove(&self.store, &self.home()?, found, true)?;
        Ok(())
    }

    fn home(&self) -> Result<crate::tables::home::Home, Fault> {
        let view = self.view.as_ref().ok_or_else(|| failed("no view"))?;
        Ok(view.home().clone())
    }

    fn persist(&self) -> Result<(), Fault> {
        let synced = self.store.db.persist(PersistMode::SyncAll);
        synced.map_err(fault("sync what was moved out of the log"))
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.view = None;
        let mut state = self.cell.lock();
        if let Some(watch) = state.watch.take()
            && !self.wrote.get()
        {
            (state.spilled.copying, state.spilled_changed) = (watch.copying, true);
        }
        drop(state);
        self.cell.tell();
    }
}

fn failed(reason: &str) -> Fault {
    Fault::new("move payloads out of the log", reason)
}

fn uneven(of: u64) -> Fault {
    let reason = format!("the references of rows to {of} are not those that were counted");
    Fault::new("move payloads out of the log", reason)
}

/// The segment that holds `place`, by runs in order.
fn segment_of(runs: &[(u64, u64, SegmentId)], place: PayloadRef) -> Option<SegmentId> {
    let behind = runs.partition_point(|(first, _, _)| *first <= place.index);
    let (_, last, segment) = runs.get(behind.checked_sub(1)?)?;
    (place.index <= *last).then_some(*segment)
}

/// The payloads of a round with their bytes, read from the log as they are asked for.
struct Reads<'a> {
    round: &'a Round,
    left: std::collections::btree_map::Keys<'a, PayloadRef, u64>,
    ready: std::vec::IntoIter<(PayloadRef, bytes::Bytes)>,
}

impl<'a> Reads<'a> {
    fn new(round: &'a Round) -> Self {
        Self {
            round,
            left: round.found.keys(),
            ready: Vec::new().into_iter(),
        }
    }

    fn read(&mut self) -> Result<(), Fault> {
        let (mut places, mut bytes) = (Vec::new(), 0);
        while bytes < READ_BYTES
            && let Some(place) = self.left.next()
        {
            bytes += place.len as usize;
            places.push(*place);
        }
        if self.round.cell.lock().closed {
            return Err(failed("the tables are closed"));
        }
        let read = self.round.log.payloads(&places);
        let read = read.map_err(|error| failed(&error.to_string()))?;
        let pairs: Vec<_> = places.into_iter().zip(read).collect();
        self.ready = pairs.into_iter();
        #[cfg(not(simulation))]
        std::thread::sleep(BREATH);
        Ok(())
    }
}

impl Iterator for Reads<'_> {
    type Item = Result<(PayloadRef, bytes::Bytes), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.next() {
            return Some(Ok(ready));
        }
        if self.left.len() == 0 {
            return None;
        }
        match self.read() {
            Ok(()) => self.ready.next().map(Ok),
            Err(fault) => Some(Err(fault)),
        }
    }
}
