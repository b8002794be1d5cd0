//! The node as the door sees it: whatever group leads wherever, any node takes any request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, select_all};
use millrace_model::command::Receive;
use millrace_model::ledger::{ChangeError, GroupStatus, MemberChange, Message, Status};
use millrace_model::{
    Answer, BoxFuture, Fault, GroupId, Ledger, Outcome, PayloadRef, Proposal, Query, Refusal,
    Topology, Unavailable,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::apply::Applier;
use crate::identity::IdentityFile;
use crate::leadership::Leader;
use crate::members;
use crate::node::{self, Node};
use crate::options::ClusterOptions;
use crate::peer::door;
use crate::peer::peers::Peers;
use crate::peer::standing::Standing;
use crate::simulated::net::TcpListener;
use crate::{
    balance, carrier, catalog, formation, leadership, metrics, mover, purge, removed, spill,
    ticker, version,
};

/// How long a leader that stops takes to hand over each group.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// The agreement of this node: its log, its tables, its groups and its peers. The [`Ledger`] of the door.
pub struct Cluster {
    pub(crate) node: Arc<Node>,
    pub(crate) standing: Arc<Standing>,
    /// Whether peers can connect to it.
    pub(crate) listens: bool,
    /// All that goes on beside requests; ends with the node.
    tasks: std::sync::Mutex<JoinSet<()>>,
}

impl Cluster {
    /// Opens log and tables and starts every group. A node alone returns when what was acknowledged before is applied;
    /// a member of a larger cluster at once: until it knows a leader it answers that it is not ready.
    ///
    /// # Errors
    /// A [`Fault`] that says what is damaged, lost, in use, or of another node. Nothing is repaired by forgetting.
    pub async fn start(options: ClusterOptions) -> Result<Self, Fault> {
        let (max, groups) = (options.format_version_max, options.data_groups);
        let mut identity = IdentityFile::open(&options.dir, options.node, max, groups)?;
        let (log, tables) = node::open(&options)?;
        identity.opened(log.is_new())?;
        let standing = Arc::new(Standing::new(identity, &options));
        let peers = Arc::new(Peers::new(Arc::clone(&standing)));
        let node = Arc::new(Node::start(options, log, tables, peers).await?);
        version::note_applied(&node)?;
        let mut cluster = Self {
            node,
            standing,
            listens: false,
            tasks: std::sync::Mutex::new(JoinSet::new()),
        };
        cluster.listen().await?;
        cluster.spawn_tasks();
        cluster.begin().await?;
        Ok(cluster)
    }

    /// Whether the list names nobody else.
    fn is_first_alone(&self) -> bool {
        let mut list = self.standing.list.keys();
        list.all(|node| *node == self.standing.node)
    }

    /// Whether the node has peers, or may get some.
    async fn has_peers(&self) -> Result<bool, Fault> {
        let (members, _) = self.node.meta.members().await?;
        let founders = self.standing.founders();
        let was_added = self.standing.cluster().borrow().is_some() && founders.is_empty();
        let has_others = founders
            .keys()
            .chain(&members)
            .any(|node| *node != self.standing.node);
        Ok(was_added || has_others || !self.standing.list.is_empty())
    }

    /// Listens for peers, unless the node is alone and was not given a list.
    async fn listen(&mut self) -> Result<(), Fault> {
        self.listens = self.has_peers().await?;
        if !self.listens {
            return Ok(());
        }
        let address = self.node.options.peer_listen;
        let listener = TcpListener::bind(address).await;
        let fault = |error| Fault::new(&format!("listen for peers on {address}"), error);
        let listener = listener.map_err(fault)?;
        let (standing, node) = (Arc::clone(&self.standing), Arc::clone(&self.node));
        self.lock_tasks()
            .spawn(door::listen(listener, standing, node));
        Ok(())
    }

    fn spawn_tasks(&self) {
        let mut tasks = self.lock_tasks();
        let node = &self.node;
        for group in node.groups() {
            let (peers, waiters) = (Arc::clone(&node.peers), Arc::clone(&node.waiters));
            tasks.spawn(leadership::follow(Arc::clone(group), peers, waiters));
            tasks.spawn(ticker::run(Arc::clone(group)));
            tasks.spawn(purge::run(Arc::clone(group), node.options.snapshot_bytes));
        }
        let spiller = Arc::clone(&node.spiller);
        tasks.spawn(spill::run(spiller, node.options.spill.pause));
        for data in &node.data {
            tasks.spawn(catalog::follow(Arc::clone(&node.meta), Arc::clone(data)));
        }
        for home in &node.data {
            for to in node.data.iter().filter(|to| to.id != home.id) {
                let (home, to) = (Arc::clone(home), Arc::clone(to));
                tasks.spawn(carrier::run(Arc::clone(node), home, to));
            }
            if node.data.len() > 1 {
                tasks.spawn(mover::run(Arc::clone(node), Arc::clone(home)));
            }
        }
        tasks.spawn(balance::run(Arc::clone(node)));
        tasks.spawn(catalog::forget(Arc::clone(&node.meta), node.data.clone()));
        tasks.spawn(version::run(Arc::clone(node)));
        tasks.spawn(removed::run(Arc::clone(node)));
    }

    fn lock_tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Forms the cluster, or goes on with it.
    async fn begin(&self) -> Result<(), Fault> {
        let has_cluster = self.standing.cluster().borrow().is_some();
        let founders = self.standing.founders();
        if has_cluster && !founders.is_empty() {
            formation::form(&self.node, &self.standing, founders).await?;
        } else if !has_cluster && self.is_first_alone() {
            let own = self.standing.list.get(&self.standing.node).cloned();
            let address = own.unwrap_or_else(|| self.node.options.peer_listen.to_string());
            formation::alone(&self.node, &self.standing, &address).await?;
        } else if !has_cluster {
            let (node, standing) = (Arc::clone(&self.node), Arc::clone(&self.standing));
            self.lock_tasks().spawn(formation::together(node, standing));
        }
        self.recover().await
    }

    /// Waits until a node that is the only voter has applied what its log held. Others cannot tell before they hear
    /// from a leader, and a leader applies all before it answers anything.
    async fn recover(&self) -> Result<(), Fault> {
        /// A log of many segments takes a while to be applied again.
        const PATIENCE: Duration = Duration::from_secs(600);
        for group in self.node.groups() {
            let (_, voters) = group.members().await?;
            if !voters.iter().eq([&self.standing.node]) {
                continue;
            }
            // Nobody else would, and it need not wait for anybody.
            let elected = group.raft.trigger().elect(false).await;
            elected.map_err(|error| Fault::new("recover", error))?;
            let recovered = group.raft.wait_for_recovery(Some(PATIENCE)).await;
            recovered
                .map_err(|error| Fault::new("recover", format!("group {}: {error}", group.id)))?;
            let deadline = Instant::now() + PATIENCE;
            while group.leader() != Leader::Alone && Instant::now() < deadline {
                group.leadership.change(group.leader(), deadline).await;
            }
        }
        self.warn_of_list().await
    }

    /// The list counts at the first start only; later it may be outdated.
    async fn warn_of_list(&self) -> Result<(), Fault> {
        let (members, _) = self.node.meta.members().await?;
        let list = &self.standing.list;
        if !members.is_empty() && !list.is_empty() && !list.keys().eq(&members) {
            tracing::warn!(
                ?members,
                "the cluster has other members than --cluster names; its own count"
            );
        }
        Ok(())
    }

    /// Ready when a group has failed, with the reason. The process must end then: it never serves on without
    /// agreement.
    pub async fn failed(&self) -> Fault {
        let groups = self.node.groups().map(|group| Box::pin(group.failed()));
        select_all(groups).await.0
    }

    /// Hands every group that this node leads to another voter that is up to date, if there is one; within a few
    /// seconds. For a planned stop: nobody waits for an election then.
    pub async fn hand_over(&self) {
        join_all(self.node.groups().map(|group| async move {
            if group.leader() != Leader::Here {
                return;
            }
            let Some(to) = members::successor(group) else {
                return;
            };
            if let Err(error) = members::transfer(group, to, HAND_OVER_MAX).await
                && group.leadership.is_here()
            {
                tracing::warn!(group = %group.id, to, %error, "not handed over");
            }
        }))
        .await;
    }

    /// Why nothing of `group` can be served through this node.
    fn objection(&self, group: &GroupStatus) -> Option<String> {
        let id = group.id;
        let Some(leader) = group.leader else {
            return Some(format!("group {id} has no leader"));
        };
        if leader == self.standing.node || self.node.peers.reaches(leader) {
            return None;
        }
        Some(format!(
            "node {leader} leads group {id} and cannot be reached"
        ))
    }

    /// Ends the long polls: each answers with what it has.
    pub fn drain(&self) {
        self.node.waiters.close();
    }

    /// Stops the groups, makes everything durable and closes log and tables.
    ///
    /// # Errors
    /// A [`Fault`] when something could not be made durable.
    pub async fn stop(&self) -> Result<(), Fault> {
        self.drain();
        let mut tasks = std::mem::take(&mut *self.lock_tasks());
        tasks.shutdown().await;
        for group in self.node.groups() {
            group.applier.call_blocking(Applier::flush).await?;
            group
                .raft
                .shutdown()
                .await
                .map_err(|error| Fault::new("stop a group", error))?;
            group.applier.stop();
        }
        self.node.peers.close();
        spill::settled(&self.node.spiller).await;
        self.node
            .log
            .close()
            .map_err(|error| Fault::new("close the log", error))
    }
}

impl Ledger for Cluster {
    fn commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> BoxFuture<'_, Result<Outcome, Unavailable>> {
        self.commit_in(group, proposal)
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
        Box::pin(self.query_in(group, query))
    }

    fn payloads(
        &self,
        group: GroupId,
        places: Vec<PayloadRef>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, Unavailable>> {
        Box::pin(async move { self.payloads_in(group, &places).await })
    }

    fn fresh(&self) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(self.fresh_in())
    }

    fn topology(&self) -> Arc<Topology> {
        self.node.topology.load_full()
    }

    fn data_groups(&self) -> Vec<GroupId> {
        self.node.data.iter().map(|group| group.id).collect()
    }

    fn status(&self) -> Status {
        let groups: Vec<_> = self.node.groups().map(|group| group.status()).collect();
        let reasons = match self.standing.waits_for() {
            Some(reason) => vec![reason],
            None => groups
                .iter()
                .filter_map(|group| self.objection(group))
                .collect(),
        };
        Status {
            node: self.standing.node,
            reasons,
            storage_full: self.node.is_full(),
            groups,
            version: self.topology().version,
            nodes: Vec::new(),
        }
    }

    fn cluster(&self) -> BoxFuture<'_, Status> {
        Box::pin(async move {
            let groups = self.node.groups().map(|group| self.status_of(group));
            Status {
                groups: join_all(groups).await,
                nodes: self.standing.formats(),
                ..self.status()
            }
        })
    }

    fn change_members(&self, change: MemberChange) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(self.change_members_in(change))
    }

    fn metrics(&self) -> String {
        metrics::text(self)
    }
}
