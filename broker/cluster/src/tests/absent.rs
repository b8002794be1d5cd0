//! Nodes that are cut off, or are no members any more.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use millrace_model::command::Send;
use millrace_model::ledger::{ChangeError, MemberChange};
use millrace_model::{Command, GroupId, Ledger as _, Proposal, QueueConfig, Unavailable};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;

use super::life::queue;
use super::rig::{PATIENCE, Rig, send_at_last};
use crate::group::Group;
use crate::{Cluster, members};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_when_its_leader_was_cut_off_is_answered_soon() {
    let (rig, gates) = Rig::gated(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    let leader = rig.running[&rig.leader()].clone();
    gates.values().for_each(|gate| gate.set_open(false));
    // Under its lease it still takes commits.
    let start = Instant::now();
    let send = |event: &'static [u8]| {
        let command = Command::Send(Send {
            queue: orders,
            deduplication: None,
            delay_ms: None,
        });
        let payloads = vec![Bytes::from_static(event)];
        leader.commit(GroupId::DATA, Proposal { command, payloads })
    };
    let behind = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        send(b"behind it").await
    };
    let (answered, refused) = tokio::join!(send(b"under way"), behind);
    assert!(
        matches!(answered, Err(Unavailable::OutcomeUnknown)),
        "{answered:?}"
    );
    assert!(
        matches!(refused, Err(Unavailable::NoQuorum)),
        "what was never proposed is refused: {refused:?}"
    );
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    println!("answered after {took:?}");
    gates.values().for_each(|gate| gate.set_open(true));
    send_at_last(&rig.running[&1], orders, "after").await;
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_learns_of_it_says_so_and_does_not_stand_for_election() {
    let mut rig = Rig::formed(3).await;
    let leader = rig.running[&1].status().groups[0].leader.unwrap();
    let gone = (1..=3).find(|node| *node != leader).unwrap();
    rig.kill(gone).await;
    let asked = rig.running[&leader].clone();
    let remove = MemberChange::Remove { node: gone };
    asked.change_members(remove).await.unwrap();
    let back = rig.start(gone).await;
    let says = |node: &Cluster, part: &str| {
        let reasons = node.status().reasons;
        reasons.iter().any(|reason| reason.contains(part))
    };
    rig.wait("word of the removal", || {
        says(&back, "was removed from the cluster")
    })
    .await;
    let asks = || {
        let votes = &back.node.peers.counters.control;
        votes
            .iter()
            .map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
            .sum::<u64>()
    };
    // One that was begun before may still end.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = asks();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(asks(), before, "it asks nobody for votes");
    let address = rig.members[&gone].clone();
    let add = MemberChange::Add {
        node: gone,
        address,
    };
    asked.change_members(add).await.unwrap();
    rig.wait("the node to be ready again", || {
        back.status().reasons.is_empty()
    })
    .await;
    // Removed while it runs: it is told no more than if it had been away.
    let remove = MemberChange::Remove { node: gone };
    rig.wait("votes for it", || {
        let groups = asked.status().groups.into_iter();
        let mut members = groups.flat_map(|group| group.members);
        members.all(|member| member.state != "learner")
    })
    .await;
    asked.change_members(remove).await.unwrap();
    rig.wait("word of the removal", || {
        says(&back, "was removed from the cluster")
    })
    .await;
    drop((back, asked));
    rig.stop().await;
}

/// Seed 1340 of the simulation: the removal met another change in one group and took the node from group 0 all the same, where
/// that one went on to lead and nobody heard it but for its heartbeats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_0_keeps_a_node_that_another_group_cannot_let_go_yet() {
    let rig = Rig::with_groups(3, 2).await;
    let leader = rig.running[&1].status().groups[2].leader.unwrap();
    let gone = (1..=3).find(|node| *node != leader).unwrap();
    let group = Arc::clone(&rig.running[&leader].node.data[1]);
    half_remove(&group, gone).await;
    let remove = || rig.running[&leader].change_members(MemberChange::Remove { node: gone });
    let refused = remove().await.unwrap_err();
    assert!(
        matches!(&refused, ChangeError::Conflict(reason) if reason.contains("under way")),
        "{refused:?}"
    );
    let (members, _) = rig.running[&leader].node.meta.members().await.unwrap();
    assert!(members.contains(&gone), "group 0 keeps it: {members:?}");
    // Whoever asks again once the change is finished gets what was asked for.
    members::take_over(&group);
    let start = Instant::now();
    while let Err(error) = remove().await {
        assert!(start.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (members, _) = rig.running[&leader].node.meta.members().await.unwrap();
    assert!(!members.contains(&gone), "{members:?}");
    rig.stop().await;
}

/// Does the first of two steps that take a vote away: whoever asked for it is gone before the second.
async fn half_remove(group: &Group, node: u64) {
    let change = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
    let mut change = pin!(group.raft.change_membership(change, false));
    assert!((&mut change).now_or_never().is_none(), "it takes a moment");
    let is_half_done = || {
        let metrics = group.raft.server_metrics().borrow_watched().clone();
        metrics
            .membership_config
            .membership()
            .get_joint_config()
            .len()
            > 1
            && metrics.membership_config == metrics.committed_membership_config
    };
    let start = Instant::now();
    while !is_half_done() {
        assert!(start.elapsed() < PATIENCE, "the first step is not done");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
