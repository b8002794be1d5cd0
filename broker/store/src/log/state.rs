//! Everything that the callers, the writer and the spare maker share, under one lock.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use millrace_model::GroupId;

use crate::log::group_state::GroupState;
use crate::log::index::Place;
use crate::log::op::{Action, Effect, Op};
use crate::log::pin::Held;
use crate::log::segment::SegmentFile;
use crate::log::{Done, LogEntry, LogError, LogId, LogMetrics, LogOptions, SegmentId};

/// Bytes of bodies that the writer takes from the queue for one sync: beyond a few MiB a longer batch only adds latency.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A segment in use.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) file: Arc<SegmentFile>,
    /// Up to where it holds records.
    pub(crate) end: u32,
}

/// What the writer is to do next.
pub(crate) enum Work {
    /// Write these and sync once; first a checkpoint without the retired segments, if there are any.
    Batch {
        ops: Vec<Op>,
        committed: Vec<(GroupId, Option<LogId>)>,
        retired: Vec<Live>,
    },
    /// Nothing to do: leave a seal behind.
    Seal {
        committed: Vec<(GroupId, Option<LogId>)>,
    },
    /// Everything is written: close.
    Close,
}

/// What the callers, the writer and the spare maker share.
pub(crate) struct State {
    pub(crate) groups: BTreeMap<GroupId, GroupState>,
    pub(crate) segments: BTreeMap<SegmentId, Live>,
    /// Who reads segments over a longer time.
    pub(crate) pins: Vec<Weak<Held>>,
    /// Ready for use, zeroed or recycled.
    pub(crate) free: Vec<PathBuf>,
    /// Files on their way from `free` to `segments` or back: they count against the most there may be.
    pub(crate) moving: usize,
    /// The last attempt to get a further segment failed for lack of space.
    pub(crate) starved: bool,
    /// A write found the disk full, which an overwriting file system never does; the writer waits.
    pub(crate) stuck: bool,
    queue: VecDeque<Op>,
    pub(crate) queue_bytes: usize,
    last_op: u64,
    synced_op: u64,
    /// Which group's cache is to be evicted next, oldest first.
    cached: VecDeque<(u64, GroupId)>,
    cache_bytes: usize,
    /// A segment can be given back.
    recycle: bool,
    /// Nothing was written since the last seal.
    pub(crate) sealed: bool,
    pub(crate) closing: bool,
    pub(crate) poison: Option<Arc<LogError>>,
}

impl State {
    pub(crate) fn new(
        groups: BTreeMap<GroupId, GroupState>,
        segments: BTreeMap<SegmentId, Live>,
        free: Vec<PathBuf>,
    ) -> Self {
        Self {
            groups,
            segments,
            pins: Vec::new(),
            free,
            moving: 0,
            starved: false,
            stuck: false,
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_op: 0,
            synced_op: 0,
            cached: VecDeque::new(),
            cache_bytes: 0,
            recycle: false,
            sealed: false,
            closing: false,
            poison: None,
        }
    }

    /// Whether writes are still taken.
    pub(crate) fn check_writable(&self) -> Result<(), Arc<LogError>> {
        if let Some(poison) = &self.poison {
            return Err(Arc::new(LogError::Poisoned(Arc::clone(poison))));
        }
        if self.closing {
            Err(Arc::new(LogError::Closed))
        } else {
            Ok(())
        }
    }

    /// Gives `action` its place in the stream.
    pub(crate) fn submit(
        &mut self,
        group: GroupId,
        action: Action,
        bytes: usize,
        done: Option<Done>,
    ) -> u64 {
        self.last_op += 1;
        self.queue_bytes += bytes;
        self.queue.push_back(Op {
            number: self.last_op,
            group,
            action,
            bytes,
            done,
        });
        self.last_op
    }

