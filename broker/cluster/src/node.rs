//! All groups of this node: what it does itself, for its own clients and for those of its peers.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use millrace_model::command::Receive;
use millrace_model::ledger::Message;
use millrace_model::outcome::Lease;
use millrace_model::{
    Answer, Command, Fault, GroupId, Outcome, PayloadRef, Proposal, Query, Refusal, Revision,
    Topology, Unavailable,
};
use millrace_store::log::Log;
use millrace_store::spill::{Moved, Spiller};
use millrace_store::tables::{Outside, TableOptions, TableStore};
use tokio::time::Instant;

use crate::apply::View;
use crate::group::Group;
use crate::leadership::Leader;
use crate::options::ClusterOptions;
use crate::peer::peers::Peers;
use crate::waiters::WaitersByQueue;
use crate::{catalog, simulated, spill, version};

/// The log, the tables and the groups of this node.
pub(crate) struct Node {
    pub(crate) options: ClusterOptions,
    pub(crate) log: Arc<Log>,
    pub(crate) tables: TableStore,
    pub(crate) meta: Arc<Group>,
    pub(crate) data: Vec<Arc<Group>>,
    pub(crate) topology: Arc<ArcSwap<Topology>>,
    pub(crate) waiters: Arc<WaitersByQueue>,
    pub(crate) peers: Arc<Peers>,
    /// What was moved out of the log.
    pub(crate) moved: Arc<Moved>,
    pub(crate) spiller: spill::Shared,
}

/// What rows refer to, of all groups.
#[derive(Debug, Default)]
pub(crate) struct PayloadUse {
    /// In the log: the lengths of payloads, once for each reference.
    pub(crate) referred_bytes: u64,
    /// Outside of it.
    pub(crate) outside: Outside,
}

impl Node {
    /// Starts every group on an open log and open tables.
    ///
    /// # Errors
    /// A [`Fault`] that says what is damaged or lost.
    pub(crate) async fn start(
        options: ClusterOptions,
        log: Arc<Log>,
        tables: TableStore,
        peers: Arc<Peers>,
    ) -> Result<Self, Fault> {
        let topology = Arc::new(ArcSwap::from_pointee(Topology::default()));
        let waiters = Arc::new(WaitersByQueue::default());
        let mut groups = Vec::new();
        let data_groups = peers.standing.data_groups;
        version::allow_pages(&peers.standing, &tables);
        for id in (0..=data_groups).map(GroupId) {
            let (waiters, topology) = (Arc::clone(&waiters), Arc::clone(&topology));
            let view = Arc::new(View::new(waiters, topology, others(id, data_groups)));
            let peers = Arc::clone(&peers);
            let group = Group::start(tables.group(id)?, &log, view, peers, &options).await?;
            groups.push(Arc::new(group));
        }
        let handles = groups.iter().map(|group| group.applier.tables().clone());
        let (handles, reference) = (handles.collect(), millrace_machine::reference as _);
        let spiller = Spiller::new(Arc::clone(&log), handles, reference, options.spill);
        let (meta, data) = (Arc::clone(&groups[0]), groups.split_off(1));
        Ok(Self {
            options,
            log,
            tables,
            meta,
            data,
            topology,
            waiters,
            peers,
            moved: spiller.moved(),
            spiller: Arc::new(std::sync::Mutex::new(spiller)),
        })
    }

