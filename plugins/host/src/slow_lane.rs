//! [`SlowLane`]: what keeps plugins that run long from taking every core.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A call that has run for a whole slice goes on only in the slow lane, which is half as wide as the machine, a slice at a
/// time and in turn. Whoever loops delays those who loop; calls of microseconds never come here.
#[derive(Clone)]
pub(crate) struct SlowLane(Arc<Semaphore>);

/// The place of one call in the lane, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl SlowLane {
    /// A lane for half of the machine's cores, at least one.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new((cores / 2).max(1))))
    }

    /// Gives the worker thread to others, then waits for a place.
    pub(crate) async fn take(self, place: Place) {
        tokio::task::yield_now().await;
        let permit = self.0.acquire_owned().await.ok();
        debug_assert!(permit.is_some(), "the semaphore is never closed");
        place.set(permit);
    }
}

impl Place {
    /// Leaves the lane.
    pub(crate) fn leave(&self) {
        self.set(None);
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}
