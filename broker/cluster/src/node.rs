//! All groups of this node, as the door sees them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::select_all;
use millrace_model::command::Receive;
use millrace_model::ledger::{Message, Status};
use millrace_model::outcome::Lease;
use millrace_model::{
    Answer, BoxFuture, Command, Fault, GroupId, Ledger, Outcome, PayloadRef, Proposal, Query,
    Refusal, Topology, Unavailable,
};
use millrace_store::log::Log;
use millrace_store::spill::{Moved, Spiller};
use millrace_store::tables::{Outside, TableOptions, TableStore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::apply::{Applier, View};
use crate::group::Group;
use crate::options::ClusterOptions;
use crate::waiters::WaitersByQueue;
use crate::{catalog, metrics, purge, spill, ticker};

/// The agreement of this node: its log, its tables and its groups. The [`Ledger`] of the door.
pub struct Cluster {
    options: ClusterOptions,
    pub(crate) log: Arc<Log>,
    pub(crate) tables: TableStore,
    pub(crate) meta: Arc<Group>,
    pub(crate) data: Vec<Arc<Group>>,
    topology: Arc<ArcSwap<Topology>>,
    pub(crate) waiters: Arc<WaitersByQueue>,
    /// What was moved out of the log.
    pub(crate) moved: Arc<Moved>,
    spiller: spill::Shared,
    /// Tickers, followers of the catalog and purgers; they end with the node.
    tasks: std::sync::Mutex<JoinSet<()>>,
}

/// What rows refer to, of all groups.
#[derive(Debug, Default)]
pub(crate) struct PayloadUse {
    /// In the log: the lengths of payloads, once for each reference.
    pub(crate) referred_bytes: u64,
    /// Outside of it.
    pub(crate) outside: Outside,
}

impl Cluster {
    /// Opens log and tables, starts every group, and returns when what was acknowledged before is applied.
    ///
    /// # Errors
    /// A [`Fault`] that says what is damaged, lost or in use. Nothing is repaired by forgetting.
    pub async fn start(options: ClusterOptions) -> Result<Self, Fault> {
        let (log, tables) = open(&options)?;
        let topology = Arc::new(ArcSwap::from_pointee(Topology::default()));
        let waiters = Arc::new(WaitersByQueue::default());
        let mut groups = Vec::new();
        for id in (0..=options.data_groups).map(GroupId) {
            let view = Arc::new(View::new(Arc::clone(&waiters), Arc::clone(&topology)));
            let group = Group::start(tables.group(id)?, &log, view, &options).await?;
            groups.push(Arc::new(group));
        }
        let handles = groups.iter().map(|group| group.applier.tables().clone());
        let (handles, reference) = (handles.collect(), millrace_machine::reference as _);
        let spiller = Spiller::new(Arc::clone(&log), handles, reference, options.spill);
        let (meta, data) = (Arc::clone(&groups[0]), groups.split_off(1));
        let tasks = std::sync::Mutex::new(JoinSet::new());
        let cluster = Self {
            options,
            log,
            tables,
            meta,
            data,
            topology,
            waiters,
            moved: spiller.moved(),
            spiller: Arc::new(std::sync::Mutex::new(spiller)),
            tasks,
        };
        cluster.spawn_tasks();
        cluster.recover().await?;
        Ok(cluster)
    }

    fn spawn_tasks(&self) {
        let mut tasks = self.lock_tasks();
        for group in self.groups() {
            tasks.spawn(ticker::run(Arc::clone(group)));
            tasks.spawn(purge::run(Arc::clone(group), self.options.snapshot_bytes));
        }
        tasks.spawn(spill::run(
            Arc::clone(&self.spiller),
            self.options.spill.pause,
        ));
        for data in &self.data {
            tasks.spawn(catalog::follow(Arc::clone(&self.meta), Arc::clone(data)));
        }
        tasks.spawn(catalog::forget(Arc::clone(&self.meta), self.data.clone()));
    }

    fn lock_tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until every group leads or follows, and has applied what its log held.
    async fn recover(&self) -> Result<(), Fault> {
        /// A log of many segments takes a while to be applied again.
        const PATIENCE: Duration = Duration::from_secs(600);
        for group in self.groups() {
            let recovered = group.raft.wait_for_recovery(Some(PATIENCE)).await;
            recovered
                .map_err(|error| Fault::new("recover", format!("group {}: {error}", group.id)))?;
        }
        Ok(())
    }

    /// All groups, group 0 first.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        std::iter::once(&self.meta).chain(&self.data)
    }

    fn group(&self, id: GroupId) -> Result<&Arc<Group>, Unavailable> {
        let found = self.groups().find(|group| group.id == id);
        found.ok_or_else(|| Unavailable::NotReady(format!("this node has no group {id}")))
    }

    /// Ready when a group has failed, with the reason. The process must end then: it never serves on without
    /// agreement.
    pub async fn failed(&self) -> Fault {
        let groups = self.groups().map(|group| Box::pin(group.failed()));
        select_all(groups).await.0
    }

    /// What the groups' rows refer to.
    pub(crate) fn payloads(&self) -> PayloadUse {
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

    /// Ends the long polls: each answers with what it has.
    pub fn drain(&self) {
        self.waiters.close();
    }

    /// Stops the groups, makes everything durable and closes log and tables.
    ///
    /// # Errors
    /// A [`Fault`] when something could not be made durable.
    pub async fn stop(&self) -> Result<(), Fault> {
        self.drain();
        self.lock_tasks().abort_all();
        for group in self.groups() {
            group.applier.call_blocking(Applier::flush).await?;
            group
                .raft
                .shutdown()
                .await
                .map_err(|error| Fault::new("stop a group", error))?;
            group.applier.stop();
        }
        spill::settled(&self.spiller).await;
        self.log
            .close()
            .map_err(|error| Fault::new("close the log", error))
    }

    /// Whether the disk has room for what makes room only: receives, acks, changes of leases.
    fn is_full(&self) -> bool {
        self.log.space().full || self.tables.is_short()
    }

    async fn commit_in(&self, group: GroupId, proposal: Proposal) -> Result<Outcome, Unavailable> {
        if !proposal.payloads.is_empty() && self.is_full() {
            return Err(Unavailable::StorageFull);
        }
        let changes_catalog = matches!(proposal.command, Command::Catalog(_));
        let outcome = self.group(group)?.commit(proposal).await?;
        if changes_catalog && !matches!(outcome, Outcome::Refused(_)) {
            let revision = self.topology.load().revision;
            catalog::adopted(&self.data, revision, self.options.commit_timeout).await?;
        }
        Ok(outcome)
    }

    async fn receive_in(
        &self,
        group: GroupId,
        receive: Receive,
        wait: Duration,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        let deadline = Instant::now() + wait;
        let _waiting = self.waiters.enter().ok_or(Unavailable::Overloaded)?;
        let Some(waiters) = self.waiters.get(receive.queue) else {
            return Ok(Err(gone(receive)));
        };
        loop {
            if let Some(claim) = waiters.claim(receive.max) {
                let outcome = self
                    .group(group)?
                    .commit(Proposal::bare(Command::Receive(receive)))
                    .await?;
                drop(claim);
                match outcome {
                    Outcome::Received(leases) if !leases.is_empty() => {
                        return self.messages(group, leases).map(Ok);
                    }
                    Outcome::Refused(refusal) => return Ok(Err(refusal)),
                    _ => {}
                }
            }
            if waiters.is_gone() || Instant::now() >= deadline {
                return Ok(Ok(Vec::new()));
            }
            waiters.sleep(deadline).await;
        }
    }

    fn messages(&self, group: GroupId, leases: Vec<Lease>) -> Result<Vec<Message>, Unavailable> {
        let places: Vec<_> = leases.iter().map(|lease| lease.payload).collect();
        let events = self.read(group, &places)?;
        Ok(leases
            .into_iter()
            .zip(events)
            .map(|(lease, event)| Message { lease, event })
            .collect())
    }

    fn read(&self, group: GroupId, places: &[PayloadRef]) -> Result<Vec<Bytes>, Unavailable> {
        Ok(self.group(group)?.payloads.read(places)?)
    }
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

impl Ledger for Cluster {
    fn commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> BoxFuture<'_, Result<Outcome, Unavailable>> {
        Box::pin(self.commit_in(group, proposal))
    }

    fn receive(
        &self,
        group: GroupId,
        receive: Receive,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Result<Vec<Message>, Refusal>, Unavailable>> {
        Box::pin(self.receive_in(group, receive, wait))
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, Unavailable>> {
        Box::pin(async move { self.group(group)?.query(query).await })
    }

    fn payloads(
        &self,
        group: GroupId,
        places: Vec<PayloadRef>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, Unavailable>> {
        Box::pin(async move { self.read(group, &places) })
    }

    fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    fn data_groups(&self) -> Vec<GroupId> {
        self.data.iter().map(|group| group.id).collect()
    }

    fn status(&self) -> Status {
        let groups: Vec<_> = self.groups().map(|group| group.status()).collect();
        let leaderless = groups.iter().filter(|group| group.leader.is_none());
        let reasons = leaderless
            .map(|group| format!("group {} has no leader", group.id))
            .collect();
        Status {
            node: self.options.node,
            reasons,
            storage_full: self.is_full(),
            groups,
        }
    }

    fn metrics(&self) -> String {
        metrics::text(self)
    }
}
