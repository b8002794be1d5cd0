//! What the thread of the flusher does, done by a task of the simulated node, or at once by whoever would wait for it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use millrace_model::Fault;
use tokio::sync::Notify;

use crate::clock::Instant;
use crate::tables::cell::Cell;
use crate::tables::flusher::{Desk, Flusher};
use crate::tables::state::State;

/// Who is to be driven by those who wait.
#[derive(Default)]
pub(crate) struct Changed(OnceLock<Weak<Rest>>);

impl Changed {
    /// Nobody ever waits.
    #[allow(clippy::unused_self, reason = "as with threads")]
    pub(crate) fn tell(&self) {}

    /// Lets the flusher work while `busy`; false when that leads nowhere.
    pub(crate) fn wait_while<'a>(
        &self,
        mutex: &'a Mutex<State>,
        mut state: MutexGuard<'a, State>,
        _: Duration,
        mut busy: impl FnMut(&mut State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        /// A turn may freeze, the next one write, and one more sync.
        const TURNS_MAX: usize = 8;
        for _ in 0..TURNS_MAX {
            if !busy(&mut state) {
                return (state, true);
            }
            drop(state);
            if let Some(rest) = self.0.get().and_then(Weak::upgrade) {
                rest.turn();
            }
            state = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let came = !busy(&mut state);
        (state, came)
    }
}

/// There are no threads.
#[allow(clippy::unnecessary_wraps, reason = "as with threads")]
pub(crate) fn behind_others<T>(work: impl FnOnce() -> T) -> std::io::Result<T> {
    Ok(work())
}

/// The flusher, while it is not at work.
#[derive(Default)]
pub(crate) struct Engine(Arc<Rest>);

#[derive(Default)]
struct Rest {
    wake: Notify,
    flusher: Mutex<Option<Flusher>>,
}

impl Engine {
    pub(crate) fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// `cell` is served from now on.
    pub(crate) fn serve(&self, cell: &Cell) {
        let _ = cell.changes().0.set(Arc::downgrade(&self.0));
    }
}

impl Rest {
    fn lock(&self) -> MutexGuard<'_, Option<Flusher>> {
        self.flusher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and syncs what is due; when to look again.
    fn turn(&self) -> Option<Instant> {
        let mut flusher = self.lock().take()?;
        let mut signal = flusher.desk.lock();
        if signal.stopped {
            return None;
        }
        signal.woken = false;
        let cells = signal.cells.clone();
        drop(signal);
        match flusher.turn(&cells) {
            Ok(deadline) => {
                *self.lock() = Some(flusher);
                deadline
            }
            Err(fault) => {
                flusher.desk.fail(&fault);
                None
            }
        }
    }
}

async fn run(desk: Weak<Desk>, rest: Arc<Rest>) {
    let mut deadline = None;
    loop {
        let woken = rest.wake.notified();
        match deadline {
            None => woken.await,
            Some(deadline) => {
                let _ = tokio::time::timeout_at(deadline, woken).await;
            }
        }
        if desk.upgrade().is_none() {
            return;
        }
        deadline = rest.turn();
    }
}

/// Ends the flusher.
pub(crate) struct FlusherThread(Arc<Rest>);

impl FlusherThread {
    #[allow(clippy::unnecessary_wraps, reason = "as with threads")]
    pub(crate) fn start(flusher: Flusher) -> Result<Self, Fault> {
        let rest = Arc::clone(&flusher.desk.engine.0);
        let desk = Arc::downgrade(&flusher.desk);
        *rest.lock() = Some(flusher);
        tokio::spawn(run(desk, Arc::clone(&rest)));
        Ok(Self(rest))
    }

    /// It holds what holds it.
    pub(crate) fn join(self) {
        self.0.lock().take();
    }
}
