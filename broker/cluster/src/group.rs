//! One Raft group of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use millrace_model::ledger::{GroupStatus, MemberStatus};
use millrace_model::{Answer, Fault, GroupId, Outcome, Proposal, Query, Unavailable};
use millrace_store::log::{GroupLog, Log};
use millrace_store::spill::Payloads;
use millrace_store::tables::GroupTables;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Config, LinearizerOption, ServerState, SnapshotPolicy};
use tokio::time::Instant;

use crate::apply::{ApplyLane, View};
use crate::batcher::{Batcher, Receivers};
use crate::clock::Clock;
use crate::leadership::{Leader, Leadership};
use crate::log_store::LogStore;
use crate::options::ClusterOptions;
use crate::peer::network::Network;
use crate::peer::peers::Peers;
use crate::peer::snapshot::Receiving;
use crate::state_machine::StateMachine;
use crate::types::{Member, Raft};

/// How long a read waits for a majority to answer a heartbeat when the lease has run out.
const HEARTBEAT_MAX: Duration = Duration::from_millis(250);

/// How long a leader that was asked for by hand is left alone.
const WISHED_FOR: Duration = Duration::from_secs(600);

/// One Raft group of this node: its agreement, its batcher, its apply lane.
pub(crate) struct Group {
    /// Which group.
    pub(crate) id: GroupId,
    /// What is applied here.
    pub(crate) view: Arc<View>,
    /// Its log.
    pub(crate) log: GroupLog,
    /// What its rows refer to.
    pub(crate) payloads: Payloads,
    /// Its agreement.
    pub(crate) raft: Raft,
    /// The way to its apply lane.
    pub(crate) applier: ApplyLane,
    /// Its batcher.
    pub(crate) batcher: Batcher,
    /// Its time.
    pub(crate) clock: Arc<Clock>,
    /// Who leads it.
    pub(crate) leadership: Arc<Leadership>,
    /// The snapshot that comes in.
    pub(crate) receiving: Receiving,
    damage: OnceLock<Fault>,
    /// Since when, and in which term, this node leads as somebody asked for by hand.
    wished: Mutex<Option<(u64, Instant)>>,
}

impl Group {
    /// Starts the group on its log and tables. A group that has no members yet waits for [`Group::found`], or for a
    /// leader to take it in.
    pub(crate) async fn start(
        tables: GroupTables,
        node_log: &Log,
        view: Arc<View>,
        peers: Arc<Peers>,
        options: &ClusterOptions,
    ) -> Result<Self, Fault> {
        check_whole(&tables, node_log)?;
        let id = tables.id();
        let log = node_log.group(id);
        let applier = ApplyLane::open(id, tables, log.clone(), Arc::clone(&view))?;
        let fault = |error: &dyn std::fmt::Display| Fault::new("start the group", error);
        let config = Arc::new(config(id).validate().map_err(|error| fault(&error))?);
        let stores = (LogStore(log.clone()), StateMachine(applier.clone()));
        let network = Network { group: id.0, peers };
        let raft = Raft::new(options.node, config, network, stores.0, stores.1)
            .await
            .map_err(|error| fault(&error))?;
        let clock = Arc::new(Clock::new(Arc::clone(&view)));
        let leadership = Arc::new(Leadership::of(&raft));
        let receivers = Receivers {
            group: id,
            waiters: Arc::clone(&view.waiters),
        };
        let batcher = Batcher::start(
            raft.clone(),
            Arc::clone(&clock),
            Arc::clone(&leadership),
            receivers,
            options.commit_timeout,
        );
        Ok(Self {
            id,
            view,
            log,
            payloads: applier.payloads(),
            applier,
            leadership,
            raft,
            batcher,
            clock,
            receiving: Receiving::default(),
            damage: OnceLock::new(),
            wished: Mutex::new(None),
        })
    }

