//! Several nodes in one process, over real sockets, logs and tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_model::command::Send;
use millrace_model::{
    Answer, Command, FormatVersion, GroupId, Ledger as _, Outcome, Proposal, Query, QueueId,
};
use tempfile::TempDir;

use super::gate::Gate;
use crate::{Cluster, ClusterOptions};

/// Longest that anything here may take: machines that build beside are slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// Directories and addresses of nodes, which run or not.
pub(super) struct Rig {
    pub(super) dirs: BTreeMap<u64, TempDir>,
    /// Where nodes listen that have a gate before them.
    behind: BTreeMap<u64, String>,
    pub(super) members: BTreeMap<u64, String>,
    pub(super) running: BTreeMap<u64, Arc<Cluster>>,
    /// Nodes that run as an older broker would: the newest format that each supports.
    pub(super) formats: BTreeMap<u64, FormatVersion>,
    /// What nodes are told of data groups when they start.
    pub(super) data_groups: Option<u32>,
}

/// An address of this process alone (Linux has 16 million loopback addresses): no other test, and no outgoing connection, ever
/// takes it while its node is down.
pub(super) fn free_address() -> String {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (process, given) = (std::process::id(), GIVEN.fetch_add(1, Ordering::Relaxed));
    let (high, low) = (128 + process / 250 % 120, process % 250);
    format!(
        "127.{high}.{low}.{}:{}",
        1 + given % 250,
        7_500 + given / 250
    )
}

impl Rig {
    pub(super) fn new(nodes: u64) -> Self {
        let mut rig = Self {
            dirs: BTreeMap::new(),
            behind: BTreeMap::new(),
            members: BTreeMap::new(),
            running: BTreeMap::new(),
            formats: BTreeMap::new(),
            data_groups: None,
        };
        for node in 1..=nodes {
            rig.dirs.insert(node, TempDir::new().unwrap());
            rig.members.insert(node, free_address());
        }
        rig
    }

    pub(super) fn options(&self, node: u64) -> ClusterOptions {
        let mut options = ClusterOptions::new(self.dirs[&node].path(), node);
        options.log.segment_bytes = 1 << 20;
        options.snapshot_bytes = 16 << 20;
        options.data_groups = self.data_groups;
        options.members = self.members.clone();
        options.version_steady = Duration::from_millis(500);
        options.format_version_max = self
            .formats
            .get(&node)
            .copied()
            .unwrap_or(FormatVersion::MAX);
        let listen = self.behind.get(&node).unwrap_or(&self.members[&node]);
        options.peer_listen = listen.parse().unwrap();
        options
    }

    pub(super) async fn start(&mut self, node: u64) -> Arc<Cluster> {
        let cluster = Arc::new(Cluster::start(self.options(node)).await.unwrap());
        self.running.insert(node, Arc::clone(&cluster));
        cluster
    }

    pub(super) async fn formed(nodes: u64) -> Self {
        let mut rig = Self::new(nodes);
        for node in 1..=nodes {
            rig.start(node).await;
        }
        rig.settle().await;
        rig
    }

    /// The same, with several data groups.
    pub(super) async fn with_groups(nodes: u64, groups: u32) -> Self {
        let mut rig = Self::new(nodes);
        rig.data_groups = Some(groups);
        for node in 1..=nodes {
            rig.start(node).await;
        }
        rig.settle().await;
        rig
    }

    /// The same, each node with a gate before it.
    pub(super) async fn gated(nodes: u64) -> (Self, BTreeMap<u64, Gate>) {
        let mut rig = Self::new(nodes);
        let mut gates = BTreeMap::new();
        for node in 1..=nodes {
            let target = rig.members[&node].clone();
            let gate = Gate::before(target.clone()).await;
            rig.behind.insert(node, target);
            rig.members.insert(node, gate.address.to_string());
            gates.insert(node, gate);
        }
        for node in 1..=nodes {
            rig.start(node).await;
        }
        rig.settle().await;
        (rig, gates)
    }

    /// Waits until all that run know the same leader of every group.
    pub(super) async fn settle(&self) {
        self.wait("a leader of every group", || {
            let groups = |node: &Arc<Cluster>| {
                let groups = node.status().groups.into_iter();
                groups.map(|group| group.leader).collect::<Vec<_>>()
            };
            let all: Vec<_> = self.running.values().map(groups).collect();
            let runs = |leader: &Option<u64>| {
                leader.is_some_and(|leader| self.running.contains_key(&leader))
            };
            all.iter().all(|one| *one == all[0] && one.iter().all(runs))
        })
        .await;
    }

    pub(super) async fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            let states: Vec<_> = self.running.values().map(|node| node.status()).collect();
            assert!(start.elapsed() < PATIENCE, "no {what}: {states:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The leader of the data group.
    pub(super) fn leader(&self) -> u64 {
        let any = self.running.values().next().unwrap();
        any.status().groups[1].leader.unwrap()
    }

    pub(super) fn follower(&self) -> Arc<Cluster> {
        let leader = self.leader();
        let other = self.running.iter().find(|(node, _)| **node != leader);
        Arc::clone(other.unwrap().1)
    }

    /// Drops a node as a crash would: nothing is handed over.
    pub(super) async fn kill(&mut self, node: u64) {
        let cluster = self.running.remove(&node).unwrap();
        cluster.stop().await.unwrap();
        let left = Arc::downgrade(&cluster.node);
        drop(cluster);
        self.wait("end of the node", || left.strong_count() == 0)
            .await;
    }

    /// The digests of all groups on all nodes, once all have applied the same.
    pub(super) async fn assert_equal(&self) {
        let start = Instant::now();
        loop {
            let mut digests = Vec::new();
            for node in self.running.values() {
                let mut own = Vec::new();
                for group in [GroupId::META, GroupId::DATA] {
                    match node.query(group, Query::Audit).await.unwrap() {
                        Answer::Audit(audit) => {
                            assert_eq!(audit.violations, Vec::<String>::new());
                            own.push(audit.digest);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                digests.push(own);
            }
            if digests.iter().all(|own| *own == digests[0]) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the tables differ: {digests:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn stop(self) {
        for node in self.running.values() {
            node.stop().await.unwrap();
        }
    }
}

/// Sends, again while nothing was done.
pub(super) async fn send_at_last(node: &Cluster, queue: QueueId, text: &str) -> Duration {
    let start = Instant::now();
    loop {
        let command = Command::Send(Send {
            queue,
            deduplication: None,
            delay_ms: None,
        });
        let payloads = vec![Bytes::from(text.to_owned())];
        let sent = node.commit(GroupId::DATA, Proposal { command, payloads });
        match sent.await {
            Ok(Outcome::Accepted(_)) => return start.elapsed(),
            Ok(other) => panic!("{other:?}"),
            Err(unavailable) => {
                assert!(start.elapsed() < PATIENCE, "{unavailable}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
