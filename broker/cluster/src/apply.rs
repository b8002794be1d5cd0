//! Applying: one lane for each group, the only way to its machine and its tables.
//!
//! **Invariants**: no entry is applied that is not durable here; an outcome is sent only when its batch is committed
//! to the tables as one unit with its position; receivers are woken and the catalog is published before that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use millrace_machine::{Departure, Machine, Outbox};
use millrace_model::{Fault, GroupId, Outcome, Revision, Timestamp, Topology};
use millrace_store::log::GroupLog;
use millrace_store::spill::Payloads;
use millrace_store::tables::{GroupTables, Staging, TableHandle};
use openraft::EntryPayload;
use openraft::storage::EntryResponder;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::snapshot::{self, SnapshotMeta};
use crate::types::{Body, Membership, Outcomes, Position, StoredMembership, TypeConfig};
use crate::waiters::WaitersByQueue;
use crate::{codec, simulated};

/// Most syncs of the log take less.
const SYNC_MAX: Duration = Duration::from_millis(10);

/// System row of the position of the last applied entry.
const APPLIED: &str = "applied";
/// System row of the last applied membership.
const MEMBERSHIP: &str = "membership";

/// What others see of a group, kept up to date by its applier.
#[derive(Debug)]
pub(crate) struct View {
    /// The node's receivers.
    pub(crate) waiters: Arc<WaitersByQueue>,
    /// The catalog; only group 0 sets it.
    pub(crate) topology: Arc<ArcSwap<Topology>>,
    /// The revision that the group stands at.
    pub(crate) revision: watch::Sender<Revision>,
    /// The group's time, as of the last applied entry, in ms since 1970.
    pub(crate) at: AtomicU64,
    /// When something falls due; [`Timestamp::MAX`] when nothing ever does.
    pub(crate) due: watch::Sender<Timestamp>,
    /// Index of the last applied entry.
    pub(crate) applied: AtomicU64,
    /// Bytes of bodies applied since the start.
    pub(crate) applied_bytes: watch::Sender<u64>,
    /// What waits for each other data group. Fixed: nothing is kept of other groups.
    pub(crate) outboxes: BTreeMap<GroupId, watch::Sender<Outbox>>,
    /// The queues that leave for another group.
    pub(crate) departures: watch::Sender<Vec<Departure>>,
    /// Entries of queues that this node handed over to other groups, those of every attempt.
    pub(crate) handed_over: AtomicU64,
    /// Deliveries that this node carried to other groups, those of every attempt.
    pub(crate) carried: AtomicU64,
    /// How much was carried here from other groups and found no place any more.
    pub(crate) dropped: AtomicU64,
    /// Snapshots built here.
    pub(crate) built: Timed,
    /// Snapshots of other nodes installed here.
    pub(crate) installed: Timed,
}

/// How often something was done, and how long it took in all.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    pub(crate) count: AtomicU64,
    pub(crate) nanos: AtomicU64,
}

impl Timed {
    fn add(&self, began: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl View {
    /// Nothing is applied yet; `others` are the groups that something may have to be carried to.
    pub(crate) fn new(
        waiters: Arc<WaitersByQueue>,
        topology: Arc<ArcSwap<Topology>>,
        others: impl Iterator<Item = GroupId>,
    ) -> Self {
        Self {
            waiters,
            topology,
            revision: watch::Sender::new(Revision(0)),
            at: AtomicU64::new(0),
            due: watch::Sender::new(Timestamp::MAX),
            applied: AtomicU64::new(0),
            applied_bytes: watch::Sender::new(0),
            outboxes: others.map(|to| (to, watch::Sender::default())).collect(),
            departures: watch::Sender::default(),
            handed_over: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            built: Timed::default(),
            installed: Timed::default(),
        }
    }
}

/// The way to a group's applier: one at a time, in the order of arrival.
///
/// Applying is memory work of microseconds, since rows reach the disk later, on the tables' own thread. So it runs on
/// the thread that has the entries: a thread of its own would cost two switches of context for each batch, which was a
/// third of the latency of a lone publish. What waits for the disk (a flush, a snapshot) goes through
/// [`ApplyLane::call_blocking`].
#[derive(Clone)]
pub(crate) struct ApplyLane {
    applier: Arc<Mutex<Option<Applier>>>,
    tables: TableHandle,
    log: GroupLog,
}

impl ApplyLane {
    /// Opens the machine on `tables`.
    ///
    /// # Errors
    /// A [`Fault`] when the tables cannot be read.
    pub(crate) fn open(
        group: GroupId,
        tables: GroupTables,
        log: GroupLog,
        view: Arc<View>,
    ) -> Result<Self, Fault> {
        let handle = tables.handle();
        let applier = Applier::open(group, tables, log.clone(), view)?;
        Ok(Self {
            applier: Arc::new(Mutex::new(Some(applier))),
            tables: handle,
            log,
        })
    }

    /// The way to the group's tables that needs no turn in the lane.
    pub(crate) fn tables(&self) -> &TableHandle {
        &self.tables
    }

    /// The group's log.
    pub(crate) fn log(&self) -> &GroupLog {
        &self.log
    }

    /// The group's payloads, in the log or moved out of it.
    pub(crate) fn payloads(&self) -> Payloads {
        Payloads::new(self.log.clone(), self.tables.clone())
    }

    /// Applies entries in order.
    pub(crate) fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), Fault> {
        let apply = || self.call(|applier| applier.apply_unless_failed(entries));
        // On a full disk it waits for room, for the log or for rows, and that may take as long as it likes.
        if self.tables.is_short() || self.log.space().full {
            simulated::waiting(apply)
        } else {
            apply()
        }
    }

    /// Runs `call` between two batches. It must not wait for the disk.
    pub(crate) fn call<R>(
        &self,
        call: impl FnOnce(&mut Applier) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        call(self.lock().as_mut().ok_or_else(stopped)?)
    }

    /// Runs `call`, a question, between two batches. A batch that waits for a disk holds up the question, but not the thread.
    pub(crate) fn ask<R>(
        &self,
        call: impl FnOnce(&mut Applier) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        if let Ok(mut applier) = self.applier.try_lock() {
            return call(applier.as_mut().ok_or_else(stopped)?);
        }
        simulated::waiting(|| self.call(call))
    }

    /// Runs `call` between two batches, off the threads that serve requests.
    pub(crate) async fn call_blocking<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Applier) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, Fault> {
        let lane = self.clone();
        let ran = simulated::blocking(move || lane.call(call)).await;
        ran.unwrap_or_else(|panic| Err(Fault::new("apply", panic)))
    }