    /// All groups, group 0 first.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        std::iter::once(&self.meta).chain(&self.data)
    }

    pub(crate) fn group(&self, id: GroupId) -> Result<&Arc<Group>, Unavailable> {
        let found = self.groups().find(|group| group.id == id);
        found.ok_or_else(|| Unavailable::NotReady(format!("this node has no group {id}")))
    }

    /// What the groups' rows refer to.
    pub(crate) fn payloads_used(&self) -> PayloadUse {
        let mut sum = PayloadUse::default();
        for group in self.groups() {
            let tables = group.applier.tables();
            let outside = tables.outside();
            sum.outside.payloads += outside.payloads;
            sum.outside.bytes += outside.bytes;
            sum.referred_bytes += tables.referred_bytes();
        }
        sum
    }

    /// Whether the disk has room for what makes room only: receives, acks, changes of leases.
    pub(crate) fn is_full(&self) -> bool {
        self.log.space().full || self.tables.is_short()
    }

    /// Commits a command in a group that this node leads.
    ///
    /// # Errors
    /// [`Unavailable`]; [`Unavailable::NoQuorum`] says that it was not appended, and never will be.
    pub(crate) fn commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> impl Future<Output = Result<Outcome, Unavailable>> + '_ {
        let changes_catalog = matches!(proposal.command, Command::Catalog(_));
        let submitted = self.submit(group, proposal);
        async move {
            let outcome = submitted?.await?;
            if changes_catalog && !matches!(outcome, Outcome::Refused(_)) {
                let revision = self.topology.load().revision;
                // Boxed: events do not pay for it.
                let adopted = catalog::adopted(&self.data, revision, self.options.commit_timeout);
                Box::pin(adopted).await?;
            }
            Ok(outcome)
        }
    }

    fn submit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> Result<impl Future<Output = Result<Outcome, Unavailable>> + use<>, Unavailable> {
        if !proposal.payloads.is_empty() && self.is_full() {
            return Err(Unavailable::StorageFull);
        }
        Ok(self.group(group)?.commit(proposal))
    }

    /// Leases entries in a group that this node leads; waits here for the first until `deadline`.
    ///
    /// # Errors
    /// [`Unavailable::NoQuorum`] as soon as it leads no more: others may know of entries that this node does not.
    pub(crate) async fn receive(
        &self,
        group: GroupId,
        receive: Receive,
        deadline: Instant,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        let group = self.group(group)?;
        let _waiting = self.waiters.enter().ok_or(Unavailable::Overloaded)?;
        let mut is_sure = group.leader() == Leader::Alone;
        loop {
            if !group.leadership.is_here() {
                return Err(Unavailable::NoQuorum);
            }
            let waiters = self.waiters.get(group.id, receive.queue);
            if let Some(claim) = waiters.as_ref().and_then(|some| some.claim(receive.max)) {
                let proposal = Proposal::bare(Command::Receive(receive));
                let outcome = group.commit(proposal).await?;
                drop(claim);
                if let Some(received) = self.received(group, outcome).await? {
                    return Ok(received);
                }
            }
            if !is_sure {
                // Nothing is said to be there: is this node still one that knows, and has it applied all?
                group.linear(self.commit_deadline()).await?;
                is_sure = true;
                continue;
            }
            if self.waiters.is_closed() {
                return Ok(Ok(Vec::new()));
            }
            let Some(waiters) = waiters else {
                return Ok(Err(gone(receive)));
            };
            if waiters.is_gone() {
                // Deleted, or it moves: looked at again, that is told.
                continue;
            }
            if Instant::now() >= deadline {
                return Ok(Ok(Vec::new()));
            }
            let stay = || group.leadership.is_here() && !self.waiters.is_closed();
            if let Some(answered) = waiters.sleep(receive, deadline, stay).await {
                if let Some(received) = self.received(group, answered?).await? {
                    return Ok(received);
                }
                waiters.in_vain();
            }
            is_sure = group.leader() == Leader::Alone;
        }
    }

    /// The end of a receive; `None` when there was nothing for it.
    async fn received(
        &self,
        group: &Group,
        outcome: Outcome,
    ) -> Result<Option<Result<Vec<Message>, Refusal>>, Unavailable> {
        Ok(match outcome {
            Outcome::Received(leases) if !leases.is_empty() => {
                Some(Ok(self.messages(group, leases).await?))
            }
            Outcome::Refused(refusal) => Some(Err(refusal)),
            _ => None,
        })
    }

    async fn messages(
        &self,
        group: &Group,
        leases: Vec<Lease>,
    ) -> Result<Vec<Message>, Unavailable> {
        let places: Vec<_> = leases.iter().map(|lease| lease.payload).collect();
        let events = read(group, &places).await?;
        Ok(leases
            .into_iter()
            .zip(events)
            .map(|(lease, event)| Message { lease, event })
            .collect())
    }

    /// Asks a group that this node leads.
    ///
    /// # Errors
    /// As [`Group::linear`].
    pub(crate) async fn query(&self, group: GroupId, query: Query) -> Result<Answer, Unavailable> {
        let group = self.sure(group).await?;
        group.query(query).await
    }

    /// Reads stored events of a group that this node leads.
    ///
    /// # Errors
    /// As [`Group::linear`].
    pub(crate) async fn payloads(
        &self,
        group: GroupId,
        places: &[PayloadRef],
    ) -> Result<Vec<Bytes>, Unavailable> {
        read(self.sure(group).await?, places).await
    }

    /// The group, which this node surely leads.
    async fn sure(&self, group: GroupId) -> Result<&Arc<Group>, Unavailable> {
        let group = self.group(group)?;
        if group.leader() != Leader::Alone {
            group.linear(self.commit_deadline()).await?;
        }
        Ok(group)
    }

    /// When whatever begins now must have ended.
    pub(crate) fn commit_deadline(&self) -> Instant {
        Instant::now() + self.options.commit_timeout
    }

    /// Waits until the catalog applied here is of `revision` or later; for a while only.
    pub(crate) async fn catalog_at(&self, revision: Revision, patience: Duration) {
        let mut stands_at = self.meta.view.revision.subscribe();
        let there = stands_at.wait_for(|stands_at| *stands_at >= revision);
        let _ = tokio::time::timeout(patience, there).await;
    }
}