    /// Puts the entries of operation `op` into memory, behind those that are there.
    pub(crate) fn remember(&mut self, op: u64, group: GroupId, entries: Vec<LogEntry>) {
        let state = self.groups.entry(group).or_default();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return;
        };
        state.add_pending(op, first.index, last.index);
        state.last = Some(last.id());
        for entry in entries {
            self.cache_bytes += state.cache.push(op, entry);
        }
        self.cached.push_back((op, group));
    }

    /// Bytes of the cache were freed by a truncation or a purge.
    pub(crate) fn freed(&mut self, bytes: usize) {
        self.cache_bytes -= bytes;
    }

    /// Waits for nothing: what the writer is to do now, if there is anything.
    pub(crate) fn next_work(&mut self) -> Option<Work> {
        let retired = if self.recycle {
            self.take_recyclable()
        } else {
            Vec::new()
        };
        if !retired.is_empty() || !self.queue.is_empty() {
            self.sealed = false;
            return Some(Work::Batch {
                ops: self.take_ops(),
                committed: self.take_committed(),
                retired,
            });
        }
        if self.closing {
            return Some(Work::Close);
        }
        if self.sealed {
            return None;
        }
        self.sealed = true;
        Some(Work::Seal {
            committed: self.take_committed(),
        })
    }

    /// Bytes that all that waits takes in a segment, at most.
    #[cfg(simulation)]
    pub(crate) fn queue_bytes(&self) -> usize {
        /// More than a record takes beside its body.
        const RECORD_BYTES: usize = 256;
        let bytes = self.queue.iter().map(|op| match &op.action {
            Action::Append(entries) => op.bytes + entries.len() * RECORD_BYTES,
            _ => op.bytes + RECORD_BYTES,
        });
        bytes.sum::<usize>() + 16 * RECORD_BYTES
    }

    fn take_ops(&mut self) -> Vec<Op> {
        let mut bytes = 0;
        let mut ops = Vec::new();
        while let Some(op) = self.queue.front() {
            bytes += op.bytes;
            if bytes > BATCH_BYTES_MAX && !ops.is_empty() {
                break;
            }
            ops.extend(self.queue.pop_front());
        }
        ops
    }

    /// The committed positions that are to be written.
    pub(crate) fn take_committed(&mut self) -> Vec<(GroupId, Option<LogId>)> {
        let changed = |(id, group): (&GroupId, &mut GroupState)| {
            std::mem::take(&mut group.committed_is_new).then_some((*id, group.committed))
        };
        self.groups.iter_mut().filter_map(changed).collect()
    }

    /// Looks for segments to give back; true when there are and the writer is to be woken.
    pub(crate) fn look_for_recyclable(&mut self) -> bool {
        self.recycle = self.recycle
            || self
                .segments
                .keys()
                .any(|segment| self.is_recyclable(*segment));
        self.recycle
    }

    fn is_recyclable(&self, segment: SegmentId) -> bool {
        let active = self.segments.keys().next_back() == Some(&segment);
        !active && !self.groups.values().any(|group| group.needs(segment))
    }

    /// How many groups still need `segment`.
    pub(crate) fn needed_by(&self, segment: SegmentId) -> usize {
        self.groups
            .values()
            .filter(|group| group.needs(segment))
            .count()
    }

    /// Whether no group needs `segment` for anything but payloads.
    pub(crate) fn holds_payloads_only(&self, segment: SegmentId) -> bool {
        self.groups.values().all(|group| {
            let purged = group.purged_durably.map(|purged| purged.index);
            !group.needs(segment) || group.pins.needs_payloads_only(segment, purged)
        })
    }

    /// Takes out the segments that nobody needs. They may be written over once a checkpoint without them is synced.
    pub(crate) fn take_recyclable(&mut self) -> Vec<Live> {
        self.recycle = false;
        // A reader that has the file in hand was given it under this lock, and so is none that has not.
        let idle = |live: &Live| Arc::strong_count(&live.file) == 1;
        let ids: Vec<_> = self
            .segments
            .iter()
            .filter(|(_, live)| idle(live))
            .map(|(id, _)| *id)
            .collect();
        let ids: Vec<_> = ids
            .into_iter()
            .filter(|id| self.is_recyclable(*id))
            .collect();
        for group in self.groups.values_mut() {
            for id in &ids {
                group.index.drop_segment(*id);
                group.pins.forget(*id);
            }
        }
        self.moving += ids.len();
        ids.iter()
            .filter_map(|id| self.segments.remove(id))
            .collect()
    }

    /// Takes in what was synced, in the order of the stream. Returns the callbacks to call, in order.
    pub(crate) fn apply(
        &mut self,
        effects: Vec<Effect>,
        options: &LogOptions,
        metrics: &LogMetrics,
    ) -> Vec<Done> {
        let mut callbacks = Vec::new();
        for effect in effects {
            self.apply_one(effect, &mut callbacks, metrics);
        }
        self.evict(options.cache_bytes);
        metrics.cache_bytes.store(self.cache_bytes as u64, Relaxed);
        metrics.queue_bytes.store(self.queue_bytes as u64, Relaxed);
        callbacks
    }

    fn apply_one(&mut self, effect: Effect, callbacks: &mut Vec<Done>, metrics: &LogMetrics) {
        match effect {
            Effect::Entry(group, place) => self.apply_entry(group, place),
            Effect::Truncate(group, last) => {
                self.groups
                    .entry(group)
                    .or_default()
                    .index
                    .truncate_after(last.map(|last| last.index));
            }
            Effect::Purge(group, upto) => {
                let group = self.groups.entry(group).or_default();
                group.purged_durably = Some(upto);
                self.look_for_recyclable();
            }
            Effect::Finish {
                number,
                group,
                bytes,
                done,
            } => {
                assert!(
                    number > self.synced_op,
                    "operations finish in the order of the stream"
                );
                self.synced_op = number;
                self.queue_bytes -= bytes;
                metrics.batches.fetch_add(1, Relaxed);
                callbacks.extend(done);
                let group = self.groups.entry(group).or_default();
                group.settle(number);
                callbacks.extend(group.take_due_waiters());
            }
        }
    }

    fn apply_entry(&mut self, group: GroupId, place: Place) {
        let group = self.groups.entry(group).or_default();
        group.index.push(place);
        group.pins.hold(place.segment, place.id.index);
    }

    /// Brings the cache back to its budget; what is not synced stays.
    fn evict(&mut self, budget: usize) {
        while self.cache_bytes > budget {
            let Some((op, group)) = self
                .cached
                .front()
                .copied()
                .filter(|(op, _)| *op <= self.synced_op)
            else {
                return;
            };
            self.cached.pop_front();
            if let Some(group) = self.groups.get_mut(&group) {
                self.cache_bytes -= group.cache.evict(op);
            }
        }
    }

    /// No more writes. Returns everybody who waits for one.
    pub(crate) fn fail(&mut self, error: Arc<LogError>) -> Vec<Done> {
        self.poison.get_or_insert(error);
        self.queue_bytes = 0;
        let mut failed: Vec<_> = self.queue.drain(..).filter_map(|op| op.done).collect();
        failed.extend(self.take_waiters());
        failed
    }

    /// Everybody who waits for an index to be durable.
    pub(crate) fn take_waiters(&mut self) -> Vec<Done> {
        let groups = self.groups.values_mut();
        groups.flat_map(GroupState::take_waiters).collect()
    }
}
