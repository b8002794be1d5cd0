//! The state with its lock, its signals and what is read without the lock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::state::State;
use crate::log::threads::{Engine, Signal};
use crate::log::{Done, LogError, LogMetrics, LogOptions, Space};

/// A ready segment that payloads may not use once the disk is full: it is left to acks, receives and votes.
const RESERVE_SEGMENTS: usize = 1;

/// What one log's handles and threads share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) metrics: Arc<LogMetrics>,
    state: Mutex<State>,
    /// The writer has something to do.
    pub(crate) work: Signal,
    /// The queue has become shorter.
    pub(crate) room: Signal,
    /// A free segment was taken, or the log closes.
    pub(crate) spares: Signal,
    /// The writer has no segment to go on with.
    pub(crate) writer_waits: AtomicBool,
    free_bytes: AtomicU64,
    full: AtomicBool,
    /// What a simulated log has in place of threads.
    #[cfg_attr(not(simulation), allow(dead_code))]
    pub(crate) engine: Engine,
}

impl Shared {
    pub(crate) fn new(dir: PathBuf, options: LogOptions, state: State) -> Self {
        let engine = Engine::new();
        Self {
            dir,
            options,
            metrics: Arc::default(),
            state: Mutex::new(state),
            work: engine.signal(),
            room: engine.signal(),
            spares: engine.signal(),
            writer_waits: AtomicBool::new(false),
            free_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            engine,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("a panic under the log's lock is a bug, and nothing may be written after it")
    }

    /// Waits on `signal`, with the lock given up meanwhile.
    #[cfg(not(simulation))]
    pub(crate) fn wait<'a>(
        &self,
        signal: &Signal,
        state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        signal
            .wait(state)
            .expect("a panic under the log's lock is a bug, and nothing may be written after it")
    }

    /// Publishes how much room there is; to be called whenever segments come or go.
    pub(crate) fn tell_space(&self, state: &State, active_left: u32) {
        let free = state.free.len() as u64;
        self.free_bytes.store(
            free * u64::from(self.options.segment_bytes) + u64::from(active_left),
            Relaxed,
        );
        self.tell_full(state);
        self.metrics
            .segments_live
            .store(state.segments.len() as u64, Relaxed);
        self.metrics.segments_free.store(free, Relaxed);
    }

    /// Publishes whether the disk is full.
    pub(crate) fn tell_full(&self, state: &State) {
        let starved = state.starved && state.free.len() <= RESERVE_SEGMENTS;
        self.full.store(starved || state.stuck, Relaxed);
    }

    pub(crate) fn space(&self) -> Space {
        Space {
            free_bytes: self.free_bytes.load(Relaxed),
            full: self.full.load(Relaxed),
        }
    }

    /// Segments were given free by somebody who is no group: they may be what the writer waits for.
    pub(crate) fn look_for_recyclable(&self) {
        if self.lock().look_for_recyclable() {
            self.work.notify_all();
        }
    }

    /// Nothing is written from now on; tells everybody who waits.
    pub(crate) fn fail(&self, error: &Arc<LogError>) {
        let waiting = self.lock().fail(Arc::clone(error));
        for signal in [&self.work, &self.room, &self.spares] {
            signal.notify_all();
        }
        call_all(waiting, &Err(Arc::clone(error)));
    }
}

/// Calls every callback with `result`. Never under the lock: they may read the log.
pub(crate) fn call_all(callbacks: Vec<Done>, result: &Result<(), Arc<LogError>>) {
    for callback in callbacks {
        callback(result.clone());
    }
}
