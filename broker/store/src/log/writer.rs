//! The one thread that writes: takes everything that waits, writes it, syncs once, and tells everybody.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use millrace_model::GroupId;

use crate::clock::Instant;
use crate::disk;
use crate::fault::IoFault;
use crate::log::checkpoint::Checkpoint;
use crate::log::index::{Place, Slot};
use crate::log::op::{Action, Effect, Op};
use crate::log::record::{Body, Header, Kind, record_bytes};
use crate::log::segment::{live_name, sync_dir};
use crate::log::shared::{Shared, call_all};
use crate::log::state::{Live, Work};
use crate::log::tail::Tail;
use crate::log::watermark::{Mark, Watermark};
use crate::log::{LogError, LogId, SegmentId};

/// Kept free at the end of a segment beside two checkpoints: the end record, a seal, and growth between two looks.
const HEADROOM_BYTES: usize = 1024;

/// Where the writer begins.
pub(crate) struct Start {
    pub(crate) watermark: Watermark,
    pub(crate) log: u64,
    /// Groups that the watermark names.
    pub(crate) known: BTreeSet<GroupId>,
    pub(crate) stream: Checkpoint,
    pub(crate) tail: Tail,
    /// The next segment's number.
    pub(crate) next_id: u64,
}

/// The one thread that writes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    at: Start,
    /// Operations taken from the queue and not yet framed.
    todo: VecDeque<Op>,
    /// What the framed records change once they are synced.
    effects: Vec<Effect>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, start: Start) -> Self {
        Self {
            shared,
            at: start,
            todo: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// Writes until the log closes or fails.
    #[cfg(not(simulation))]
    pub(crate) fn run(mut self) -> Result<(), Arc<LogError>> {
        loop {
            let work = self.next_work()?;
            if let Some(ended) = self.perform(work) {
                return ended;
            }
        }
    }

    /// Whether `bytes` of records need no further segment.
    #[cfg(simulation)]
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.at.tail.fits(bytes + self.headroom())
    }

    /// Does `work`; how it ended when that was the last.
    pub(crate) fn perform(&mut self, work: Work) -> Option<Result<(), Arc<LogError>>> {
        let closes = matches!(work, Work::Close);
        let done = match work {
            Work::Batch {
                ops,
                committed,
                retired,
            } => self.batch(ops, committed, &retired),
            Work::Seal { committed } => self.seal(committed),
            Work::Close => self.close(),
        };
        match done {
            Ok(()) => closes.then_some(Ok(())),
            Err(error) => Some(Err(self.fail(error))),
        }
    }

    #[cfg(not(simulation))]
    fn next_work(&self) -> Result<Work, Arc<LogError>> {
        let mut state = self.shared.lock();
        loop {
            if let Some(poison) = &state.poison {
                return Err(Arc::clone(poison));
            }
            if let Some(work) = state.next_work() {
                return Ok(work);
            }
            state = self.shared.wait(&self.shared.work, state);
        }
    }

    fn batch(
        &mut self,
        ops: Vec<Op>,
        committed: Vec<(GroupId, Option<LogId>)>,
        retired: &[Live],
    ) -> Result<(), LogError> {
        self.todo = ops.into();
        if !retired.is_empty() {
            self.recycle(retired)?;
        }
        for (group, committed) in committed {
            self.put(Header::bare(Kind::Committed, group, committed), None)?;
            self.at.stream.groups.entry(group).or_default().committed = committed;
        }
        while let Some(op) = self.todo.pop_front() {
            self.plan(op)?;
        }
        self.flush()
    }

    /// Frames the records of `op`. What the stream amounts to changes behind each record, never before: a record may
    /// need a new segment, which begins with what the stream amounted to before it.
    fn plan(&mut self, op: Op) -> Result<(), LogError> {
        let Op {
            number,
            group,
            action,
            bytes,
            done,
        } = op;
        // Noted first, so that a failure on the way finds the callback.
        let finish = Effect::Finish {
            number,
            group,
            bytes,
            done,
        };
        let planned = self.plan_action(group, action);
        self.effects.push(finish);
        planned
    }

    fn plan_action(&mut self, group: GroupId, action: Action) -> Result<(), LogError> {
        match action {
            Action::Append(entries) => {
                for (id, tag, body) in entries {
                    self.plan_entry(group, id, tag, body)?;
                }
            }
            Action::Vote(body) => {
                let vote = body.bytes.clone();
                self.put(
                    Header::bare(Kind::Vote, group, None).with_body(&body),
                    Some(body),
                )?;
                self.at.stream.groups.entry(group).or_default().vote = Some(vote);
            }
            Action::Truncate(last) => {
                self.put(Header::bare(Kind::Truncate, group, last), None)?;
                self.at.stream.groups.entry(group).or_default().last = last;
                self.effects.push(Effect::Truncate(group, last));
            }
            Action::Purge(upto) => {
                self.put(Header::bare(Kind::Purge, group, Some(upto)), None)?;
                self.at.stream.groups.entry(group).or_default().purge(upto);
                self.effects.push(Effect::Purge(group, upto));
            }
        }
        Ok(())
    }

    fn plan_entry(
        &mut self,
        group: GroupId,
        id: LogId,
        tag: u8,
        body: Body,
    ) -> Result<(), LogError> {
        let header = Header {
            tag,
            ..Header::bare(Kind::Entry, group, Some(id))
        }
        .with_body(&body);
        let offset = self.put(header, Some(body))?;
        self.at.stream.groups.entry(group).or_default().last = Some(id);
        let slot = Slot {
            offset,
            body_len: header.body_len,
        };
        self.effects.push(Effect::Entry(
            group,
            Place {
                id,
                segment: self.at.tail.file.id,
                slot,
            },
        ));
        Ok(())
    }

    /// Frames a record, in a new segment if it must be; returns its offset.
    fn put(&mut self, header: Header, body: Option<Body>) -> Result<u32, LogError> {
        let bytes = header.record_bytes() + self.headroom();
        if !self.at.tail.fits(bytes) {
            self.rotate()?;
            if !self.at.tail.fits(bytes) {
                return Err(LogError::TooLarge {
                    bytes,
                    max: self.at.tail.left() as usize,
                });
            }
        }
        Ok(self.at.tail.frame(header, body))
    }

    /// Bytes that are kept for what must be written when the disk is full: a checkpoint gives segments back.
    fn headroom(&self) -> usize {
        2 * record_bytes(self.at.stream.encoded_bytes()) + HEADROOM_BYTES
    }

    /// Whether a checkpoint and the end record still fit.
    fn fits_checkpoint(&self) -> bool {
        self.at
            .tail
            .fits(record_bytes(self.at.stream.encoded_bytes()) + record_bytes(0))
    }

    /// Makes everything framed durable and tells everybody.
    fn flush(&mut self) -> Result<(), LogError> {
        if !self.at.tail.is_written() {
            self.write()?;
            self.sync()?;
            self.name_new_groups()?;
        }
        self.complete();
        Ok(())
    }

    fn write(&mut self) -> Result<(), LogError> {
        let (records, bytes) = loop {
            match self.at.tail.write() {
                Ok(written) => break written,
                // Only on a file system that does not overwrite in place.
                Err(fault) if fault.is_full() => self.wait_for_disk(&fault)?,
                Err(fault) => return Err(fault.into()),
            }
        };
        self.shared
            .metrics
            .records
            .fetch_add(records as u64, Relaxed);
        self.shared
            .metrics
            .bytes_written
            .fetch_add(u64::from(bytes), Relaxed);
        Ok(())
    }

    fn wait_for_disk(&self, fault: &IoFault) -> Result<(), LogError> {
        tracing::warn!(%fault, "the disk is full; the log waits");
        let mut state = self.shared.lock();
        state.stuck = true;
        self.shared.tell_full(&state);
        let waited = self
            .shared
            .work
            .wait_timeout(state, self.shared.options.full_retry);
        state = waited
            .expect("a panic under the log's lock is a bug, and nothing may be written after it")
            .0;
        state.stuck = false;
        self.shared.tell_full(&state);
        if state.closing {
            Err(LogError::Closed)
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        self.at.tail.sync()?;
        let took = began.elapsed();
        self.shared.metrics.syncs.fetch_add(1, Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.shared.metrics.sync_nanos.fetch_add(nanos, Relaxed);
        if let Some(observe) = &self.shared.options.on_sync {
            observe(took);
        }
        Ok(())
    }

    /// A group's first records are acknowledged only when the watermark knows of them: a log that is lost as a whole
    /// must not look like one in which the group has never voted.
    fn name_new_groups(&mut self) -> Result<(), LogError> {
        if self
            .at
            .stream
            .groups
            .keys()
            .any(|group| !self.at.known.contains(group))
        {
            self.set_watermark()?;
        }
        Ok(())
    }

    fn set_watermark(&mut self) -> Result<(), LogError> {
        let groups: Vec<_> = self
            .at
            .stream
            .groups
            .iter()
            .map(|(id, group)| (*id, group.last))
            .collect();
        self.at.known.extend(groups.iter().map(|(id, _)| *id));
        let Tail { file, synced, .. } = &self.at.tail;
        let mark = Mark {
            log: self.at.log,
            segment: file.id,
            offset: *synced,
            groups,
        };
        Ok(self.at.watermark.set(&mark)?)
    }

    fn complete(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        let mut state = self.shared.lock();
        if let Some(live) = state.segments.get_mut(&self.at.tail.file.id) {
            live.end = self.at.tail.next;
        }
        let callbacks = state.apply(effects, &self.shared.options, &self.shared.metrics);
        self.shared.tell_space(&state, self.at.tail.left());
        drop(state);
        self.shared.room.notify_all();
        call_all(callbacks, &Ok(()));
    }

    /// Leaves behind, without a sync, a record that says up to where the segment was synced: what is damaged before it
    /// was not torn. It costs a copy into the page cache, and so survives the end of the process, not of the machine.
    fn seal(&mut self, committed: Vec<(GroupId, Option<LogId>)>) -> Result<(), LogError> {
        let bytes = record_bytes(0) * (committed.len() + 1) + self.headroom();
        let fits = self.at.tail.fits(bytes);
        for (group, committed) in committed {
            self.at.stream.groups.entry(group).or_default().committed = committed;
            if fits {
                self.at
                    .tail
                    .frame(Header::bare(Kind::Committed, group, committed), None);
            }
        }
        if fits {
            self.at
                .tail
                .frame(Header::bare(Kind::Seal, GroupId::META, None), None);
            self.write()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), LogError> {
        let committed = self.shared.lock().take_committed();
        self.seal(committed)?;
        self.sync()?;
        self.set_watermark()
    }

    /// Ends the active segment and begins the next; waits while there is none.
    fn rotate(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let free = self.obtain_free()?;
        self.at.tail.end()?;
        self.begin(&free)
    }

    fn obtain_free(&mut self) -> Result<PathBuf, LogError> {
        loop {
            let mut state = self.shared.lock();
            let retired = loop {
                if let Some(path) = state.free.pop() {
                    state.moving += 1;
                    self.shared.writer_waits.store(false, Relaxed);
                    self.shared.spares.notify_all();
                    return Ok(path);
                }
                if self.fits_checkpoint() {
                    let retired = state.take_recyclable();
                    if !retired.is_empty() {
                        break retired;
                    }
                }
                if state.closing {
                    return Err(LogError::Closed);
                }
                self.shared.writer_waits.store(true, Relaxed);
                state = self.shared.wait(&self.shared.work, state);
            };
            drop(state);
            self.recycle(&retired)?;
        }
    }

    fn begin(&mut self, free: &Path) -> Result<(), LogError> {
        let id = SegmentId(self.at.next_id);
        self.at.next_id += 1;
        self.at.stream.live.insert(id);
        let size = self.shared.options.segment_bytes;
        self.at.tail = Tail::begin(free, id, self.at.log, size, &self.at.stream)?;
        sync_dir(&self.shared.dir)?;
        let live = Live {
            file: Arc::clone(&self.at.tail.file),
            end: self.at.tail.next,
        };
        let mut state = self.shared.lock();
        state.segments.insert(id, live);
        state.moving -= 1;
        self.shared.tell_space(&state, self.at.tail.left());
        drop(state);
        self.set_watermark()
    }

    /// Gives segments back: first a synced checkpoint without them, then their files.
    fn recycle(&mut self, retired: &[Live]) -> Result<(), LogError> {
        for live in retired {
            self.at.stream.live.remove(&live.file.id);
        }
        if self.fits_checkpoint() {
            self.at.tail.frame_checkpoint(&self.at.stream);
            self.flush()?;
        } else {
            self.rotate()?;
        }
        for live in retired {
            self.give_back(live)?;
        }
        Ok(())
    }

    fn give_back(&self, live: &Live) -> Result<(), LogError> {
        let mut state = self.shared.lock();
        let path = &live.file.path;
        let wanted = state.free.len() < self.shared.options.free_segments_max;
        if wanted && live.file.size == self.shared.options.segment_bytes {
            let free = self
                .shared
                .dir
                .join(format!("{}.free", live_name(live.file.id)));
            disk::rename(path, &free).map_err(IoFault::at("give back", path))?;
            state.free.push(free);
        } else {
            disk::remove_file(path).map_err(IoFault::at("remove", path))?;
        }
        state.moving -= 1;
        self.shared.metrics.segments_recycled.fetch_add(1, Relaxed);
        self.shared.tell_space(&state, self.at.tail.left());
        drop(state);
        self.shared.spares.notify_all();
        Ok(())
    }

    /// Tells everybody who waits, in order, that nothing will be written any more.
    fn fail(&mut self, error: LogError) -> Arc<LogError> {
        tracing::error!(%error, "the log has failed");
        let error = Arc::new(error);
        self.shared
            .lock()
            .poison
            .get_or_insert_with(|| Arc::clone(&error));
        let planned =
            std::mem::take(&mut self.effects)
                .into_iter()
                .filter_map(|effect| match effect {
                    Effect::Finish { done, .. } => done,
                    _ => None,
                });
        let taken = std::mem::take(&mut self.todo)
            .into_iter()
            .filter_map(|op| op.done);
        let callbacks = planned.chain(taken).collect();
        call_all(callbacks, &Err(Arc::clone(&error)));
        self.shared.fail(&error);
        error
    }
}