    /// Closes the tables. Whatever comes later is refused.
    pub(crate) fn stop(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Applier>> {
        // A panic while applying is a bug: what it left behind must never be applied to again.
        self.applier.lock().expect("applying has panicked before")
    }
}

fn stopped() -> Fault {
    Fault::new("apply", "the group has stopped")
}

/// A group's machine with its position.
pub(crate) struct Applier {
    pub(crate) machine: Machine<GroupTables>,
    group: GroupId,
    log: GroupLog,
    view: Arc<View>,
    applied: Option<Position>,
    membership: StoredMembership,
    /// The snapshot built or installed last in this life of the node.
    snapshot: Option<SnapshotMeta>,
    /// Set by the first fault: nothing is applied any more.
    fault: Option<Fault>,
}

impl Applier {
    fn open(
        group: GroupId,
        tables: GroupTables,
        log: GroupLog,
        view: Arc<View>,
    ) -> Result<Self, Fault> {
        let (applied, membership) = standing(|name| tables.system(name))?;
        let machine = Machine::open(group, tables)?;
        let applier = Self {
            machine,
            group,
            log,
            view,
            applied,
            membership,
            snapshot: None,
            fault: None,
        };
        applier.publish_all();
        Ok(applier)
    }

    /// The position of the last applied entry, and the last applied membership.
    pub(crate) fn state(&self) -> (Option<Position>, StoredMembership) {
        (self.applied, self.membership.clone())
    }

    /// Makes everything applied durable.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        // What failed within a batch left it half done in memory: the log has it, the tables must not.
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.machine.tables_mut().flush()
    }

    /// A snapshot was built of this group, in the time since `began`.
    pub(crate) fn note_snapshot(&mut self, meta: SnapshotMeta, began: Instant) {
        self.view.built.add(began);
        self.snapshot = Some(meta);
    }

    /// Whether a snapshot was built or installed in this life of the node.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Replaces all state by what was received. Quick: the rows are in place already.
    ///
    /// # Errors
    /// It is not what `meta` says, and nothing was changed; or the disk refused, and nothing is applied any more.
    pub(crate) fn install(&mut self, meta: &SnapshotMeta, staging: Staging) -> Result<(), Fault> {
        let began = Instant::now();
        let inside = snapshot::meta(|name| staging.system(name))?;
        if inside.last_log_id != meta.last_log_id {
            let reason = format!(
                "it stands at {:?}, not at {:?}",
                inside.last_log_id, meta.last_log_id
            );
            return Err(Fault::new("install a snapshot", reason));
        }
        let installed = self.take_over(inside, staging);
        if let Err(fault) = &installed {
            self.fault.get_or_insert_with(|| fault.clone());
        }
        self.view.installed.add(began);
        installed
    }

    fn take_over(&mut self, meta: SnapshotMeta, staging: Staging) -> Result<(), Fault> {
        let before = self.machine.queues_ready();
        self.machine.tables_mut().install(staging)?;
        self.machine.reload()?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.snapshot = Some(meta);
        for (queue, _) in before {
            let ready = self.machine.ready(queue);
            self.view.waiters.update(self.group, queue, ready);
        }
        self.publish_all();
        Ok(())
    }

