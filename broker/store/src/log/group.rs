//! One group's view of the log.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use millrace_model::GroupId;

use crate::log::group_state::GroupState;
use crate::log::op::Action;
use crate::log::payload::Source;
use crate::log::record::Body;
use crate::log::segment::SegmentFile;
use crate::log::shared::Shared;
use crate::log::state::State;
use crate::log::{LogEntry, LogError, LogId, LogPin, SegmentId, Space, read};

/// The largest vote, in bytes.
const VOTE_BYTES_MAX: usize = 4096;

/// Told once when an operation is durable (`Ok`) or never will be. Runs on the writer thread, in the order of the
/// operations over all groups: hand on, do not work or block in it, and do not call a writing method of the log.
pub type Done = Box<dyn FnOnce(Result<(), Arc<LogError>>) + Send>;

/// One group's view of the log. Cheap to clone; all clones see the same. Calls that write are to be made in order by
/// one caller (Raft serialises them); reads may come from anywhere.
#[derive(Clone)]
pub struct GroupLog {
    pub(super) shared: Arc<Shared>,
    pub(super) group: GroupId,
}

impl GroupLog {
    pub(crate) fn new(shared: Arc<Shared>, group: GroupId) -> Self {
        Self { shared, group }
    }

    /// Which group this is.
    pub fn id(&self) -> GroupId {
        self.group
    }

