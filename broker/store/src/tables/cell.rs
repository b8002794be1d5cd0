//! One group's shared state, and waiting for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_model::{Fault, GroupId};

use crate::clock::Instant;
use crate::log::SegmentId;
use crate::refs::Segments;
use crate::tables::flusher::Desk;
use crate::tables::home::Home;
use crate::tables::state::{Position, State, View};
use crate::tables::threads::Changed;

/// One group's shared state. The mutex is nearly never contended: the flusher takes it a few times a second.
pub(crate) struct Cell {
    /// Which group this is.
    pub(crate) id: GroupId,
    state: Mutex<State>,
    changed: Changed,
    /// [`Spilled::floor`](crate::tables::spilled::Spilled), for readers without the lock.
    floor: Arc<AtomicU64>,
}

/// How long an owner waits for the flusher before it takes fjall for stuck: its workers may die while a writer sleeps
/// until they have caught up.
const STUCK: Duration = Duration::from_secs(60);

impl Cell {
    pub(crate) fn new(id: GroupId, state: State) -> Self {
        Self {
            id,
            floor: Arc::new(AtomicU64::new(state.spilled.floor)),
            state: Mutex::new(state),
            changed: Changed::default(),
        }
    }

    /// The entry up to which no payload is to be read from the log.
    pub(crate) fn floor(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.floor)
    }

    /// Sets what [`Cell::floor`] says; under the lock that changes the state.
    pub(crate) fn set_floor(&self, floor: u64) {
        self.floor.store(floor, Ordering::Release);
    }

    /// The state. A panic of the other thread leaves a fault in it, so a poisoned lock says nothing new.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for a change of the state.
    pub(crate) fn tell(&self) {
        self.changed.tell();
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
            let (now, came) = self.changed.wait_while(&self.state, state, STUCK, waiting);
            state = now;
            if came {
                return state;
            }
            if !state.held {
                state.fail(Fault::new("write tables", "no progress for a minute"));
            }
        }
    }

    /// Waits until fjall holds everything that is committed now, synced if asked for, and takes a view of it. Neither
    /// the owner nor the flusher is held up.
    ///
    /// # Errors
    /// A fault; the disk is full; the tables were closed, or replaced meanwhile.
    pub(crate) fn view(&self, desk: &Desk, synced: bool) -> Result<(View, Home), Fault> {
        let mut state = self.lock();
        let wanted = state.commit_aside(Instant::now());
        if synced {
            state.sync_urgent = wanted;
        }
        let generation = state.home.generation;
        state.views_wanted += 1;
        desk.wake();
        let mut state = self.wait_for_view(state, wanted, generation, synced);
        state.views_wanted -= 1;
        let found = state.view.clone().filter(|view| view.at.seq >= wanted);
        if state.views_wanted == 0 {
            state.view = None;
        }
        state.check()?;
        let same = state.home.generation == generation && !state.closed;
        let done = !synced || state.synced.seq >= wanted;
        let view = found.filter(|_| same && done);
        let none = || {
            Fault::new(
                "look at rows",
                "they cannot be written now, or were replaced",
            )
        };
        view.map(|view| (view, state.home.clone())).ok_or_else(none)
    }

    fn wait_for_view<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        wanted: u64,
        generation: u64,
        synced: bool,
    ) -> MutexGuard<'a, State> {
        let waiting = |state: &mut State| {
            let there = state
                .view
                .as_ref()
                .is_some_and(|view| view.at.seq >= wanted)
                && (!synced || state.synced.seq >= wanted);
            let hopeless = state.fault.is_some()
                || state.closed
                || state.held
                || state.home.generation != generation;
            !there && !hopeless
        };
        self.changed
            .wait_while(&self.state, state, STUCK, waiting)
            .0
    }

    /// What those who wait for the flusher wait on.
    #[cfg(simulation)]
    pub(crate) fn changes(&self) -> &Changed {
        &self.changed
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