    /// Writes down the first members. Every one of them does, all the same; whoever is elected leads.
    ///
    /// # Errors
    /// A [`Fault`] when the log takes it not.
    pub(crate) async fn found(&self, founders: &BTreeMap<u64, Member>) -> Result<(), Fault> {
        let fault = |error: &dyn std::fmt::Display| Fault::new("found the group", error);
        let begun = self.raft.is_initialized().await;
        if begun.map_err(|error| fault(&error))? {
            return Ok(());
        }
        match self.raft.initialize(founders.clone()).await {
            Ok(()) => Ok(()),
            // A leader was faster with the same members.
            Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }

    /// The members, and which of them vote. Asks the core itself: the metrics come later.
    ///
    /// # Errors
    /// A [`Fault`] when the core has stopped.
    pub(crate) async fn members(&self) -> Result<(BTreeSet<u64>, BTreeSet<u64>), Fault> {
        let members = self.raft.with_raft_state(|state| {
            let membership = state.membership_state.effective().membership();
            let members = membership.nodes().map(|(node, _)| *node).collect();
            (members, membership.voter_ids().collect())
        });
        members
            .await
            .map_err(|fatal| Fault::new("start the group", fatal))
    }

    /// Who leads the group.
    pub(crate) fn leader(&self) -> Leader {
        self.leadership.leader()
    }

    /// Ready when this node surely leads, and has applied everything that anybody was told before. Costs no message
    /// while a majority answered heartbeats within the lease, which is measured by a clock that never jumps.
    ///
    /// # Errors
    /// [`Unavailable::NoQuorum`] when it does not lead, or cannot be sure of it before `deadline`.
    pub(crate) async fn linear(&self, deadline: Instant) -> Result<u64, Unavailable> {
        let sure = async {
            // The lease, as it is; when it has run out a heartbeat is sent at once, and not waited for longer than this.
            let lease = LinearizerOption::new(None, true).with_wait_timeout(HEARTBEAT_MAX);
            let sure = self.raft.ensure_linearizable(lease).await;
            sure.map(|position| position.index())
                .map_err(|error| match error {
                    RaftError::APIError(LinearizableReadError::ForwardToLeader(_))
                    | RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
                        Unavailable::NoQuorum
                    }
                    RaftError::Fatal(fatal) => Unavailable::NotReady(fatal.to_string()),
                })
        };
        let sure = tokio::time::timeout_at(deadline, sure).await;
        sure.unwrap_or(Err(Unavailable::NoQuorum))
    }

    /// Waits until entry `index` is applied here.
    ///
    /// # Errors
    /// [`Unavailable::NoQuorum`] when that takes until `deadline`.
    pub(crate) async fn applied(&self, index: u64, deadline: Instant) -> Result<(), Unavailable> {
        if self.view.applied.load(Ordering::Acquire) >= index {
            return Ok(());
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        let wait = self.raft.wait(Some(patience));
        let applied = wait.applied_index_at_least(Some(index), "a fresh read");
        applied.await.map(|_| ()).map_err(|_| Unavailable::NoQuorum)
    }

    /// Commits one command here.
    pub(crate) fn commit(
        &self,
        proposal: Proposal,
    ) -> impl Future<Output = Result<Outcome, Unavailable>> + use<> {
        self.batcher.commit(proposal)
    }

    /// Asks what is applied here.
    pub(crate) async fn query(&self, query: Query) -> Result<Answer, Unavailable> {
        let applied = Arc::clone(&self.view);
        let answer = self.applier.ask(move |applier| {
            let mut answer = applier.machine.query(&query)?;
            if let Answer::Audit(audit) = &mut answer {
                audit.applied = applied.applied.load(Ordering::Acquire);
            }
            Ok(answer)
        });
        Ok(answer?)
    }

    /// Whether this node leads the group.
    pub(crate) fn is_leader(&self) -> bool {
        self.leadership.is_here()
    }

    /// Somebody asked by hand that this node leads, as it does.
    pub(crate) fn wish(&self) {
        let term = self.raft.metrics().borrow_watched().current_term;
        let mut wished = self.wished.lock().unwrap_or_else(PoisonError::into_inner);
        *wished = Some((term, Instant::now()));
    }

    /// Whether this node leads since somebody asked for it by hand, not long ago. Once another one has led, that is over.
    pub(crate) fn is_wished(&self) -> bool {
        let wished = *self.wished.lock().unwrap_or_else(PoisonError::into_inner);
        let term = self.raft.metrics().borrow_watched().current_term;
        wished.is_some_and(|(since, at)| since == term && at.elapsed() < WISHED_FOR)
    }

    /// How the group stands, as this node knows it: only a leader knows how far the others are.
    pub(crate) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let member = |node: u64| MemberStatus {
            node,
            state: if node == metrics.id {
                state(metrics.state)
            } else if metrics.current_leader == Some(node) {
                "leader"
            } else if voters.contains(&node) {
                "follower"
            } else {
                "learner"
            }
            .to_owned(),
            match_index: match &metrics.replication {
                None => None,
                Some(_) if node == metrics.id => metrics.last_log_index,
                Some(replication) => replication
                    .get(&node)
                    .and_then(|matched| matched.as_ref())
                    .map(|matched| matched.index),
            },
        };
        GroupStatus {
            id: self.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied: self.view.applied.load(Ordering::Acquire),
            members: membership.nodes().map(|(node, _)| member(*node)).collect(),
        }
    }