    /// Appends `entries`, readable by everybody on return; `done` comes after the fdatasync that covers them.
    /// Bodies are not copied: they are written from where they are. Blocks only while
    /// [`LogOptions::queue_bytes`](crate::log::LogOptions::queue_bytes) wait for the disk.
    ///
    /// The first index of an empty log is free; after that they are consecutive (after a purge beyond the end: from there).
    ///
    /// # Errors
    /// `OutOfOrder`, `TooLarge`, `Poisoned`, `Closed`: nothing was taken and `done` is never called.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), Arc<LogError>> {
        let body_max = self.shared.options.body_bytes_max();
        if let Some(large) = entries.iter().find(|entry| entry.body.len() > body_max) {
            return Err(Arc::new(LogError::TooLarge {
                bytes: large.body.len(),
                max: body_max,
            }));
        }
        // Checksums are the costly part: made here, on the caller's thread and outside the lock.
        let records = entries
            .iter()
            .map(|entry| (entry.id(), entry.tag, Body::new(entry.body.clone())))
            .collect();
        let bytes = entries.iter().map(|entry| entry.body.len()).sum();
        let mut state = self.wait_for_room()?;
        let last = state.groups.get(&self.group).and_then(|group| group.last);
        check_order(self.group, last, &entries).map_err(Arc::new)?;
        let op = state.submit(self.group, Action::Append(records), bytes, Some(done));
        state.remember(op, self.group, entries);
        self.shared.work.notify_all();
        Ok(())
    }

    /// Drops every entry after `index`; `None` drops all that are not purged. Effective for readers on return.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`; `Missing` when `index` was purged or lies beyond the end.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) -> Result<(), Arc<LogError>> {
        let mut state = self.lock_writable()?;
        let group = state.groups.entry(self.group).or_default();
        let Some(last) = group.last_if_kept(index) else {
            return Err(Arc::new(LogError::Missing {
                group: self.group,
                index: index.unwrap_or(0),
            }));
        };
        let freed = group.truncate(last);
        state.freed(freed);
        state.submit(self.group, Action::Truncate(last), 0, Some(done));
        self.shared.work.notify_all();
        Ok(())
    }

    /// Drops every entry up to `upto`, which may lie beyond the end (a snapshot was installed). Logical: the payloads
    /// stay readable through [`GroupLog::payload`] while their segment lives. Nothing happens if it was purged so far already. Not waited for; made durable with the next sync.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn purge(&self, upto: LogId) -> Result<(), Arc<LogError>> {
        let mut state = self.lock_writable()?;
        let group = state.groups.entry(self.group).or_default();
        if group
            .purged
            .is_some_and(|purged| purged.index >= upto.index)
        {
            return Ok(());
        }
        let freed = group.purge(upto);
        state.freed(freed);
        state.submit(self.group, Action::Purge(upto), 0, None);
        self.shared.work.notify_all();
        Ok(())
    }

    /// Stores the group's vote (any bytes but none, at most 4 KiB) and tells `done` when it is durable.
    ///
    /// # Errors
    /// `TooLarge`, `Poisoned`, `Closed`.
    pub fn save_vote(&self, vote: Bytes, done: Done) -> Result<(), Arc<LogError>> {
        if vote.is_empty() || vote.len() > VOTE_BYTES_MAX {
            return Err(Arc::new(LogError::TooLarge {
                bytes: vote.len(),
                max: VOTE_BYTES_MAX,
            }));
        }
        let body = Body::new(vote.clone());
        let mut state = self.lock_writable()?;
        state.groups.entry(self.group).or_default().vote = Some(vote);
        state.submit(self.group, Action::Vote(body), 0, Some(done));
        self.shared.work.notify_all();
        Ok(())
    }

    /// The vote saved last.
    pub fn read_vote(&self) -> Option<Bytes> {
        self.with(|group| group.vote.clone())
    }

    /// Remembers how far the group has committed. Written along with the next batch, at idle, and at close: after a
    /// crash an older value may come back, never a newer one. Costs no I/O by itself.
    pub fn save_committed(&self, committed: Option<LogId>) {
        let mut state = self.shared.lock();
        let group = state.groups.entry(self.group).or_default();
        if group.committed != committed {
            (group.committed, group.committed_is_new) = (committed, true);
        }
    }

    /// The committed position saved last.
    pub fn read_committed(&self) -> Option<LogId> {
        self.with(|group| group.committed)
    }

    /// The last entry, or where the log was purged to when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.with(|group| group.last)
    }

    /// How far the log was purged.
    pub fn purged(&self) -> Option<LogId> {
        self.with(|group| group.purged)
    }

    /// The position of the entry at `index`, when it is there and not purged. Reads no disk: use it for Raft's key log ids.
    pub fn log_id(&self, index: u64) -> Option<LogId> {
        self.with(|group| group.log_id(index))
    }

    /// The entries of `range` that the log holds, in order, as of the call. Stops once `byte_budget` bytes of bodies
    /// are exceeded, yet is never empty while the first one exists. What was purged or is not there is left out at the ends.
    ///
    /// # Errors
    /// `Io`, `Damage`.
    pub fn read(
        &self,
        range: impl RangeBounds<u64>,
        byte_budget: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let mut entries = Vec::new();
        for source in self.sources(range, byte_budget) {
            entries.push(match source {
                Source::Memory(entry) => entry,
                Source::Disk { file, place } => {
                    self.count_disk_read(place.slot.body_len as usize);
                    read::entry(&file, self.group, &place, SegmentFile::read_at)?
                }
            });
        }
        Ok(entries)
    }

    /// The last index such that it and all before it are on disk; `None` when nothing is. Apply no entry beyond it.
    pub fn durable_index(&self) -> Option<u64> {
        self.with(GroupState::durable_index)
    }

    /// How much room there is for all groups. Cheap: two atomic loads.
    pub fn space(&self) -> Space {
        self.shared.space()
    }

    /// Calls `done` when `durable_index` has reached `index`: at once, on this thread, if it has.
    pub fn when_durable(&self, index: u64, done: Done) {
        let mut state = self.shared.lock();
        let group = state.groups.entry(self.group).or_default();
        let result = if group.is_durable(index) {
            Ok(())
        } else if let Err(error) = state.check_writable() {
            Err(error)
        } else {
            state
                .groups
                .entry(self.group)
                .or_default()
                .wait(index, done);
            return;
        };
        drop(state);
        done(result);
    }

    /// Blocks until `durable_index` has reached `index`.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn wait_durable(&self, index: u64) -> Result<(), Arc<LogError>> {
        match self.tell_durable(index) {
            None => Ok(()),
            Some(told) => told
                .recv()
                .unwrap_or_else(|_| Err(Arc::new(LogError::Closed))),
        }
    }

    /// Blocks until `durable_index` has reached `index`, for so long at most: whether it has.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn wait_durable_for(&self, index: u64, most: Duration) -> Result<bool, Arc<LogError>> {
        let Some(told) = self.tell_durable(index) else {
            return Ok(true);
        };
        match told.recv_timeout(most) {
            Ok(result) => result.map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(Arc::new(LogError::Closed)),
        }
    }

    /// Where it is told that `index` is durable; `None` when it is already.
    fn tell_durable(&self, index: u64) -> Option<mpsc::Receiver<Result<(), Arc<LogError>>>> {
        if self
            .with(|group| group.is_durable(index).then_some(()))
            .is_some()
        {
            return None;
        }
        let (tell, told) = mpsc::sync_channel(1);
        self.when_durable(
            index,
            Box::new(move |result| {
                // Nobody listens any more: nothing is lost.
                let _ = tell.send(result);
            }),
        );
        #[cfg(simulation)]
        self.shared.turn();
        Some(told)
    }

    /// The group's tables are synced with everything up to and including `applied`, and `live` are the segments that
    /// they refer to: see [`crate::refs`], which this serves. Segments are given back only on the word of it.
    pub fn flushed(&self, applied: u64, live: &BTreeSet<SegmentId>) {
        let mut state = self.shared.lock();
        if let Some(gone) = live
            .iter()
            .find(|segment| !state.segments.contains_key(segment))
        {
            tracing::error!(group = %self.group, segment = gone.0, "tables refer to a log segment that is gone");
        }
        state
            .groups
            .entry(self.group)
            .or_default()
            .pins
            .set_flushed(applied, live.clone());
        if state.look_for_recyclable() {
            self.shared.work.notify_all();
        }
    }

    /// The segment that holds entry `index`, purged or not; `None` while it is not yet on disk.
    pub fn segment_of(&self, index: u64) -> Option<SegmentId> {
        self.with(|group| group.index.get(index).map(|place| place.segment))
    }

    /// The entries in `segments`, purged or not, as runs of consecutive ones in order: first, last, and the segment.
    pub(crate) fn runs_in(&self, segments: &BTreeSet<SegmentId>) -> Vec<(u64, u64, SegmentId)> {
        self.with(|group| Some(group.index.runs_in(segments)))
            .unwrap_or_default()
    }

    /// Keeps every segment that is there now from being given back, until the pin is narrowed or dropped.
    pub fn pin(&self) -> LogPin {
        LogPin::all(&self.shared)
    }

    /// The last entry of this group that may be purged so that at least `bytes` of log stay behind the end of the
    /// stream; `None` when there is nothing before them. Counts whole segments, of all groups together.
    pub fn before_last_bytes(&self, bytes: u64) -> Option<u64> {
        let state = self.shared.lock();
        let mut kept = 0;
        let older = state.segments.iter().rev().skip_while(|(_, live)| {
            let keep = kept < bytes;
            kept += u64::from(live.end);
            keep
        });
        let older: BTreeSet<_> = older.map(|(id, _)| *id).collect();
        let group = state.groups.get(&self.group)?;
        group.pins.last_index_in(&older)
    }

    /// What `ask` finds about this group; nothing when the group has never been heard of.
    fn with<T>(&self, ask: impl FnOnce(&GroupState) -> Option<T>) -> Option<T> {
        self.shared.lock().groups.get(&self.group).and_then(ask)
    }

    fn lock_writable(&self) -> Result<MutexGuard<'_, State>, Arc<LogError>> {
        let state = self.shared.lock();
        state.check_writable()?;
        Ok(state)
    }

    /// The lock, once the queue is short enough to take more.
    fn wait_for_room(&self) -> Result<MutexGuard<'_, State>, Arc<LogError>> {
        let mut state = self.lock_writable()?;
        while state.queue_bytes >= self.shared.options.queue_bytes {
            state = self.shared.wait(&self.shared.room, state);
            state.check_writable()?;
        }
        Ok(state)
    }

    /// Where the entries of `range` are to be had, up to the budget.
    fn sources(&self, range: impl RangeBounds<u64>, byte_budget: usize) -> Vec<Source> {
        let state = self.shared.lock();
        let Some((from, to)) = state
            .groups
            .get(&self.group)
            .and_then(|group| bounds(group, &range))
        else {
            return Vec::new();
        };
        let (mut sources, mut bytes) = (Vec::new(), 0);
        for index in from..=to {
            // Before the first entry of a log that was never purged there is nothing.
            let Ok(source) = self.source(&state, index) else {
                continue;
            };
            bytes += source.body_len();
            if bytes > byte_budget && !sources.is_empty() {
                break;
            }
            sources.push(source);
        }
        sources
    }

    /// Where the entry at `index` is to be had, purged or not.
    pub(super) fn source(&self, state: &State, index: u64) -> Result<Source, LogError> {
        let missing = LogError::Missing {
            group: self.group,
            index,
        };
        let Some(group) = state.groups.get(&self.group) else {
            return Err(missing);
        };
        if let Some(entry) = group.cache.get(index) {
            return Ok(Source::Memory(entry.clone()));
        }
        if group.last.is_none_or(|last| index > last.index) {
            return Err(missing);
        }
        let place = group.index.get(index).ok_or(missing)?;
        let live = state
            .segments
            .get(&place.segment)
            .expect("the index knows live segments only");
        Ok(Source::Disk {
            file: Arc::clone(&live.file),
            place,
        })
    }

    pub(super) fn count_disk_read(&self, bytes: usize) {
        use std::sync::atomic::Ordering::Relaxed;
        self.shared.metrics.disk_reads.fetch_add(1, Relaxed);
        self.shared
            .metrics
            .disk_bytes_read
            .fetch_add(bytes as u64, Relaxed);
    }
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupLog")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

fn check_order(group: GroupId, last: Option<LogId>, entries: &[LogEntry]) -> Result<(), LogError> {
    let mut last = last.map(|last| last.index);
    for entry in entries {
        if let Some(last) = last.filter(|last| last + 1 != entry.index) {
            return Err(LogError::OutOfOrder {
                group,
                last,
                got: entry.index,
            });
        }
        last = Some(entry.index);
    }
    Ok(())
}

/// The part of `range` that lies within the log: first and last index.
fn bounds(group: &GroupState, range: &impl RangeBounds<u64>) -> Option<(u64, u64)> {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(to) => *to,
        Bound::Excluded(end) => end.checked_sub(1)?,
        Bound::Unbounded => u64::MAX,
    };
    let first = group.purged.map_or(0, |purged| purged.index + 1);
    let (from, to) = (from.max(first), to.min(group.last?.index));
    (from <= to).then_some((from, to))
}
