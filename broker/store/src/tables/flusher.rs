//! The thread that writes frozen rows to fjall and syncs it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Instant;
use crate::kv::{Database, PersistMode};
use millrace_model::Fault;

use crate::tables::cell::Cell;
use crate::tables::fjall_fault::fault;
use crate::tables::metrics::nanos_since;
use crate::tables::room::Room;
use crate::tables::state::{Frozen, View};
use crate::tables::threads::Engine;
use crate::tables::{Pages, TableMetrics, TableOptions, write};

/// What the flusher shares with the owners of tables.
pub(crate) struct Desk {
    signal: Mutex<Signal>,
    pub(crate) engine: Engine,
}

#[derive(Default)]
pub(crate) struct Signal {
    pub(crate) cells: Vec<Arc<Cell>>,
    pub(crate) woken: bool,
    pub(crate) stopped: bool,
    fault: Option<Fault>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            signal: Mutex::default(),
            engine: Engine::default(),
        }
    }

    /// Makes the flusher look at all groups. May be called with a cell locked; the flusher never locks a cell while it
    /// holds the signal.
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        self.engine.wake();
    }

    /// Ends the flusher once it has finished what it is writing.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.engine.wake();
    }

    /// Puts a group into the flusher's care. Refused when it is there already, or after a fault.
    pub(crate) fn add(&self, cell: &Arc<Cell>) -> Result<(), Fault> {
        let mut signal = self.lock();
        if let Some(fault) = &signal.fault {
            return Err(fault.clone());
        }
        if signal.cells.iter().any(|other| other.id == cell.id) {
            let reason = format!("group {} has an owner", cell.id);
            return Err(Fault::new("open tables", reason));
        }
        self.engine.serve(cell);
        signal.cells.push(Arc::clone(cell));
        Ok(())
    }

    /// Takes a group out of the flusher's care.
    pub(crate) fn remove(&self, cell: &Arc<Cell>) {
        self.lock().cells.retain(|other| !Arc::ptr_eq(other, cell));
    }

    /// Lets everything fail, now and later.
    pub(crate) fn fail(&self, fault: &Fault) {
        let mut signal = self.lock();
        signal.fault.get_or_insert_with(|| fault.clone());
        let cells = signal.cells.clone();
        drop(signal);
        for cell in cells {
            cell.fail(fault.clone());
        }
    }

    /// Whether anything has failed. Groups that have failed stay here.
    pub(crate) fn has_failed(&self) -> bool {
        let signal = self.lock();
        let (fault, cells) = (signal.fault.is_some(), signal.cells.clone());
        drop(signal);
        fault || cells.iter().any(|cell| cell.lock().check().is_err())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that writes frozen rows to fjall and syncs it. fjall makes a writer sleep when its own threads are
/// behind: that hits this thread and never one that applies.
pub(crate) struct Flusher {
    pub(crate) db: Database,
    pub(crate) desk: Arc<Desk>,
    pub(crate) options: TableOptions,
    pub(crate) metrics: Arc<TableMetrics>,
    pub(crate) room: Room,
    pub(crate) pages: Pages,
    pub(crate) synced_at: Instant,
}

impl Flusher {
    /// Runs until stopped or failed. A fault or a panic becomes the fault of all groups.
    #[cfg(not(simulation))]
    pub(crate) fn run(mut self) {
        let desk = Arc::clone(&self.desk);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.serve()));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                tracing::error!(%fault, "tables have failed");
                desk.fail(&fault);
            }
            Err(_) => desk.fail(&Fault::new("write tables", "the flusher panicked")),
        }
    }

    #[cfg(not(simulation))]
    fn serve(&mut self) -> Result<(), Fault> {
        let mut deadline = None;
        while let Some(cells) = self.desk.next(deadline) {
            deadline = self.turn(&cells)?;
        }
        Ok(())
    }

    /// Writes and syncs what is due; when to look again without being woken.
    pub(crate) fn turn(&mut self, cells: &[Arc<Cell>]) -> Result<Option<Instant>, Fault> {
        for cell in cells {
            self.write_due(cell)?;
        }
        if self.sync_is_due(cells) {
            self.sync(cells)?;
        }
        Ok(self.deadline(cells))
    }

    /// Writes one overlay at most: a busy group must not keep the others waiting.
    fn write_due(&mut self, cell: &Cell) -> Result<(), Fault> {
        let mut state = cell.lock();
        state.freeze_if_due(Instant::now(), &self.options);
        let Some(frozen) = state.in_flight.clone() else {
            return Ok(());
        };
        state.held = false;
        drop(state);
        if self.pages.are_allowed() {
            frozen.home.layout.begin_pages();
        }
        if !self.has_room(&frozen)? {
            cell.lock().hold();
            cell.tell();
            return Ok(());
        }
        let removals = self.write(&frozen)?;
        let mut state = cell.lock();
        if state.views_wanted > 0 {
            // Nobody else writes rows that a view shows: it is exactly this commit.
            let (snapshot, at) = (self.db.snapshot(), frozen.at);
            state.view = Some(View { snapshot, at });
        }
        state.wrote(Instant::now(), removals);
        self.metrics.report(&mut state);
        drop(state);
        cell.tell();
        Ok(())
    }

    fn has_room(&mut self, frozen: &Frozen) -> Result<bool, Fault> {
        let layout = &frozen.home.layout;
        let moved = layout.is_mixed().then_some(write::MOVED_BYTES);
        let room = self.room.make(frozen.rows.bytes() + moved.unwrap_or(0))?;
        let short = !room || self.room.is_short();
        self.metrics.short.store(u64::from(short), Relaxed);
        Ok(room)
    }

    /// Writes what is frozen, and moves some rows into pages if there are any to be moved. How many removals that left in
    /// fjall.
    fn write(&self, frozen: &Frozen) -> Result<u64, Fault> {
        let start = Instant::now();
        let layout = &frozen.home.layout;
        let mut removals = write::write(&self.db, &frozen.home, &frozen.rows)?;
        if layout.is_mixed() {
            let moved = write::move_into_pages(&self.db, &frozen.home)?;
            removals += moved.rows;
            if moved.all {
                layout.all_paged();
            }
        }
        let metrics = &self.metrics;
        metrics.flushes.fetch_add(1, Relaxed);
        metrics
            .rows_written
            .fetch_add(frozen.rows.len() as u64, Relaxed);
        metrics.rows_elided.fetch_add(frozen.rows.elided(), Relaxed);
        metrics.flush_nanos.fetch_add(nanos_since(start), Relaxed);
        metrics
            .journals
            .store(self.db.journal_count() as u64, Relaxed);
        Ok(removals)
    }

    fn sync_is_due(&self, cells: &[Arc<Cell>]) -> bool {
        let now = Instant::now();
        let urgent = cells.iter().any(|cell| cell.lock().sync_is_urgent());
        urgent || self.sync_at(cells, now).is_some_and(|at| at <= now)
    }

    fn sync_at(&self, cells: &[Arc<Cell>], now: Instant) -> Option<Instant> {
        let due = cells
            .iter()
            .filter_map(|cell| cell.lock().sync_at(now, &self.options));
        Some(due.min()?.max(self.synced_at + self.options.sync_pause))
    }

    fn sync(&mut self, cells: &[Arc<Cell>]) -> Result<(), Fault> {
        // Read before the sync: what is written meanwhile may or may not be covered.
        let written: Vec<_> = cells.iter().map(|cell| cell.lock().written).collect();
        let start = Instant::now();
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(fault("sync rows"))?;
        self.synced_at = Instant::now();
        self.metrics.syncs.fetch_add(1, Relaxed);
        self.metrics
            .sync_nanos
            .fetch_add(nanos_since(start), Relaxed);
        for (cell, at) in cells.iter().zip(written) {
            cell.synced(at, &*self.options.segments);
        }
        Ok(())
    }

    /// When to look again without being woken; `None` while nothing is dirty.
    fn deadline(&self, cells: &[Arc<Cell>]) -> Option<Instant> {
        let now = Instant::now();
        let again = |cell: &Arc<Cell>| cell.lock().look_again_at(now, &self.options);
        let freezes = cells.iter().filter_map(again).min();
        freezes.into_iter().chain(self.sync_at(cells, now)).min()
    }
}
