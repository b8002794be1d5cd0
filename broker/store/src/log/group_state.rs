//! What memory knows of one group.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::log::cache::Cache;
use crate::log::index::Index;
use crate::log::pins::Pins;
use crate::log::{Done, LogEntry, LogId, SegmentId};

/// Entries of one append that are not yet durable.
#[derive(Clone, Copy, Debug)]
struct Pending {
    op: u64,
    first: u64,
    last: u64,
}

/// What memory knows of one group.
///
/// `vote` to `pending` are as of the last call of the group's owner, ahead of the disk; `index`, `purged_durably` and
/// `pins` are as of the last sync. An entry that is not yet synced is in `cache`, always.
#[derive(Default)]
pub(crate) struct GroupState {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<LogId>,
    /// `committed` has changed since it was written.
    pub(crate) committed_is_new: bool,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) cache: Cache,
    pending: VecDeque<Pending>,
    pub(crate) index: Index,
    pub(crate) purged_durably: Option<LogId>,
    pub(crate) pins: Pins,
    /// Who waits for which durable index.
    waiters: BTreeMap<u64, Vec<Done>>,
}

impl GroupState {
    /// The position of the entry at `index`, purged or not.
    pub(crate) fn id_of(&self, index: u64) -> Option<LogId> {
        if self.last.is_none_or(|last| index > last.index) {
            return None;
        }
        let cached = self.cache.get(index).map(LogEntry::id);
        cached.or_else(|| self.index.get(index).map(|place| place.id))
    }

    /// The position of the entry at `index` unless it was purged.
    pub(crate) fn log_id(&self, index: u64) -> Option<LogId> {
        if self.purged.is_some_and(|purged| index <= purged.index) {
            None
        } else {
            self.id_of(index)
        }
    }

    /// What would be the last entry if all after `keep` were dropped; `None` when `keep` is not in the log.
    #[expect(clippy::option_option, reason = "the inner one is an empty log")]
    pub(crate) fn last_if_kept(&self, keep: Option<u64>) -> Option<Option<LogId>> {
        let Some(keep) = keep else {
            return Some(self.purged);
        };
        let kept = self
            .purged
            .filter(|purged| purged.index == keep)
            .or_else(|| self.log_id(keep));
        kept.map(Some)
    }

    /// Entries `first..=last` wait for the disk.
    pub(crate) fn add_pending(&mut self, op: u64, first: u64, last: u64) {
        self.pending.push_back(Pending { op, first, last });
    }

    /// Everything after `last` is gone; returns the bytes freed in the cache.
    pub(crate) fn truncate(&mut self, last: Option<LogId>) -> usize {
        self.last = last;
        let end = last.map(|last| last.index);
        while let Some(back) = self.pending.back_mut() {
            if end.is_some_and(|end| back.first <= end) {
                back.last = back.last.min(end.unwrap_or(back.last));
                break;
            }
            self.pending.pop_back();
        }
        self.cache.truncate_after(end)
    }

    /// Everything up to `upto`, which lies beyond what was purged, is gone; returns the bytes freed in the cache.
    pub(crate) fn purge(&mut self, upto: LogId) -> usize {
        self.purged = Some(upto);
        if self.last.is_some_and(|last| last.index >= upto.index) {
            return 0;
        }
        // The log continues elsewhere: what is cached would not be consecutive with it.
        self.last = Some(upto);
        self.pending.clear();
        self.cache.truncate_after(None)
    }

    /// Operations up to `op` are synced.
    pub(crate) fn settle(&mut self, op: u64) {
        while self.pending.front().is_some_and(|pending| pending.op <= op) {
            self.pending.pop_front();
        }
    }

    /// The last index such that it and all before it are on disk.
    pub(crate) fn durable_index(&self) -> Option<u64> {
        let Some(pending) = self.pending.front() else {
            return self.last.map(|last| last.index);
        };
        let before = pending.first.checked_sub(1)?;
        self.last_if_kept(Some(before)).map(|_| before)
    }

    /// Whether `index` and all before it are on disk.
    pub(crate) fn is_durable(&self, index: u64) -> bool {
        self.durable_index().is_some_and(|durable| durable >= index)
    }

    /// Whether `segment` must not be reused yet.
    pub(crate) fn needs(&self, segment: SegmentId) -> bool {
        self.pins
            .needs(segment, self.purged_durably.map(|purged| purged.index))
    }

    /// `done` is called when `index` is durable.
    pub(crate) fn wait(&mut self, index: u64, done: Done) {
        self.waiters.entry(index).or_default().push(done);
    }

    /// Those who have waited long enough.
    pub(crate) fn take_due_waiters(&mut self) -> Vec<Done> {
        if self.waiters.is_empty() {
            return Vec::new();
        }
        let Some(durable) = self.durable_index() else {
            return Vec::new();
        };
        let later = self.waiters.split_off(&(durable + 1));
        std::mem::replace(&mut self.waiters, later)
            .into_values()
            .flatten()
            .collect()
    }

    /// Everybody who waits: there will be no more syncs.
    pub(crate) fn take_waiters(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.waiters)
            .into_values()
            .flatten()
            .collect()
    }
}
