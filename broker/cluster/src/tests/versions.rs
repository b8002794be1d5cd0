//! Nodes of different versions in one cluster, and the gate between them.

use std::time::Duration;

use millrace_model::ledger::{ChangeError, MemberChange};
use millrace_model::{Feature, FormatVersion, Ledger as _, QueueConfig};
use tempfile::TempDir;

use super::life::{ack, events, queue, receive};
use super::rig::{Rig, free_address, send_at_last};
use crate::{Cluster, ClusterOptions};

const FIRST: FormatVersion = FormatVersion(1);
const NEWEST: FormatVersion = FormatVersion::MAX;

/// Longer than the rig's members must have supported a newer version, and than some looks at it.
const A_WHILE: Duration = Duration::from_secs(2);

impl Rig {
    fn run_as(&mut self, nodes: impl IntoIterator<Item = u64>, version: FormatVersion) {
        for node in nodes {
            self.formats.insert(node, version);
        }
    }

    async fn restart(&mut self, node: u64, version: FormatVersion) {
        self.running[&node].hand_over().await;
        self.kill(node).await;
        self.run_as([node], version);
        self.start(node).await;
        self.settle().await;
    }

    async fn raised(&self) {
        self.wait("the raise on all nodes", || {
            let mut nodes = self.running.values();
            nodes.all(|node| node.topology().version == NEWEST)
        })
        .await;
    }

    fn assert_closed(&self) {
        for node in self.running.values() {
            assert_eq!(node.topology().version, FIRST);
            assert!(!node.topology().has(Feature::CrossGroupDelivery));
        }
    }
}

async fn refused_start(options: ClusterOptions) -> String {
    match Cluster::start(options).await {
        Ok(_) => panic!("an older broker started on newer data"),
        Err(fault) => fault.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_opens_the_gate_after_the_last_node_and_there_is_no_way_back() {
    let mut rig = Rig::new(3);
    rig.run_as(1..=3, FIRST);
    for node in 1..=3 {
        rig.start(node).await;
    }
    rig.settle().await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    for (done, node) in (1..=3).enumerate() {
        let text = format!("with {done} new nodes");
        send_at_last(&rig.follower(), orders, &text).await;
        tokio::time::sleep(A_WHILE).await;
        rig.assert_closed();
        rig.restart(node, NEWEST).await;
    }
    rig.raised().await;
    let status = rig.running[&1].cluster().await;
    assert_eq!(status.version, NEWEST);
    let ranges: Vec<_> = status.nodes.iter().map(|node| node.range).collect();
    assert_eq!(ranges, [Some((FIRST, NEWEST)); 3]);
    send_at_last(&rig.follower(), orders, "with all").await;

    rig.kill(2).await;
    rig.run_as([2], FIRST);
    let refused = refused_start(rig.options(2)).await;
    assert!(refused.contains(&format!("(format {NEWEST})")), "{refused}");
    assert!(refused.contains("start the newer broker"), "{refused}");
    rig.run_as([2], NEWEST);
    rig.start(2).await;
    rig.settle().await;
    let got = receive(&rig.running[&2], orders, 10, Duration::from_secs(5)).await;
    assert_eq!(got.len(), 4, "{:?}", events(&got));
    ack(&rig.follower(), orders, &got).await;
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_new_nodes_is_raised_in_a_moment_and_takes_no_older_one() {
    let mut rig = Rig::formed(3).await;
    rig.raised().await;
    let address = free_address();
    rig.dirs.insert(4, TempDir::new().unwrap());
    rig.members.insert(4, address.clone());
    rig.run_as([4], FIRST);
    let old = rig.start(4).await;
    let says = format!("format version {NEWEST}, the peer supports up to 1");
    rig.wait("a refusal of the old node", || {
        old.status()
            .reasons
            .iter()
            .any(|reason| reason.contains(&says))
    })
    .await;
    let add = MemberChange::Add { node: 4, address };
    let refused = rig.running[&1].change_members(add.clone()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("formats up to 1"), "{refused}");
    drop(old);
    rig.kill(4).await;
    // The same data with the newer broker.
    rig.run_as([4], NEWEST);
    let new = rig.start(4).await;
    rig.running[&1].change_members(add).await.unwrap();
    rig.wait("votes of the fourth", || {
        let groups = rig.running[&1].status().groups.into_iter();
        let mut members = groups.flat_map(|group| group.members);
        members.all(|member| member.state != "learner")
    })
    .await;
    rig.raised().await;
    assert_eq!(new.standing.versions().recorded, NEWEST);
    drop(new);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_down_is_needed_of_newcomers_before_it_is_raised() {
    let mut rig = Rig::new(2);
    let third = free_address();
    rig.run_as([2], FIRST);
    for node in 1..=2 {
        rig.start(node).await;
    }
    rig.settle().await;
    tokio::time::sleep(A_WHILE).await;
    rig.assert_closed();
    // As if this node had begun to raise the version when the other one came back as an older broker.
    rig.running[&1].standing.record(NEWEST).unwrap();
    rig.dirs.insert(3, TempDir::new().unwrap());
    rig.members.insert(3, third.clone());
    rig.run_as([3], FIRST);
    rig.start(3).await;
    let add = MemberChange::Add {
        node: 3,
        address: third,
    };
    let refused = rig.running[&1].change_members(add).await;
    let Err(ChangeError::Conflict(reason)) = refused else {
        panic!("{refused:?}")
    };
    let says =
        format!("format version {NEWEST}, node 3 supports up to 1: start the newer broker on it");
    assert!(reason.contains(&says), "{reason}");
    rig.assert_closed();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_is_raised_and_keeps_its_version() {
    let mut rig = Rig::new(1);
    rig.run_as([1], FIRST);
    rig.start(1).await;
    rig.settle().await;
    tokio::time::sleep(A_WHILE).await;
    rig.assert_closed();
    rig.restart(1, NEWEST).await;
    rig.raised().await;
    rig.kill(1).await;
    rig.start(1).await;
    assert_eq!(rig.running[&1].topology().version, NEWEST, "from its rows");
    rig.stop().await;
}
