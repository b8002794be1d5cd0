//! Several data groups: what is accepted in one reaches queues of others, exactly once, whatever fails in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_model::command::{
    CatalogCommand, Delivery, Elsewhere, Expect, Publish, PublishAcross, Receive, Routed,
};
use millrace_model::ledger::{ChangeError, MemberChange};
use millrace_model::{
    Answer, Command, GroupId, Ledger as _, Name, Outcome, Proposal, Query, QueueConfig, QueueId,
    TopicConfig, TopicId, Unavailable,
};

use openraft::async_runtime::WatchReceiver as _;
use tempfile::TempDir;

use super::life::configure;
use super::rig::{PATIENCE, Rig, free_address};
use crate::Cluster;
use crate::group::Group;
use crate::peer::snapshot::{self, Arriving, SnapshotHead};
use crate::snapshot::Builder;

/// The group of a topic, and a queue in each of two groups.
struct World {
    topic: TopicId,
    near: QueueId,
    far: QueueId,
}

/// A queue in group `group`.
pub(super) async fn queue_in(node: &Cluster, name: &str, group: u32) -> QueueId {
    let command = CatalogCommand::PutQueue {
        name: Name::new(name).unwrap(),
        config: QueueConfig::default(),
        group: GroupId(group),
        among: vec![],
        expect: Expect::Any,
    };
    match configure(node, command).await {
        Outcome::Queue { queue, .. } => queue.id,
        other => panic!("{other:?}"),
    }
}

async fn world(node: &Cluster) -> World {
    let command = CatalogCommand::PutTopic {
        name: Name::new("orders").unwrap(),
        config: TopicConfig::default(),
        among: node.data_groups(),
        expect: Expect::Any,
    };
    let topic = match configure(node, command).await {
        Outcome::Topic { topic, .. } => topic,
        other => panic!("{other:?}"),
    };
    assert_eq!(topic.group, GroupId::DATA);
    World {
        topic: topic.id,
        near: queue_in(node, "near", 1).await,
        far: queue_in(node, "far", 2).await,
    }
}

/// Publishes one event to both queues.
async fn publish(node: &Cluster, world: &World, text: String) -> Result<Outcome, Unavailable> {
    let delivery = |queue| Delivery {
        queue,
        payload: 0,
        delay_ms: None,
    };
    let event = Routed {
        payloads: 1,
        deliveries: vec![delivery(world.near), delivery(world.far)],
        parked: vec![],
    };
    let publish = Publish {
        topic: world.topic,
        revision: node.topology().revision,
        deduplication: None,
        events: vec![event],
    };
    let elsewhere = Elsewhere {
        queues: vec![(world.far, GroupId(2))],
        subscriptions: vec![],
    };
    let command = Command::PublishAcross(PublishAcross { publish, elsewhere });
    let payloads = vec![Bytes::from(text)];
    node.commit(GroupId::DATA, Proposal { command, payloads })
        .await
}

