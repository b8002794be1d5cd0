//! Keeping segments for somebody who reads them over a longer time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::log::SegmentId;
use crate::log::segment::SegmentFile;
use crate::log::shared::Shared;

/// Keeps segments from being given back, whatever the groups need. Dropping it gives them free, and so does
/// [`Log::expire_pins`](crate::log::Log::expire_pins): what is read from them after that may be missing.
pub struct LogPin {
    shared: Arc<Shared>,
    held: Arc<Held>,
}

/// The segments of a pin. Whoever holds a file keeps its segment: see `State::take_recyclable`.
pub(crate) struct Held {
    began: Instant,
    files: Mutex<BTreeMap<SegmentId, Arc<SegmentFile>>>,
}

impl Held {
    fn files(&self) -> MutexGuard<'_, BTreeMap<SegmentId, Arc<SegmentFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives everything free when it is older than `age`; whether it did.
    pub(crate) fn expire(&self, age: Duration) -> bool {
        let old = self.began.elapsed() > age;
        old && !std::mem::take(&mut *self.files()).is_empty()
    }
}

impl LogPin {
    /// Every segment that is in use now.
    pub(crate) fn all(shared: &Arc<Shared>) -> Self {
        let mut state = shared.lock();
        let segments = state.segments.iter();
        let files = segments.map(|(id, live)| (*id, Arc::clone(&live.file)));
        let held = Arc::new(Held {
            began: Instant::now(),
            files: Mutex::new(files.collect()),
        });
        state.pins.retain(|pin| pin.strong_count() > 0);
        state.pins.push(Arc::downgrade(&held));
        drop(state);
        Self {
            shared: Arc::clone(shared),
            held,
        }
    }

    /// Gives free all but `segments`.
    pub fn narrow(&mut self, segments: &BTreeSet<SegmentId>) {
        self.held.files().retain(|id, _| segments.contains(id));
        self.shared.look_for_recyclable();
    }
}

impl Drop for LogPin {
    fn drop(&mut self) {
        self.held.files().clear();
        self.shared.look_for_recyclable();
    }
}

impl fmt::Debug for LogPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.held.files().keys()).finish()
    }
}