    /// Notes that this node cannot serve what it should: it stops soon.
    pub(crate) fn damaged(&self, fault: &Fault) {
        self.damage.get_or_init(|| fault.clone());
    }

    /// Ready when the group has failed, with the reason; never ready while it is well.
    pub(crate) async fn failed(&self) -> Fault {
        /// The metrics change with every batch: watching them would wake a thread for each.
        const LOOK_EVERY: Duration = Duration::from_secs(1);
        loop {
            if let Some(damage) = self.damage.get() {
                return damage.clone();
            }
            // Asks the core itself: one that has panicked leaves its metrics as they were.
            if let Err(fatal) = self.raft.is_initialized().await {
                return Fault::new(&format!("group {}", self.id), fatal);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn state(state: ServerState) -> &'static str {
    match state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Learner => "learner",
        ServerState::Shutdown => "stopped",
    }
}

/// Openraft would take a log that ends before the tables, or begins after them, for a gap to be cleaned up. For us it
/// is loss: payloads live in the log. So is a segment that is gone although rows refer to it.
pub(crate) fn check_whole(tables: &GroupTables, node_log: &Log) -> Result<(), Fault> {
    let log = node_log.group(tables.id());
    finish_install(tables, &log)?;
    let (first, last) = (
        log.purged().map_or(0, |id| id.index),
        log.last().map_or(0, |id| id.index),
    );
    let applied = tables.applied();
    if applied < first || applied > last {
        let reason = format!(
            "the tables stand at entry {applied}, the log holds those after {first} up to {last}"
        );
        return Err(lost(tables.id(), &reason));
    }
    let segments: BTreeSet<_> = node_log
        .segments()
        .iter()
        .map(|segment| segment.id)
        .collect();
    match tables.references().keys().find(|id| !segments.contains(id)) {
        Some(id) => Err(lost(
            tables.id(),
            &format!(
                "entries refer to segment {} of the log, which is gone",
                id.0
            ),
        )),
        None => Ok(()),
    }
}

/// A crash between the installation of a snapshot and the purge that follows it leaves a log that ends before the
/// tables, or holds entries that the snapshot replaced: purges it.
fn finish_install(tables: &GroupTables, log: &GroupLog) -> Result<(), Fault> {
    let floor = tables.handle().floor();
    let purged = log.purged().map_or(0, |id| id.index);
    if floor == 0 || floor != tables.applied() || purged >= floor {
        return Ok(());
    }
    let Some(position) = crate::apply::applied(tables)? else {
        return Ok(());
    };
    log.purge(crate::codec::to_log(&position))
        .map_err(|error| Fault::new("purge the log up to a snapshot", error))
}

fn lost(group: GroupId, reason: &str) -> Fault {
    let reason =
        format!("{reason}: something is lost; restore this node from a backup or from its peers");
    Fault::new(&format!("group {group}"), reason)
}

/// Timers are slower than openraft's defaults, which flap under stalls of the disk (25 to 110 ms here). They make the
/// time of a fail-over: a follower waits for the lease, which is the longest election timeout, **and then** for its own
/// timeout, so it stands for election 1.5 to 1.8 s after the last heartbeat of a leader that died; P9 allows 3 s. Sizes are
/// ours: the log and the batcher count bytes, where openraft counts entries.
fn config(id: GroupId) -> Config {
    Config {
        cluster_name: format!("millrace-{id}"),
        heartbeat_interval: 200,
        election_timeout_min: 600,
        election_timeout_max: 900,
        enable_pre_vote: Some(true),
        // A leader may commit, by the others, entries that its own disk does not have yet. Were it to go on in its term
        // after a crash, it would put others in their place. So it stands for election like everybody.
        enable_leader_restore: Some(false),
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::Never,
        // Nothing by itself: `purge` counts bytes.
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}
