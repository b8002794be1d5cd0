//! Keeping segments for somebody who reads them over a longer time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::log::SegmentId;
use crate::log::segment::SegmentFile;
use crate::log::shared::Shared;

/// Keeps segments from being given back, whatever the groups need. Dropping it gives them free.
pub struct LogPin {
    shared: Arc<Shared>,
    files: BTreeMap<SegmentId, Arc<SegmentFile>>,
}

impl LogPin {
    /// Every segment that is in use now. Whoever holds a file keeps its segment: see `State::take_recyclable`.
    pub(crate) fn all(shared: &Arc<Shared>) -> Self {
        let state = shared.lock();
        let segments = state.segments.iter();
        let files = segments.map(|(id, live)| (*id, Arc::clone(&live.file)));
        Self {
            files: files.collect(),
            shared: Arc::clone(shared),
        }
    }

    /// Gives free all but `segments`.
    pub fn narrow(&mut self, segments: &BTreeSet<SegmentId>) {
        self.files.retain(|id, _| segments.contains(id));
        self.look_again();
    }

    /// What was given free may be what the writer waits for.
    fn look_again(&self) {
        if self.shared.lock().look_for_recyclable() {
            self.shared.work.notify_all();
        }
    }
}

impl Drop for LogPin {
    fn drop(&mut self) {
        self.files.clear();
        self.look_again();
    }
}

impl fmt::Debug for LogPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}
