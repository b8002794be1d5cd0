//! The node as the door sees it: whatever group leads wherever, any node takes any request.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, select_all};
use millrace_model::command::Receive;
use millrace_model::ledger::{ChangeError, MemberChange, Message, Status};
use millrace_model::{
    Answer, BoxFuture, Command, Fault, GroupId, Ledger, Outcome, PayloadRef, Proposal, Query,
    Refusal, Topology, Unavailable,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::apply::Applier;
use crate::forward::{self, Reply, Request};
use crate::group::Group;
use crate::identity::IdentityFile;
use crate::leadership::Leader;
use crate::members::{self, GroupChange};
use crate::node::{self, Node};
use crate::options::ClusterOptions;
use crate::peer::connection::Broken;
use crate::peer::door;
use crate::peer::hello::{self, Purpose};
use crate::peer::peers::Peers;
use crate::peer::standing::Standing;
use crate::types::Member;
use crate::{catalog, formation, leadership, metrics, purge, ticker};

/// How long a request waits for a leader, or for another one than the node that said it does not lead. A planned change
/// takes a tenth of it; without a majority a client is told fast.
const LEADER_MAX: Duration = Duration::from_millis(500);

/// Wait before the same leader is asked again that could not be reached, or did not lead.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How long an answer waits for the catalog here to follow a change made elsewhere.
const CATALOG_MAX: Duration = Duration::from_secs(1);

/// How long the status of a group is waited for.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// How long a change of members of one group may take, at its leader and on the way.
const CHANGE_MAX: Duration = Duration::from_secs(20);

/// How long a leader that stops takes to hand over each group.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// Bytes of stored events that are asked of another node at once; a larger one travels alone.
const EVENTS_AT_ONCE: u64 = 8 << 20;

/// How much longer than its wait a forwarded receive may take.
const RECEIVE_EXTRA: Duration = Duration::from_secs(10);

/// The agreement of this node: its log, its tables, its groups and its peers. The [`Ledger`] of the door.
pub struct Cluster {
    pub(crate) node: Arc<Node>,
    pub(crate) standing: Arc<Standing>,
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
        let mut identity = IdentityFile::open(&options.dir, options.node)?;
        let (log, tables) = node::open(&options)?;
        identity.opened(log.is_new())?;
        let list = options.members.clone();
        let standing = Arc::new(Standing::new(identity, list, options.data_groups));
        let peers = Arc::new(Peers::new(Arc::clone(&standing)));
        let node = Arc::new(Node::start(options, log, tables, peers).await?);
        let cluster = Self {
            node,
            standing,
            tasks: std::sync::Mutex::new(JoinSet::new()),
        };
        cluster.listen().await?;
        cluster.spawn_tasks();
        cluster.begin().await?;
        Ok(cluster)
    }

    /// Whether this node was never meant to have peers.
    fn is_alone(&self) -> bool {
        let list = &self.standing.list;
        let mut founders = self.standing.founders();
        founders.remove(&self.standing.node);
        let has_cluster = self.standing.cluster().borrow().is_some();
        if has_cluster && self.standing.founders().is_empty() {
            return false;
        }
        founders.is_empty() && list.keys().all(|node| *node == self.standing.node)
    }

    /// Listens for peers, unless the node is alone and was not given a list.
    async fn listen(&self) -> Result<(), Fault> {
        if self.is_alone() && self.standing.list.is_empty() {
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
        for data in &node.data {
            tasks.spawn(catalog::follow(Arc::clone(&node.meta), Arc::clone(data)));
        }
        tasks.spawn(catalog::forget(Arc::clone(&node.meta), node.data.clone()));
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
        } else if !has_cluster && self.is_alone() {
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
            if !group.is_only_voter().await? {
                continue;
            }
            let recovered = group.raft.wait_for_recovery(Some(PATIENCE)).await;
            recovered
                .map_err(|error| Fault::new("recover", format!("group {}: {error}", group.id)))?;
            let deadline = Instant::now() + PATIENCE;
            while group.leader() != Leader::Alone && Instant::now() < deadline {
                group.leadership.change(group.leader(), deadline).await;
            }
        }
        self.warn_of_list();
        Ok(())
    }

    /// The list counts at the first start only; later it may be outdated.
    fn warn_of_list(&self) {
        let members = self.standing.members();
        let (list, known) = (self.standing.list.keys(), members.keys());
        if !members.is_empty() && !self.standing.list.is_empty() && !list.eq(known) {
            let members: Vec<_> = members.keys().collect();
            tracing::warn!(
                ?members,
                "the cluster has other members than --cluster names; its own count"
            );
        }
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
            if let Err(error) = members::transfer(group, to, HAND_OVER_MAX).await {
                tracing::warn!(group = %group.id, to, %error, "not handed over");
            }
        }))
        .await;
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
        self.node
            .log
            .close()
            .map_err(|error| Fault::new("close the log", error))
    }

    /// Does something with the leader of `group`, here or elsewhere, again while nothing was done and a leader may be
    /// found.
    async fn with_leader<T, F>(
        &self,
        group: &Group,
        deadline: Instant,
        attempt: impl Fn(Option<u64>) -> F,
    ) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Unavailable>>,
    {
        let mut patience = None;
        loop {
            let leader = group.leader();
            let result = match leader {
                Leader::Alone | Leader::Here => attempt(None).await,
                Leader::At(node) => attempt(Some(node)).await,
                Leader::Unknown => Err(Unavailable::NoQuorum),
            };
            if !matches!(result, Err(Unavailable::NoQuorum)) {
                return result;
            }
            let now = Instant::now();
            let until = *patience.get_or_insert(now + LEADER_MAX);
            if now >= until.min(deadline) {
                return Err(self.no_leader());
            }
            let pause = match leader {
                Leader::Unknown => until,
                _ => now + ASK_AGAIN,
            };
            group.leadership.change(leader, pause.min(until)).await;
        }
    }

    /// What a client is told when there is no leader.
    fn no_leader(&self) -> Unavailable {
        match self.standing.waits_for() {
            Some(reason) => Unavailable::NotReady(reason),
            None => Unavailable::NoQuorum,
        }
    }

    async fn ask(
        &self,
        leader: u64,
        request: &Request,
        follows: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<(Reply, Bytes), Broken> {
        forward::ask(&self.node.peers, leader, request, follows, deadline).await
    }

    /// Asks another node for what changes nothing: whatever goes wrong, nothing was done.
    async fn ask_safely(
        &self,
        leader: u64,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Reply, Bytes), Unavailable> {
        match self.ask(leader, request, Vec::new(), deadline).await {
            Ok((Reply::Unavailable(form), _)) => Err(form.into()),
            Ok(answered) => Ok(answered),
            Err(Broken::Unsent | Broken::Lost) => Err(Unavailable::NoQuorum),
        }
    }

    async fn commit_anywhere(
        &self,
        group: &Group,
        proposal: Proposal,
    ) -> Result<Outcome, Unavailable> {
        let deadline = self.node.commit_deadline();
        let changes_catalog = matches!(proposal.command, Command::Catalog(_));
        let attempt = |leader| {
            let proposal = proposal.clone();
            async move {
                match leader {
                    None => self.node.commit(group.id, proposal).await,
                    Some(leader) => self.commit_at(leader, group.id, proposal, deadline).await,
                }
            }
        };
        let outcome = self.with_leader(group, deadline, attempt).await?;
        if let Outcome::Refused(Refusal::StalePlan(revision)) = &outcome {
            self.await_catalog(group, *revision).await;
        } else if changes_catalog {
            tracing::trace!(group = %group.id, "the catalog changed");
        }
        Ok(outcome)
    }

    async fn commit_at(
        &self,
        leader: u64,
        group: GroupId,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Outcome, Unavailable> {
        let changes_catalog = matches!(proposal.command, Command::Catalog(_));
        let (request, payloads) = forward::commit(group, proposal);
        match self.ask(leader, &request, payloads, deadline).await {
            Ok((Reply::Outcome(outcome, revision), _)) => {
                if changes_catalog {
                    // Whoever made the change through this node finds it on this node.
                    self.node.catalog_at(revision, CATALOG_MAX).await;
                }
                Ok(outcome)
            }
            Ok((Reply::Unavailable(form), _)) => Err(form.into()),
            Err(Broken::Unsent) => Err(Unavailable::NoQuorum),
            Ok(_) | Err(Broken::Lost) => Err(Unavailable::OutcomeUnknown),
        }
    }

    /// A plan was stale: waits until the next one need not be. Either this node is behind, or the group is.
    async fn await_catalog(&self, group: &Group, revision: millrace_model::Revision) {
        let here = self.node.topology.load().revision;
        if here < revision {
            self.node.catalog_at(revision, CATALOG_MAX).await;
        } else if here > revision {
            let mut stands_at = group.view.revision.subscribe();
            let there = stands_at.wait_for(|stands_at| *stands_at >= here);
            let _ = tokio::time::timeout(CATALOG_MAX, there).await;
        }
    }

    async fn commit_in(&self, group: GroupId, proposal: Proposal) -> Result<Outcome, Unavailable> {
        let group = self.node.group(group)?;
        if group.leader() == Leader::Alone {
            return self.node.commit(group.id, proposal).await;
        }
        Box::pin(self.commit_anywhere(group, proposal)).await
    }

    async fn receive_in(
        &self,
        group: GroupId,
        receive: Receive,
        wait: Duration,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        let until = Instant::now() + wait;
        let group = self.node.group(group)?;
        if group.leader() == Leader::Alone {
            return self.node.receive(group.id, receive, until).await;
        }
        let deadline = until + RECEIVE_EXTRA;
        let attempt = |leader| async move {
            match leader {
                None => self.node.receive(group.id, receive, until).await,
                Some(leader) => self.receive_at(leader, group.id, receive, until).await,
            }
        };
        // Boxed: the node alone pays nothing for the way round.
        Box::pin(self.with_leader(group, deadline, attempt)).await
    }

    async fn receive_at(
        &self,
        leader: u64,
        group: GroupId,
        receive: Receive,
        until: Instant,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        let _waiting = self.node.waiters.enter().ok_or(Unavailable::Overloaded)?;
        let wait = until.saturating_duration_since(Instant::now());
        let request = Request::Receive {
            group,
            receive,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        match self
            .ask_safely(leader, &request, until + RECEIVE_EXTRA)
            .await?
        {
            (Reply::Received(leases, lengths), events) => {
                let messages = forward::messages(leases, lengths, events);
                messages.map(Ok).map_err(|_| Unavailable::NoQuorum)
            }
            (Reply::Refused(refusal), _) => Ok(Err(refusal)),
            _ => Err(Unavailable::NoQuorum),
        }
    }

    async fn query_in(&self, group: GroupId, query: Query) -> Result<Answer, Unavailable> {
        let group = self.node.group(group)?;
        match &query {
            Query::Audit => return group.query(query).await,
            Query::Topology => {
                self.fresh_in().await?;
                return group.query(query).await;
            }
            // A component is named by its digest: what is here is right.
            Query::Component(_) => match group.query(query.clone()).await? {
                Answer::Refused(_) => {}
                found => return Ok(found),
            },
            _ => {}
        }
        let deadline = self.node.commit_deadline();
        let attempt = |leader| {
            let query = query.clone();
            async move {
                let Some(leader) = leader else {
                    return self.node.query(group.id, query).await;
                };
                let group = group.id;
                let request = Request::Query { group, query };
                match self.ask_safely(leader, &request, deadline).await? {
                    (Reply::Answer(form), _) => Ok(form.into()),
                    _ => Err(Unavailable::NoQuorum),
                }
            }
        };
        self.with_leader(group, deadline, attempt).await
    }

    async fn payloads_in(
        &self,
        group: GroupId,
        places: &[PayloadRef],
    ) -> Result<Vec<Bytes>, Unavailable> {
        let group = self.node.group(group)?;
        let deadline = self.node.commit_deadline();
        let mut events = Vec::with_capacity(places.len());
        for some in portions(places) {
            let attempt = |leader| async move {
                let Some(leader) = leader else {
                    return self.node.payloads(group.id, some).await;
                };
                let (group, places) = (group.id, some.to_vec());
                let request = Request::Payloads { group, places };
                match self.ask_safely(leader, &request, deadline).await? {
                    (Reply::Payloads(lengths), events) => crate::peer::message::cut(events, lengths)
                        .map_err(|_| Unavailable::NoQuorum),
                    _ => Err(Unavailable::NoQuorum),
                }
            };
            events.extend(self.with_leader(group, deadline, attempt).await?);
        }
        Ok(events)
    }

    async fn fresh_in(&self) -> Result<(), Unavailable> {
        let meta = &self.node.meta;
        if meta.leader() == Leader::Alone {
            return Ok(());
        }
        let deadline = self.node.commit_deadline();
        let attempt = |leader| async move {
            let Some(leader) = leader else {
                return meta.linear(deadline).await;
            };
            let request = Request::ReadIndex { group: meta.id };
            match self.ask_safely(leader, &request, deadline).await? {
                (Reply::Index(index), _) => Ok(index),
                _ => Err(Unavailable::NoQuorum),
            }
        };
        let index = self.with_leader(meta, deadline, attempt).await?;
        meta.applied(index, deadline).await
    }

    async fn status_of(&self, group: &Group) -> millrace_model::ledger::GroupStatus {
        if let Leader::At(leader) = group.leader() {
            let request = Request::Status { group: group.id };
            let deadline = Instant::now() + STATUS_MAX;
            if let Ok((Reply::Status(status), _)) =
                self.ask_safely(leader, &request, deadline).await
            {
                let applied = group.status().applied;
                return millrace_model::ledger::GroupStatus { applied, ..status };
            }
        }
        group.status()
    }

    async fn change_members_in(&self, change: MemberChange) -> Result<(), ChangeError> {
        let mut groups: Vec<_> = self.node.groups().cloned().collect();
        let change = match change {
            MemberChange::Add { node, address } => {
                GroupChange::Add(node, self.probe(node, address).await?)
            }
            MemberChange::Remove { node } => {
                // Group 0 last: while a node is a member there, connections to it are kept.
                groups.reverse();
                GroupChange::Remove(node)
            }
            MemberChange::Transfer { node, group } => {
                groups.retain(|one| group.is_none_or(|group| one.id == group));
                if groups.is_empty() {
                    return Err(ChangeError::Conflict("there is no such group".to_owned()));
                }
                GroupChange::Transfer(node)
            }
        };
        let mut done = 0;
        let mut refused = None;
        for group in &groups {
            match self.change_in(group, change.clone()).await {
                Ok(()) => done += 1,
                // A change that was cut off before is finished: some groups have it already.
                Err(error @ (ChangeError::Conflict(_) | ChangeError::NotFound(_))) => {
                    refused = refused.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if done == 0 || !is_repeat(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn change_in(&self, group: &Group, change: GroupChange) -> Result<(), ChangeError> {
        let deadline = Instant::now() + CHANGE_MAX;
        let mut outcome = self.change_once(group, change.clone(), deadline).await;
        // A leader that was to be removed has handed over, and its successor does it.
        while matches!(&outcome, Err(ChangeError::Unavailable(reason)) if reason.ends_with("ask again"))
            && Instant::now() < deadline
        {
            tokio::time::sleep(ASK_AGAIN).await;
            outcome = self.change_once(group, change.clone(), deadline).await;
        }
        outcome
    }

    async fn change_once(
        &self,
        group: &Group,
        change: GroupChange,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let here = self.node.group(group.id);
        let here = here.map_err(|error| ChangeError::Unavailable(error.to_string()))?;
        let attempt = |leader| {
            let change = change.clone();
            async move {
                let Some(leader) = leader else {
                    return Ok(members::change(here, change).await);
                };
                let group = group.id;
                let request = Request::Change { group, change };
                match self.ask(leader, &request, Vec::new(), deadline).await {
                    Ok((Reply::Changed(changed), _)) => Ok(changed),
                    Ok((Reply::Unavailable(form), _)) => Err(form.into()),
                    Err(Broken::Unsent) => Err(Unavailable::NoQuorum),
                    Ok(_) | Err(Broken::Lost) => Err(Unavailable::OutcomeUnknown),
                }
            }
        };
        let changed = self.with_leader(group, deadline, attempt).await;
        changed.map_err(|error| ChangeError::Unavailable(error.to_string()))?
    }

    /// Looks whether the node to be added waits at its address, and which data it has.
    async fn probe(&self, node: u64, address: String) -> Result<Member, ChangeError> {
        if node == 0 || node == self.standing.node {
            let reason = format!("node {node} cannot be added: it is this node, or no number");
            return Err(ChangeError::Conflict(reason));
        }
        if self.is_alone() && self.standing.list.is_empty() {
            let reason = "this node does not listen for peers: start it with --cluster N=HOST:PORT, naming itself";
            return Err(ChangeError::Conflict(reason.to_owned()));
        }
        let hello = self.standing.hello(node, None, Purpose::Greeting);
        let unreachable = |reason: String| {
            ChangeError::Unreachable(format!("node {node} at {address}: {reason}"))
        };
        let (_, welcome) = hello::greet(&address, &hello)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        if welcome
            .cluster
            .is_some_and(|theirs| Some(theirs) != *self.standing.cluster().borrow())
        {
            return Err(unreachable("it belongs to another cluster".to_owned()));
        }
        let incarnation = welcome.incarnation;
        Ok(Member {
            address,
            incarnation,
        })
    }
}

/// Whether a refusal only says that the group has had the change before.
fn is_repeat(error: &ChangeError) -> bool {
    match error {
        ChangeError::NotFound(_) => true,
        ChangeError::Conflict(reason) => reason.ends_with("already"),
        ChangeError::Unreachable(_) | ChangeError::Unavailable(_) => false,
    }
}

/// Parts `places` so that the events of each part fit into one answer.
fn portions(places: &[PayloadRef]) -> Vec<&[PayloadRef]> {
    let mut bytes = 0;
    let together = move |before: &PayloadRef, next: &PayloadRef| {
        bytes += u64::from(before.len);
        let fits = bytes + u64::from(next.len) <= EVENTS_AT_ONCE;
        if !fits {
            bytes = 0;
        }
        fits
    };
    places.chunk_by(together).collect()
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
        let leaderless = groups.iter().filter(|group| group.leader.is_none());
        let reasons = match self.standing.waits_for() {
            Some(reason) => vec![reason],
            None => leaderless
                .map(|group| format!("group {} has no leader", group.id))
                .collect(),
        };
        Status {
            node: self.standing.node,
            reasons,
            storage_full: self.node.is_full(),
            groups,
        }
    }

    fn cluster(&self) -> BoxFuture<'_, Status> {
        Box::pin(async move {
            let groups = self.node.groups().map(|group| self.status_of(group));
            Status {
                groups: join_all(groups).await,
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
