//! One group's shared state, and waiting for it.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_model::{Fault, GroupId};

use crate::log::SegmentId;
use crate::refs::Segments;
use crate::tables::state::{Position, State};

/// One group's shared state. The mutex is nearly never contended: the flusher takes it a few times a second.
pub(crate) struct Cell {
    /// Which group this is.
    pub(crate) id: GroupId,
    state: Mutex<State>,
    changed: Condvar,
}

/// How long an owner waits for the flusher before it takes fjall for stuck: its workers may die while a writer sleeps
/// until they have caught up.
const STUCK: Duration = Duration::from_secs(60);

impl Cell {
    pub(crate) fn new(id: GroupId, state: State) -> Self {
        Self {
            id,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The state. A panic of the other thread leaves a fault in it, so a poisoned lock says nothing new.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for a change of the state.
    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }

    /// Waits while `busy`, but not when something has failed; a flusher that makes no progress is a fault,
    /// unless the disk is full.
    pub(crate) fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        busy: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waiting = |state: &mut State| state.fault.is_none() && busy(state);
        let mut state = state;
        loop {
            let waited = self.changed.wait_timeout_while(state, STUCK, waiting);
            let (now, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            state = now;
            if !outcome.timed_out() {
                return state;
            }
            if !state.held {
                state.fail(Fault::new("write tables", "no progress for a minute"));
            }
        }
    }

    /// Takes note of a sync and tells the log. The log is told under the lock, so that it hears in order.
    pub(crate) fn synced(&self, at: Position, segments: &dyn Segments) {
        let mut state = self.lock();
        state.was_synced(at);
        let live: BTreeSet<SegmentId> = state.counts.needed();
        segments.flushed(self.id, state.synced.applied, &live);
        drop(state);
        self.tell();
    }

    /// Lets every later call fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().fail(fault);
        self.tell();
    }
}
