//! What the owner of a group's tables and the flusher share.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::kv::Snapshot;
use millrace_model::Fault;

use crate::log::SegmentId;
use crate::tables::counts::{Counts, Live};
use crate::tables::home::Home;
use crate::tables::key::Key;
use crate::tables::overlay::Overlay;
use crate::tables::spilled::{Spilled, Watch};
use crate::tables::{TableOptions, rows};

/// What fjall held at one commit.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) snapshot: Snapshot,
    pub(crate) at: Position,
}

/// Rows on their way to fjall, with the position that they make together.
pub(crate) struct Frozen {
    /// The rows, reference counts and the position itself included.
    pub(crate) rows: Overlay,
    /// Where they are to be written.
    pub(crate) home: Home,
    /// The position once they are written.
    pub(crate) at: Position,
}

/// A commit: its number since open, and the log index that it stands for. Commits of the same index differ in number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Counts commits since open.
    pub(crate) seq: u64,
    /// The index of the last entry applied.
    pub(crate) applied: u64,
}

/// How long the flusher leaves an owner to finish its batch.
const OPEN_PAUSE: Duration = Duration::from_millis(10);

/// How often it is looked whether the disk has room again.
const HOLD_PAUSE: Duration = Duration::from_millis(500);

/// What the owner of a group's tables and the flusher share, behind one mutex.
///
/// # Invariants
/// 1. `synced <= written <= frozen <= committed`, in the numbers of commits; `frozen` is `written` exactly if nothing
///    is in flight.
/// 2. Rows are frozen only between commits: never while `open`.
/// 3. A row is looked for in `active`, then in `in_flight`, then in fjall; the first that knows it is right.
pub(crate) struct State {
    /// Rows written since the last freeze.
    pub(crate) active: Overlay,
    /// Whether something was written since the last commit.
    pub(crate) open: bool,
    /// Rows that the flusher writes; dropped when fjall has them.
    pub(crate) in_flight: Option<Arc<Frozen>>,
    /// References of each segment.
    pub(crate) counts: Counts,
    /// The last commit.
    pub(crate) committed: Position,
    /// The last commit that was frozen.
    pub(crate) frozen: Position,
    /// The last commit that is in fjall.
    pub(crate) written: Position,
    /// The last commit that is synced.
    pub(crate) synced: Position,
    /// When the first commit after `frozen` was.
    pub(crate) dirty_since: Option<Instant>,
    /// When the first commit after `synced` came to fjall.
    pub(crate) unsynced_since: Option<Instant>,
    /// Freeze at once, up to this commit.
    pub(crate) freeze_wanted: u64,
    /// Sync as soon as the pause allows, up to this commit.
    pub(crate) sync_wanted: u64,
    /// Sync at once, up to this commit: somebody waits.
    pub(crate) sync_urgent: u64,
    /// Whether what is in flight waits for room on the disk: then the flusher is not at it.
    pub(crate) held: bool,
    /// How often it was found that there is none.
    pub(crate) holds: u64,
    /// Why nothing goes any more.
    pub(crate) fault: Option<Fault>,
    /// Where rows go.
    pub(crate) home: Home,
    /// What lies outside the log.
    pub(crate) spilled: Spilled,
    /// Whether its row differs.
    pub(crate) spilled_changed: bool,
    /// The move out of the log that is under way.
    pub(crate) watch: Option<Watch>,
    /// How many wait for a view.
    pub(crate) views_wanted: usize,
    /// The newest view, while anybody waits for one.
    pub(crate) view: Option<View>,
    /// Rows removed from fjall since it was last tidied.
    pub(crate) removed: u64,
    /// Whether a snapshot is being received.
    pub(crate) staging: bool,
    /// The owner is gone: nothing new is begun.
    pub(crate) closed: bool,
    /// Bytes last added to the gauge of all groups.
    pub(crate) reported: u64,
}

impl State {
    /// Tables whose state in `home` is synced, at `applied`.
    pub(crate) fn new(home: Home, applied: u64, counts: Counts, spilled: Spilled) -> Self {
        let at = Position { seq: 0, applied };
        Self {
            active: Overlay::default(),
            open: false,
            in_flight: None,
            counts,
            committed: at,
            frozen: at,
            written: at,
            synced: at,
            dirty_since: None,
            unsynced_since: None,
            freeze_wanted: 0,
            sync_wanted: 0,
            sync_urgent: 0,
            held: false,
            holds: 0,
            fault: None,
            home,
            spilled,
            spilled_changed: false,
            watch: None,
            views_wanted: 0,
            view: None,
            removed: 0,
            staging: false,
            closed: false,
            reported: 0,
        }
    }

    /// Takes `at` for synced: after a snapshot was installed.
    pub(crate) fn start_at(&mut self, at: Position) {
        for position in [
            &mut self.committed,
            &mut self.frozen,
            &mut self.written,
            &mut self.synced,
        ] {
            *position = at;
        }
    }

