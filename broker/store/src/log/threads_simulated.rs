//! What the threads of a log do, done by a task of the simulated node, or at once by whoever would wait for it: in an order
//! that the seed decides.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LockResult, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::fault::IoFault;
use crate::log::shared::Shared;
use crate::log::state::State;
use crate::log::writer::{Start, Writer};
use crate::log::{LogError, spares};
use crate::simulation;

/// Wakes the task.
pub(crate) struct Signal(Arc<Notify>);

/// Whether a wait came to its end. It always does here.
pub(crate) struct Waited;

impl Waited {
    pub(crate) fn timed_out(&self) -> bool {
        true
    }
}

impl Signal {
    pub(crate) fn notify_all(&self) {
        self.0.notify_one();
    }

    /// Nobody waits in a simulation.
    pub(crate) fn wait_timeout<'a>(
        &self,
        state: MutexGuard<'a, State>,
        _: Duration,
    ) -> LockResult<(MutexGuard<'a, State>, Waited)> {
        Ok((state, Waited))
    }
}

/// The writer, when it is not at work, and what became of it.
#[derive(Default)]
pub(crate) struct Engine {
    wake: Arc<Notify>,
    at_rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    writer: Option<Writer>,
    spare_number: u64,
    ended: Option<Result<(), Arc<LogError>>>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn signal(&self) -> Signal {
        Signal(Arc::clone(&self.wake))
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.at_rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing: a task ends with its node.
pub(crate) struct Threads;

impl Threads {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        start: Start,
        spare_number: u64,
    ) -> Result<Self, LogError> {
        let writer = Writer::new(Arc::clone(shared), start);
        *shared.engine.lock() = Rest {
            writer: Some(writer),
            spare_number,
            ended: None,
        };
        let wake = Arc::clone(&shared.engine.wake);
        wake.notify_one();
        let (weak, retry) = (Arc::downgrade(shared), shared.options.full_retry);
        tokio::spawn(run(wake, weak, shared.dir.clone(), retry));
        Ok(Self)
    }

    #[allow(clippy::unused_self, reason = "as with threads")]
    pub(crate) fn join(self, shared: &Shared) -> Result<(), Arc<LogError>> {
        shared.turn();
        let mut rest = shared.engine.lock();
        // It holds what holds it.
        rest.writer = None;
        rest.ended.take().unwrap_or(Ok(()))
    }
}

async fn run(wake: Arc<Notify>, shared: Weak<Shared>, dir: PathBuf, retry: Duration) {
    loop {
        // Nobody tells when a full disk has room again.
        let _ = tokio::time::timeout(retry, wake.notified()).await;
        tokio::time::sleep(Duration::from_millis(simulation::sync_ms(&dir))).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.turn();
    }
}

impl Shared {
    /// Gives up the lock and does what is waited for.
    pub(crate) fn wait<'a>(
        &'a self,
        _: &Signal,
        state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        drop(state);
        self.turn();
        self.lock()
    }

    /// Does all that there is to do for the threads of a log.
    pub(crate) fn turn(&self) {
        self.make_spares();
        let Some(mut writer) = self.engine.lock().writer.take() else {
            return;
        };
        while self.has_space(&writer)
            && let Some(work) = self.next_work()
        {
            if let Some(ended) = writer.perform(work) {
                self.engine.lock().ended = Some(ended);
                return;
            }
        }
        self.engine.lock().writer = Some(writer);
        self.make_spares();
    }

    /// Whether the disk has room for all that is to be written. A thread would wait in the middle of it.
    fn has_space(&self, writer: &Writer) -> bool {
        let state = self.lock();
        let bytes = state.queue_bytes();
        let spare = state.free.len() * self.options.segment_bytes as usize / 2;
        !state.starved || state.closing || bytes <= spare || writer.fits(bytes)
    }

    fn next_work(&self) -> Option<crate::log::state::Work> {
        let mut state = self.lock();
        if state.poison.is_some() {
            return None;
        }
        state.next_work()
    }

    fn wants_spare(&self) -> bool {
        let state = self.lock();
        state.free.len() < self.options.spare_segments && !state.closing
    }

    fn make_spares(&self) {
        let (dir, size) = (&self.dir, self.options.segment_bytes);
        let mut starved = false;
        while self.wants_spare() && !starved {
            let number = self.engine.lock().spare_number;
            match self
                .find_room()
                .and_then(|()| spares::make(dir, number, size, || false))
            {
                Ok(path) => {
                    self.engine.lock().spare_number += 1;
                    self.lock().free.push(path);
                }
                Err(fault) if fault.is_full() => starved = true,
                // The disk is dead: nobody is to wait for a segment any more.
                Err(_) => self.lock().closing = true,
            }
        }
        let mut state = self.lock();
        state.starved = starved;
        self.tell_full(&state);
    }

    /// A writer that needs a segment gets one, whatever others are left with: it cannot wait here.
    fn find_room(&self) -> Result<(), IoFault> {
        if self.writer_waits.load(Relaxed) {
            return Ok(());
        }
        spares::has_room(self)
    }
}
