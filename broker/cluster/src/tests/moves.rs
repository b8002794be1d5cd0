//! Queues that move to another group while they are used, and whatever leads is killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_model::command::{CatalogCommand, Receive, Send, Settle};
use millrace_model::ledger::Message;
use millrace_model::{
    Command, FormatVersion, GroupId, Ledger as _, Name, Outcome, Proposal, QueueId, Refusal,
};

use super::groups::{audit, queue_in, settled};
use super::rig::{PATIENCE, Rig};
use crate::Cluster;

/// Where the catalog of a node has the queue.
fn group_of(node: &Cluster) -> GroupId {
    node.topology().queues["work"].group
}

/// Sends, again until it is accepted; nothing is sent twice, or it would be told.
async fn send(node: &Cluster, queue: QueueId, text: &str) {
    let start = Instant::now();
    loop {
        let command = Command::Send(Send {
            queue,
            deduplication: None,
            delay_ms: None,
        });
        let payloads = vec![Bytes::from(text.to_owned())];
        let sent = node.commit(group_of(node), Proposal { command, payloads });
        match sent.await {
            Ok(Outcome::Accepted(_)) => return,
            Ok(Outcome::Refused(Refusal::QueueMoving(_) | Refusal::QueueNotFound(_))) | Err(_) => {}
            Ok(other) => panic!("{other:?}"),
        }
        assert!(start.elapsed() < PATIENCE, "not accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Receives with a long poll, and acks: what was acked.
async fn consume(node: &Cluster, queue: QueueId, wait: Duration) -> Vec<String> {
    let receive = Receive {
        queue,
        max: 100,
        // What a lost answer leased comes back soon.
        visibility_ms: Some(4_000),
        nonce: 7,
    };
    let got = node.receive(group_of(node), receive, wait).await;
    let messages: Vec<Message> = got.ok().and_then(Result::ok).unwrap_or_default();
    let start = Instant::now();
    let mut open: Vec<_> = messages.iter().map(|it| it.lease.receipt).collect();
    while !open.is_empty() {
        let ack = Command::Ack(Settle {
            queue,
            receipts: open.clone(),
        });
        let acked = node.commit(group_of(node), Proposal::bare(ack));
        if let Ok(Outcome::Settled(settled)) = acked.await {
            let refused = settled.failed.into_iter();
            let moving = refused.filter(|(_, why)| matches!(why, Refusal::QueueMoving(_)));
            // An ack whose answer was lost took effect: then the receipt is used up.
            open = moving.map(|(at, _)| open[at as usize]).collect();
        }
        assert!(start.elapsed() < PATIENCE, "not acked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let text = |message: Message| String::from_utf8(message.event.to_vec()).unwrap();
    messages.into_iter().map(text).collect()
}

async fn raised(rig: &Rig) {
    rig.wait("the format version", || {
        let mut nodes = rig.running.values();
        nodes.all(|node| node.topology().version == FormatVersion::MAX)
    })
    .await;
}

async fn begin(node: &Cluster, to: GroupId) {
    let name = Name::new("work").unwrap();
    let command = Command::Catalog(CatalogCommand::MoveQueue { name, to });
    let _ = node.commit(GroupId::META, Proposal::bare(command)).await;
}

async fn moved(rig: &Rig, to: GroupId) {
    rig.wait("the end of the move", || {
        let mut nodes = rig.running.values();
        nodes.all(|node| {
            let topology = node.topology();
            let queue = &topology.queues["work"];
            queue.group == to && queue.moving.is_none()
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_moves_a_queue_between_its_groups_and_back() {
    let mut rig = Rig::with_groups(1, 2).await;
    raised(&rig).await;
    let node = rig.running[&1].clone();
    let queue = queue_in(&node, "work", 1).await;
    for number in 0..3_000 {
        send(&node, queue, &format!("{number:04}")).await;
    }
    for to in [2, 1, 2] {
        begin(&node, GroupId(to)).await;
        moved(&rig, GroupId(to)).await;
    }
    audit(&rig).await;
    drop(node);
    rig.kill(1).await;
    let node = rig.start(1).await;
    rig.settle().await;
    let mut found = Vec::new();
    while found.len() < 3_000 {
        found.extend(consume(&node, queue, Duration::from_millis(500)).await);
    }
    let expected: Vec<_> = (0..3_000).map(|number| format!("{number:04}")).collect();
    assert_eq!(found, expected, "all of them, in order");
    audit(&rig).await;
    drop(node);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_told_when_its_queue_leaves() {
    let rig = Rig::with_groups(1, 2).await;
    raised(&rig).await;
    let node = rig.running[&1].clone();
    let queue = queue_in(&node, "work", 1).await;
    let polling = Arc::clone(&node);
    let poll = tokio::spawn(async move {
        let receive = Receive {
            queue,
            max: 1,
            visibility_ms: None,
            nonce: 7,
        };
        polling.receive(GroupId(1), receive, PATIENCE).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    begin(&node, GroupId(2)).await;
    let told = poll.await.unwrap().unwrap();
    assert!(matches!(told, Err(Refusal::QueueNotFound(_))), "{told:?}");
    moved(&rig, GroupId(2)).await;
    drop(node);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_move_a_queue_under_load_while_leaders_are_killed() {
    let mut rig = Rig::with_groups(3, 2).await;
    raised(&rig).await;
    let queue = queue_in(&rig.follower(), "work", 1).await;
    let backlog = 2_000;
    let first = rig.follower();
    for number in 0..backlog {
        send(&first, queue, &format!("backlog {number}")).await;
    }
    drop(first);
    let mut sent: BTreeSet<_> = (0..backlog).map(|it| format!("backlog {it}")).collect();
    let mut acked = Vec::new();
    for round in 0..4_usize {
        let to = GroupId(2 - (round % 2) as u32);
        let any = Arc::clone(rig.running.values().next().unwrap());
        // The leader of the group that it leaves, of the other one, of the catalog, and so on.
        let victim = any.status().groups[[1, 2, 0, 1][round]].leader.unwrap();
        let steady = rig.running.iter().find(|(node, _)| **node != victim);
        let steady = Arc::clone(steady.unwrap().1);
        drop(any);
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted, door) = (stop.clone(), count.clone(), steady.clone());
        let publisher = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.load(Ordering::Relaxed);
                send(&door, queue, &format!("{round} {number}")).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (stopped, door) = (stop.clone(), steady.clone());
        let consumer = tokio::spawn(async move {
            let mut acked = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                acked.extend(consume(&door, queue, Duration::from_millis(100)).await);
            }
            acked
        });
        begin(&steady, to).await;
        rig.kill(victim).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.start(victim).await;
        moved(&rig, to).await;
        stop.store(true, Ordering::Relaxed);
        publisher.await.unwrap();
        acked.extend(consumer.await.unwrap());
        let count = count.load(Ordering::Relaxed);
        sent.extend((0..count).map(|number| format!("{round} {number}")));
        drop(steady);
        rig.settle().await;
    }
    settled(&rig).await;
    let node = rig.follower();
    let start = Instant::now();
    let mut found: BTreeSet<_> = acked.iter().cloned().collect();
    while !found.is_superset(&sent) && start.elapsed() < PATIENCE {
        let more = consume(&node, queue, Duration::from_millis(1_000)).await;
        found.extend(more);
    }
    let lost: Vec<_> = sent.difference(&found).collect();
    assert_eq!(
        lost,
        Vec::<&String>::new(),
        "{} sent, {} found",
        sent.len(),
        found.len()
    );
    audit(&rig).await;
    drop(node);
    rig.stop().await;
}
