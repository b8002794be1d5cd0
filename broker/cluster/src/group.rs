//! One Raft group of this node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_model::ledger::{GroupStatus, MemberStatus};
use millrace_model::{Answer, Fault, GroupId, Outcome, Proposal, Query, Unavailable};
use millrace_store::log::{GroupLog, Log};
use millrace_store::spill::Payloads;
use millrace_store::tables::GroupTables;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Config, ServerState, SnapshotPolicy};

use crate::apply::{ApplyLane, View};
use crate::batcher::Batcher;
use crate::log_store::LogStore;
use crate::network::Peers;
use crate::options::ClusterOptions;
use crate::state_machine::StateMachine;
use crate::types::Raft;

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
    commit_timeout: Duration,
}

impl Group {
    /// Starts the group on its log and tables; a group that was never started becomes one of this voter alone.
    pub(crate) async fn start(
        tables: GroupTables,
        node_log: &Log,
        view: Arc<View>,
        options: &ClusterOptions,
    ) -> Result<Self, Fault> {
        check_whole(&tables, node_log)?;
        let id = tables.id();
        let log = node_log.group(id);
        let applier = ApplyLane::open(id, tables, log.clone(), Arc::clone(&view))?;
        let fault = |error: &dyn std::fmt::Display| Fault::new("start the group", error);
        let config = Arc::new(config(id).validate().map_err(|error| fault(&error))?);
        let stores = (LogStore(log.clone()), StateMachine(applier.clone()));
        let raft = Raft::new(options.node, config, Peers, stores.0, stores.1)
            .await
            .map_err(|error| fault(&error))?;
        if !raft.is_initialized().await.map_err(|error| fault(&error))? {
            let members = std::collections::BTreeMap::from([(
                options.node,
                openraft::impls::BasicNode::default(),
            )]);
            raft.initialize(members)
                .await
                .map_err(|error| fault(&error))?;
        }
        let batcher = Batcher::start(raft.clone());
        Ok(Self {
            id,
            view,
            log,
            payloads: applier.payloads(),
            raft,
            applier,
            batcher,
            commit_timeout: options.commit_timeout,
        })
    }

    /// Commits one command here.
    pub(crate) async fn commit(&self, proposal: Proposal) -> Result<Outcome, Unavailable> {
        let reply = self.batcher.submit(proposal).await?;
        match tokio::time::timeout(self.commit_timeout, reply).await {
            Ok(Ok(outcome)) => outcome,
            // It was handed to the log, and nobody can tell any more what came of it.
            Ok(Err(_)) | Err(_) => Err(Unavailable::OutcomeUnknown),
        }
    }

    /// Asks what is applied here.
    pub(crate) async fn query(&self, query: Query) -> Result<Answer, Unavailable> {
        let applied = Arc::clone(&self.view);
        let answer = self.applier.call(move |applier| {
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
        self.raft.is_leader()
    }

    /// How the group stands.
    pub(crate) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leads = metrics.current_leader == Some(metrics.id);
        let member = |node: u64| MemberStatus {
            node,
            state: if node == metrics.id {
                state(metrics.state)
            } else {
                "follower"
            }
            .to_owned(),
            match_index: match (&metrics.replication, leads && node == metrics.id) {
                (_, true) => metrics.last_log_index,
                (Some(replication), false) => replication
                    .get(&node)
                    .and_then(|matched| matched.as_ref())
                    .map(|matched| matched.index),
                (None, false) => None,
            },
        };
        GroupStatus {
            id: self.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied: self.view.applied.load(Ordering::Acquire),
            members: metrics
                .membership_config
                .membership()
                .nodes()
                .map(|(node, _)| member(*node))
                .collect(),
        }
    }

    /// Ready when the group has failed, with the reason; never ready while it is well.
    pub(crate) async fn failed(&self) -> Fault {
        /// The metrics change with every batch: watching them would wake a thread for each.
        const LOOK_EVERY: Duration = Duration::from_secs(1);
        loop {
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

/// Timers are slower than openraft's defaults, which flap under stalls of the disk. Sizes are ours: the log and the
/// batcher count bytes, where openraft counts entries.
fn config(id: GroupId) -> Config {
    Config {
        cluster_name: format!("millrace-{id}"),
        heartbeat_interval: 250,
        election_timeout_min: 1500,
        election_timeout_max: 3000,
        enable_pre_vote: Some(true),
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::Never,
        // Nothing by itself: `purge` counts bytes.
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}