    /// Fails once anything has failed.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Keeps the first fault.
    pub(crate) fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Moves the active rows to where the flusher finds them, if it is time and possible. Whether it did.
    pub(crate) fn freeze_if_due(&mut self, now: Instant, options: &TableOptions) -> bool {
        let due = self.active.bytes() >= options.flush_bytes
            || self.freeze_at(now, options).is_some_and(|at| at <= now);
        let freeze = due && !self.open && self.in_flight.is_none() && self.fault.is_none();
        if freeze {
            self.freeze();
        }
        freeze
    }

    /// When the flusher should look again at this group by itself.
    pub(crate) fn look_again_at(&self, now: Instant, options: &TableOptions) -> Option<Instant> {
        if self.in_flight.is_some() {
            // Without a hold the owner has frozen just now, and has said so.
            return self.held.then(|| now + HOLD_PAUSE);
        }
        let freeze = self.freeze_at(now, options)?;
        // In the middle of a batch nothing can be frozen. The owner does it at its commit, unless it came too early.
        let soonest = if self.open { now + OPEN_PAUSE } else { now };
        Some(freeze.max(soonest))
    }

    /// When age or a wish asks for a freeze; `None` while nothing is dirty.
    fn freeze_at(&self, now: Instant, options: &TableOptions) -> Option<Instant> {
        let since = self.dirty_since?;
        let wanted = self.freeze_wanted > self.frozen.seq;
        Some(if wanted {
            now
        } else {
            since + options.flush_age
        })
    }

    fn freeze(&mut self) {
        assert!(!self.open, "rows are frozen only between commits");
        let mut rows = std::mem::take(&mut self.active);
        for (segment, count) in self.counts.take_changed() {
            rows.set_count(segment, count);
        }
        if std::mem::take(&mut self.spilled_changed) {
            rows.put(Key::new(rows::SPILLED), self.spilled.encode());
        }
        rows.set_applied(self.committed.applied);
        self.frozen = self.committed;
        self.dirty_since = None;
        let home = self.home.clone();
        let at = self.committed;
        self.in_flight = Some(Arc::new(Frozen { rows, home, at }));
    }

    /// Begins a commit that is not of a log entry, and asks for it to be written at once. Its number.
    pub(crate) fn commit_aside(&mut self, now: Instant) -> u64 {
        self.committed.seq += 1;
        self.dirty_since.get_or_insert(now);
        self.freeze_wanted = self.committed.seq;
        self.committed.seq
    }

    /// What the newest rows in memory say of `key`; `None` says: look in fjall.
    pub(crate) fn in_memory(&self, key: &Key) -> Option<Option<&Vec<u8>>> {
        let in_flight = || self.in_flight.as_ref()?.rows.get(key);
        let slot = self.active.get(key).or_else(in_flight)?;
        Some(slot.value())
    }

    /// There is no room for the rows in flight: they stay there.
    pub(crate) fn hold(&mut self) {
        self.held = true;
        self.holds += 1;
    }

    /// The rows in flight are in fjall, with `removals` of what was there.
    pub(crate) fn wrote(&mut self, now: Instant, removals: u64) {
        let Some(frozen) = self.in_flight.take() else {
            return;
        };
        assert_eq!(frozen.at, self.frozen, "only what is in flight is written");
        self.held = false;
        self.written = frozen.at;
        self.removed += removals;
        self.unsynced_since.get_or_insert(now);
    }

    /// Everything up to `at` is synced.
    pub(crate) fn was_synced(&mut self, at: Position) {
        // A snapshot that was installed may have gone further meanwhile.
        if at.seq < self.synced.seq {
            return;
        }
        assert!(at.seq <= self.written.seq, "only what is written is synced");
        self.synced = at;
        self.counts.synced(at.seq);
        if self.synced == self.written {
            self.unsynced_since = None;
        }
    }

    /// When a sync is due, pause or not; `None` while there is nothing to sync.
    pub(crate) fn sync_at(&self, now: Instant, options: &TableOptions) -> Option<Instant> {
        let since = self.unsynced_since?;
        let wanted = self.sync_wanted > self.synced.seq && self.written.seq >= self.sync_wanted;
        Some(if wanted {
            now
        } else {
            since + options.sync_age
        })
    }

    /// Whether somebody waits for a sync that can be made now.
    pub(crate) fn sync_is_urgent(&self) -> bool {
        self.sync_urgent > self.synced.seq && self.written.seq >= self.sync_urgent
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let in_flight = self
            .in_flight
            .as_ref()
            .map_or(0, |frozen| frozen.rows.bytes());
        self.active.bytes() + in_flight
    }
}

impl Overlay {
    fn set_count(&mut self, segment: SegmentId, count: Option<Live>) {
        let key = Key::new(&rows::count_key(segment));
        match count {
            None => self.remove(key),
            Some(count) => self.put(key, count.encode()),
        }
    }

    fn set_applied(&mut self, applied: u64) {
        self.put(Key::new(rows::APPLIED), rows::number(applied));
    }
}
