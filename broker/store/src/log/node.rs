//! The log of a node.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_model::GroupId;

use crate::disk::{self, File};
use crate::log::shared::{Shared, call_all};
use crate::log::threads::Threads;
use crate::log::{GroupLog, LogError, LogMetrics, LogOptions, SegmentId, recovery};
use crate::refs::Segments;

/// The log of a node, shared by all its groups. Dropping it closes it; [`Log::close`] tells whether that went well.
pub struct Log {
    shared: Arc<Shared>,
    is_new: bool,
    threads: Mutex<Option<Threads>>,
    /// Keeps other processes out until the log is closed.
    lock: File,
}

/// How much room is left without asking the disk for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes left in the active segment and in those that stand ready.
    pub free_bytes: u64,
    /// No further segment can be had: refuse what adds payload (507 `storage_full`); acks, receives and votes may go
    /// on in the reserve. Ends by itself.
    pub full: bool,
}

/// One live segment, for whoever decides what to spill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    /// The segment.
    pub id: SegmentId,
    /// Bytes of records in it.
    pub bytes: u64,
    /// How many groups still need it: for entries, or for payloads that their tables refer to.
    pub needed_by: usize,
    /// Whether it is the one being written.
    pub active: bool,
}

impl Log {
    /// Opens the log in `dir`, creating it (and the folder) when there is none. Blocks while it verifies every live
    /// segment; starts the writer thread.
    ///
    /// # Errors
    /// `Damage`: a record is unreadable that was known to be durable. `Lost`: the log ends before the watermark.
    /// `InUse`: another process has it. `Io`, also when there is no space for a first segment. `Options`.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        options.check()?;
        let dir = dir.as_ref();
        let lock = recovery::lock(dir)?;
        let opened = recovery::open(dir, &options)?;
        let active_left = opened.start.tail.left();
        let shared = Arc::new(Shared::new(dir.to_path_buf(), options, opened.state));
        shared.tell_space(&shared.lock(), active_left);
        let threads = Threads::start(&shared, opened.start, opened.spare_number)?;
        Ok(Self {
            shared,
            is_new: opened.is_new,
            threads: Mutex::new(Some(threads)),
            lock,
        })
    }

    /// Whether [`Log::open`] found nothing and made a new log. If the node has tables with a `last_applied`, that is a loss.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The groups that have ever written here, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        self.shared.lock().groups.keys().copied().collect()
    }

    /// The log of one group; it need not have been written to yet. Clones share everything.
    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog::new(Arc::clone(&self.shared), group)
    }

    /// How much room there is. Cheap: two atomic loads.
    pub fn space(&self) -> Space {
        self.shared.space()
    }

    /// The live segments in order, and who needs them.
    pub fn segments(&self) -> Vec<SegmentUse> {
        let state = self.shared.lock();
        let active = state.segments.keys().next_back().copied();
        let segment_use = |(id, live): (&SegmentId, &crate::log::state::Live)| SegmentUse {
            id: *id,
            bytes: u64::from(live.end),
            needed_by: state.needed_by(*id),
            active: active == Some(*id),
        };
        state.segments.iter().map(segment_use).collect()
    }

    /// The sealed segments that are kept for payloads alone, with the size of their files, in order: what could be
    /// given back if those were elsewhere.
    pub fn kept_for_payloads(&self) -> Vec<(SegmentId, u64)> {
        let state = self.shared.lock();
        let active = state.segments.keys().next_back().copied();
        let segments = state.segments.iter();
        let sealed = segments.filter(|(id, _)| active != Some(**id));
        let kept =
            sealed.filter(|(id, _)| state.needed_by(**id) > 0 && state.holds_payloads_only(**id));
        kept.map(|(id, live)| (*id, u64::from(live.file.size)))
            .collect()
    }

    /// Gives free what pins older than `age` keep: nobody may hold up the log for ever.
    pub fn expire_pins(&self, age: Duration) {
        let pins = self.shared.lock().pins.clone();
        let expired = pins.iter().filter_map(std::sync::Weak::upgrade);
        if expired.filter(|pin| pin.expire(age)).count() > 0 {
            tracing::warn!(
                "a snapshot was read for too long; the log does not wait for it any more"
            );
            self.shared.look_for_recyclable();
        }
    }

    /// What was counted.
    pub fn metrics(&self) -> Arc<LogMetrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Writes and syncs everything that waits, records the end in the watermark, and stops the writer. Operations after
    /// it get `Closed`, and so does what waits for room that the disk does not have: nobody was told that it is
    /// written. Reads still work. Further calls do nothing.
    ///
    /// # Errors
    /// The failure of the last write or sync, or an earlier one.
    pub fn close(&self) -> Result<(), Arc<LogError>> {
        {
            let mut state = self.shared.lock();
            state.closing = true;
            self.shared.work.notify_all();
            self.shared.room.notify_all();
            self.shared.spares.notify_all();
        }
        let threads = self
            .threads
            .lock()
            .map_or(None, |mut threads| threads.take());
        let Some(threads) = threads else {
            return Ok(());
        };
        let written = threads.join(&self.shared);
        call_all(
            self.shared.lock().take_waiters(),
            &Err(Arc::new(LogError::Closed)),
        );
        // Nothing is written from here on: others may have the files. Dropping the file would do the same, later.
        let _ = disk::flock(&self.lock, rustix::fs::FlockOperation::Unlock);
        match written {
            // The writer gave up waiting for room, which is no failure of what it wrote.
            Err(error) if matches!(*error, LogError::Closed) => Ok(()),
            written => written,
        }
    }
}

impl Segments for Log {
    fn segment_of(&self, group: GroupId, index: u64) -> Option<SegmentId> {
        self.group(group).segment_of(index)
    }

    fn flushed(&self, group: GroupId, applied: u64, live: &BTreeSet<SegmentId>) {
        self.group(group).flushed(applied, live);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the log was not closed cleanly");
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.shared.dir)
            .finish_non_exhaustive()
    }
}