/// The events at `places`. What the disk must be waited for is read off the threads that serve requests, since others would wait
/// with it. What is in the page cache is read here: in a drain that costs 6 µs an event, and off these threads 10.
async fn read(group: &Group, places: &[PayloadRef]) -> Result<Vec<Bytes>, Unavailable> {
    if let Some(found) = group.payloads.at_hand(places) {
        return Ok(found);
    }
    let (payloads, places) = (group.payloads.clone(), places.to_vec());
    let read = simulated::blocking(move || payloads.read(&places)).await;
    let read = read.unwrap_or_else(|panic| Err(Fault::new("read payloads", panic)));
    if let Err(fault) = &read
        && fault.is_damage()
        && group.leader() != Leader::Alone
    {
        // The other members have it whole, and one of them serves it once this node is gone. Alone it is better
        // to serve all the rest.
        group.damaged(fault);
    }
    Ok(read?)
}

/// The data groups that `group` may have to carry something to: group 0 accepts no events.
fn others(group: GroupId, data_groups: u32) -> impl Iterator<Item = GroupId> {
    let others = (1..=data_groups).map(GroupId);
    others.filter(move |other| group != GroupId::META && *other != group)
}

fn gone(receive: Receive) -> Refusal {
    Refusal::QueueNotFound(receive.queue.to_string())
}

/// Opens log and tables; refuses when one of them is gone.
pub(crate) fn open(options: &ClusterOptions) -> Result<(Arc<Log>, TableStore), Fault> {
    let log = Log::open(options.dir.join("log"), options.log.clone())
        .map_err(|error| Fault::new("open the log", error))?;
    let log = Arc::new(log);
    let segments = Arc::clone(&log) as Arc<dyn millrace_store::refs::Segments>;
    let tables = TableStore::open(options.dir.join("tables"), TableOptions::new(segments))?;
    if log.is_new() != tables.is_new() {
        let (lost, kept) = if log.is_new() {
            ("log", "tables")
        } else {
            ("tables", "log")
        };
        let reason = format!(
            "the {lost} folder is empty, the {kept} folder is not: put the {lost} back, or start with an empty folder"
        );
        return Err(Fault::new("open the data", reason));
    }
    Ok((log, tables))
}