    fn apply_unless_failed(
        &mut self,
        entries: Vec<EntryResponder<TypeConfig>>,
    ) -> Result<(), Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let result = self.apply(entries);
        self.fault = result.clone().err();
        result
    }

    fn apply(&mut self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), Fault> {
        let mut answers = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for (entry, responder) in entries {
            self.wait_durable(entry.log_id.index)?;
            #[cfg(simulation)]
            crate::simulated::note_applied(self.group, &entry);
            let outcomes = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Membership(membership) => self.adopt(entry.log_id, membership),
                EntryPayload::Normal(Body(body)) => {
                    bytes += body.len() as u64;
                    self.apply_batch(entry.log_id.index, &body)?
                }
            };
            self.applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, outcomes)));
        }
        self.write_position()?;
        self.publish(bytes);
        answers
            .into_iter()
            .for_each(|(responder, outcomes)| responder.send(Outcomes(outcomes)));
        Ok(())
    }

    /// Openraft may apply before the sync of this node has come back; payloads live in the log, so wait for it.
    fn wait_durable(&self, index: u64) -> Result<(), Fault> {
        if self.log.log_id(index).is_none() {
            return Ok(());
        }
        let fault = |error| Fault::new("wait for the log", error);
        if self.log.wait_durable_for(index, SYNC_MAX).map_err(fault)? {
            return Ok(());
        }
        // The disk is slow, or hangs: this thread has others to serve meanwhile.
        simulated::waiting(|| self.log.wait_durable(index)).map_err(fault)
    }

    fn adopt(&mut self, at: Position, membership: Membership) -> Vec<Outcome> {
        self.membership = StoredMembership::new(Some(at), membership);
        let row = codec::encode_membership(&self.membership);
        self.machine.tables_mut().set_system(MEMBERSHIP, row);
        Vec::new()
    }

    fn apply_batch(&mut self, index: u64, body: &[u8]) -> Result<Vec<Outcome>, Fault> {
        let applied = self.machine.apply(index, body)?;
        for (queue, ready) in applied.touched {
            self.view.waiters.update(self.group, queue, ready);
        }
        if applied.topology_changed {
            self.view.topology.store(self.machine.topology());
        }
        Ok(applied.outcomes)
    }

    fn write_position(&mut self) -> Result<(), Fault> {
        let Some(applied) = &self.applied else {
            return Ok(());
        };
        let (row, index) = (codec::encode_position(applied), applied.index);
        let tables = self.machine.tables_mut();
        tables.set_system(APPLIED, row);
        tables.commit(index);
        tables.health()
    }

    /// Tells everybody where the group stands after entries with `bytes` of bodies.
    fn publish(&mut self, bytes: u64) {
        self.publish_position();
        if bytes > 0 {
            self.machine.tables_mut().note_log_bytes(bytes);
            self.view.applied_bytes.send_modify(|sum| *sum += bytes);
        }
    }

    /// Tells everybody everything: at the start, and after a snapshot was installed.
    fn publish_all(&self) {
        for (queue, ready) in self.machine.queues_ready() {
            self.view.waiters.update(self.group, queue, Some(ready));
        }
        if self.group == GroupId::META {
            self.view.topology.store(self.machine.topology());
        }
        self.publish_position();
    }

    fn publish_position(&self) {
        let applied = self.applied.as_ref().map_or(0, |applied| applied.index);
        self.view.applied.store(applied, Ordering::Release);
        self.view.at.store(self.machine.at().0, Ordering::Relaxed);
        set(&self.view.revision, self.machine.revision());
        let due = self.machine.next_due().unwrap_or(Timestamp::MAX);
        set(&self.view.due, due);
        if !self.view.outboxes.is_empty() {
            self.publish_outboxes();
        }
    }

    fn publish_outboxes(&self) {
        for (to, outbox) in &self.view.outboxes {
            set(outbox, self.machine.outbox(*to));
        }
        set(
            &self.view.departures,
            self.machine.departures().collect::<Vec<_>>(),
        );
        let dropped = self.machine.dropped().map(|(_, count)| count).sum();
        self.view.dropped.store(dropped, Ordering::Relaxed);
    }
}

/// The position that tables stand at.
pub(crate) fn applied(tables: &GroupTables) -> Result<Option<Position>, Fault> {
    standing(|name| tables.system(name)).map(|(applied, _)| applied)
}

/// Position and membership in the system rows of tables.
pub(crate) fn standing(
    system: impl Fn(&str) -> Result<Option<Vec<u8>>, Fault>,
) -> Result<(Option<Position>, StoredMembership), Fault> {
    let applied = system(APPLIED)?.map(|row| codec::decode_position(&row));
    let membership = system(MEMBERSHIP)?.map(|row| codec::decode_membership(&row));
    let applied = applied.transpose().map_err(damaged)?;
    let membership = membership.transpose().map_err(damaged)?;
    Ok((applied, membership.unwrap_or_default()))
}

/// Sets a watched value; those who watch are woken only by a change.
fn set<T: PartialEq>(watched: &watch::Sender<T>, value: T) {
    watched.send_if_modified(|now| {
        let changed = *now != value;
        *now = value;
        changed
    });
}

fn damaged(error: std::io::Error) -> Fault {
    Fault::new("read the position of the tables", error)
}