/// Publishes again until it is acknowledged; how often it may have been accepted is not known.
async fn publish_at_last(node: &Cluster, world: &World, text: &str) {
    let start = Instant::now();
    loop {
        match publish(node, world, text.to_owned()).await {
            Ok(Outcome::Accepted(events)) => {
                assert_eq!(events.len(), 1);
                assert_eq!(events[0].as_ref().unwrap().deliveries, 2);
                return;
            }
            Ok(Outcome::Refused(_)) | Err(_) => {}
            Ok(other) => panic!("{other:?}"),
        }
        assert!(start.elapsed() < PATIENCE, "not accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything in a queue, with how often it is there.
async fn drain(node: &Cluster, group: u32, queue: QueueId) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    loop {
        let receive = Receive {
            queue,
            max: 1_000,
            visibility_ms: Some(600_000),
            nonce: 7,
        };
        let got = node.receive(GroupId(group), receive, Duration::from_millis(1_000));
        let got = got.await.unwrap().unwrap();
        if got.is_empty() {
            return found;
        }
        for message in got {
            let text = String::from_utf8(message.event.to_vec()).unwrap();
            *found.entry(text).or_default() += 1;
        }
    }
}

/// Waits until nothing is on its way between groups.
pub(super) async fn settled(rig: &Rig) {
    rig.settle().await;
    rig.wait("empty outbox", || {
        let nodes = rig.running.values();
        let mut boxes = nodes.flat_map(|node| &node.node.data);
        boxes.all(|group| {
            let mut boxes = group.view.outboxes.values();
            boxes.all(|outbox| outbox.borrow().rows() == 0)
        })
    })
    .await;
}

pub(super) async fn audit(rig: &Rig) {
    for node in rig.running.values() {
        for group in node.data_groups() {
            match node.query(group, Query::Audit).await.unwrap() {
                Answer::Audit(audit) => assert_eq!(audit.violations, Vec::<String>::new()),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_carries_between_its_groups_and_survives_restarts() {
    let mut rig = Rig::with_groups(1, 2).await;
    let node = rig.running[&1].clone();
    let world = world(&node).await;
    for number in 0..50 {
        publish_at_last(&node, &world, &format!("event {number}")).await;
    }
    drop(node);
    // Killed with whatever was under way, several times.
    for round in 0..3 {
        rig.kill(1).await;
        let node = rig.start(1).await;
        rig.settle().await;
        publish_at_last(&node, &world, &format!("round {round}")).await;
    }
    settled(&rig).await;
    let node = rig.running[&1].clone();
    let near = drain(&node, 1, world.near).await;
    let far = drain(&node, 2, world.far).await;
    assert_eq!(near.len(), 53);
    assert_eq!(far, near, "each of them once in each queue");
    assert!(far.values().all(|count| *count == 1), "{far:?}");
    assert!(
        node.metrics()
            .contains("millrace_outbox_deliveries{group=\"1\",to=\"2\"} 0")
    );
    audit(&rig).await;
    drop(node);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_carry_exactly_once_while_leaders_of_both_groups_are_killed() {
    let mut rig = Rig::with_groups(3, 2).await;
    let world = world(&rig.follower()).await;
    let mut acknowledged = 0;
    for round in 0..4_usize {
        for number in 0..25 {
            let node = rig.running.values().nth(number % rig.running.len());
            let node = Arc::clone(node.unwrap());
            publish_at_last(&node, &world, &format!("{round} {number}")).await;
            acknowledged += 1;
        }
        // The leader of the home group, of the other one, and so on.
        let any = rig.running.values().next().unwrap();
        let leader = any.status().groups[1 + round % 2].leader.unwrap();
        rig.kill(leader).await;
        let left = Arc::clone(rig.running.values().next().unwrap());
        publish_at_last(&left, &world, &format!("{round} between")).await;
        acknowledged += 1;
        drop(left);
        rig.start(leader).await;
        rig.settle().await;
    }
    settled(&rig).await;
    let node = rig.follower();
    let near = drain(&node, 1, world.near).await;
    let far = drain(&node, 2, world.far).await;
    assert_eq!(
        near.len(),
        acknowledged,
        "every acknowledged event is there"
    );
    // A publish whose outcome was not known was made again: then it is twice in both, never in one only.
    assert_eq!(far, near, "as often in one queue as in the other");
    audit(&rig).await;
    drop(node);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_of_data_groups_spread_over_the_nodes() {
    let rig = Rig::with_groups(3, 3).await;
    rig.wait("leader of a data group on each node", || {
        let status = rig.running[&1].status();
        let leaders = status.groups[1..].iter().filter_map(|group| group.leader);
        leaders.collect::<std::collections::BTreeSet<_>>().len() == 3
    })
    .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_were_asked_for_by_hand_are_left_alone() {
    let rig = Rig::with_groups(3, 3).await;
    let transfer = || MemberChange::Transfer {
        node: 2,
        group: None,
    };
    let start = Instant::now();
    while let Err(error) = rig.running[&1].change_members(transfer()).await {
        assert!(start.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all_lead_to = |node| {
        let groups = rig.running[&1].status().groups;
        groups[1..].iter().all(|group| group.leader == Some(node))
    };
    rig.wait("one leader of all", || all_lead_to(2)).await;
    // They would be spread by the second look, five seconds after the first.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(13) {
        assert!(all_lead_to(2), "after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_data_groups_is_fixed_when_the_cluster_is_created() {
    let mut rig = Rig::with_groups(1, 3).await;
    rig.kill(1).await;
    rig.data_groups = Some(2);
    let node = rig.start(1).await;
    assert_eq!(node.data_groups().len(), 3, "what it was created with");
    drop(node);
    rig.kill(1).await;
    rig.data_groups = None;
    let node = rig.start(1).await;
    assert_eq!(node.data_groups().len(), 3);
    drop(node);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_number_of_groups_is_not_taken_in() {
    let mut rig = Rig::with_groups(1, 2).await;
    let first = rig.running[&1].clone();
    let address = free_address();
    rig.dirs.insert(2, TempDir::new().unwrap());
    rig.members.insert(2, address.clone());
    rig.data_groups = None;
    rig.start(2).await;
    let add = MemberChange::Add { node: 2, address };
    match first.change_members(add.clone()).await {
        Err(ChangeError::Unreachable(reason)) => {
            assert!(reason.contains("start it with --groups 2"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    rig.kill(2).await;
    rig.data_groups = Some(2);
    rig.start(2).await;
    first.change_members(add).await.unwrap();
    rig.wait("votes for the second", || {
        let groups = first.status().groups.into_iter();
        let mut members = groups.map(|group| group.members);
        members.all(|members| {
            members.len() == 2 && members.iter().all(|member| member.state != "learner")
        })
    })
    .await;
    drop(first);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founders_with_different_numbers_of_groups_form_no_cluster_and_say_why() {
    let mut rig = Rig::new(2);
    rig.data_groups = Some(2);
    rig.start(1).await;
    rig.data_groups = Some(3);
    rig.start(2).await;
    rig.wait("reason", || {
        let nodes = rig.running.values();
        nodes.map(|node| node.status()).all(|status| {
            let mut reasons = status.reasons.iter();
            reasons.any(|reason| reason.contains("data groups"))
        })
    })
    .await;
    // Corrected while nothing is agreed on yet.
    rig.kill(2).await;
    rig.data_groups = Some(2);
    rig.start(2).await;
    rig.settle().await;
    assert_eq!(rig.running[&2].data_groups().len(), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_two_groups_reach_a_node_at_once() {
    let rig = Rig::with_groups(3, 2).await;
    let from = &rig.running[&1].node;
    // A snapshot comes from who leads, and so with a vote that is agreed on. On a slow machine nodes vote anew meanwhile.
    let agreed = |group: &Arc<Group>| {
        let metrics = group.raft.metrics().borrow_watched().clone();
        metrics.vote.is_committed().then_some(metrics)
    };
    rig.wait("votes that are agreed on", || {
        from.data.iter().all(|group| agreed(group).is_some())
    })
    .await;
    let sends = from.data.iter().map(|group| async {
        let metrics = agreed(group).unwrap();
        let membership = metrics.membership_config.membership();
        let lanes = from.peers.to(2, membership.get_node(&2).unwrap());
        let snapshot = Builder::build(&group.applier, true).unwrap();
        snapshot::send(&lanes, group.id.0, &metrics.vote, &snapshot).await
    });
    for sent in futures::future::join_all(sends).await {
        sent.unwrap();
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_its_leader_never_ends_does_not_keep_the_next_one_out() {
    let rig = Rig::with_groups(1, 1).await;
    let group = &rig.running[&1].node.data[0];
    let begin = async |arriving: &Arriving, term| {
        let head = SnapshotHead::of(group.id.0, term);
        snapshot::begin(arriving, Arc::clone(group), &head).await
    };
    let (first, next) = (Arriving::default(), Arriving::default());
    begin(&first, 3).await.unwrap();
    // Whoever led before that comes too late.
    begin(&next, 2).await.unwrap_err();
    begin(&next, 3).await.unwrap();
    assert!(first.lock().await.is_none(), "one of them at most");
    begin(&first, 4).await.unwrap();
    assert!(next.lock().await.is_none(), "one of them at most");
    begin(&first, 4).await.unwrap();
    drop((first, next));
    rig.stop().await;
}
