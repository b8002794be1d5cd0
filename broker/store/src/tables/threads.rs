//! The thread of the flusher, and waiting for it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_model::Fault;

use crate::clock::Instant;
use crate::tables::cell::Cell;
use crate::tables::flusher::{Desk, Flusher};
use crate::tables::state::State;

/// What an owner waits on.
#[derive(Default)]
pub(crate) struct Changed(Condvar);

impl Changed {
    /// Wakes whoever waits.
    pub(crate) fn tell(&self) {
        self.0.notify_all();
    }

    /// Waits while `busy`, for `max` at most; whether it came to an end.
    pub(crate) fn wait_while<'a>(
        &self,
        _: &'a Mutex<State>,
        state: MutexGuard<'a, State>,
        max: Duration,
        busy: impl FnMut(&mut State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        let waited = self.0.wait_timeout_while(state, max, busy);
        let (state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, !outcome.timed_out())
    }
}

/// What the flusher waits on.
#[derive(Default)]
pub(crate) struct Engine(Condvar);

impl Engine {
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }

    /// `cell` is served from now on.
    #[allow(clippy::unused_self, reason = "a simulated one has to know")]
    pub(crate) fn serve(&self, _: &Cell) {}
}

impl Desk {
    /// Sleeps until woken or `deadline`; `None` when it is time to end.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<Vec<Arc<Cell>>> {
        let mut signal = self.lock();
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if signal.stopped {
                return None;
            }
            if signal.woken || left.is_some_and(|left| left.is_zero()) {
                signal.woken = false;
                return Some(signal.cells.clone());
            }
            signal = match left {
                None => self
                    .engine
                    .0
                    .wait(signal)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.engine.0.wait_timeout(signal, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Does `work` on a thread of its own that runs behind others, as does every thread that starts there. Tables are written later than
/// anybody waits for, and on a full machine what is flushed and compacted would take turns with requests. They fall behind no
/// further than memory allows: then the group that fills it waits for them.
///
/// # Panics
/// When `work` does.
pub(crate) fn behind_others<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let behind = std::thread::Builder::new()
            .name("tables-open".into())
            .spawn_scoped(scope, || {
                run_behind_others();
                work()
            })?;
        let done = behind.join();
        Ok(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Lets this thread, and those that it starts, come after others.
fn run_behind_others() {
    /// Niceness is -20 to 19. Five steps are a third of the weight: on a machine that others keep busy, a quarter of a core is left, which
    /// is what the tables of a broker take that is filled as fast as it goes.
    const BEHIND_OTHERS: i32 = 5;
    if let Err(error) = rustix::process::nice(BEHIND_OTHERS) {
        tracing::debug!(%error, "tables are written at the priority of all threads");
    }
}

/// The thread of the flusher.
pub(crate) struct FlusherThread(JoinHandle<()>);

impl FlusherThread {
    pub(crate) fn start(flusher: Flusher) -> Result<Self, Fault> {
        let spawned = std::thread::Builder::new()
            .name("tables".into())
            .spawn(move || {
                run_behind_others();
                flusher.run();
            });
        let failed = |error| Fault::new("start the flusher of tables", error);
        spawned.map(Self).map_err(failed)
    }

    /// Waits until it has ended, as it was told to.
    pub(crate) fn join(self) {
        // Its panics are caught and told as faults.
        self.0.join().ok();
    }
}
