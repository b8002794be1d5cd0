//! Whole nodes: commit, receive, wait, tick, restart.

use std::time::Duration;

use bytes::Bytes;
use millrace_model::command::{
    CatalogCommand, Delivery, Expect, Publish, Receive, Routed, Send, Settle,
};
use millrace_model::ledger::Message;
use millrace_model::{
    Answer, Command, GroupId, Ledger as _, Name, Outcome, Proposal, Query, QueueConfig, QueueId,
    Refusal, TopicConfig, TopicId,
};
use tempfile::TempDir;

use crate::{Cluster, ClusterOptions, check};

pub(super) fn options(dir: &TempDir) -> ClusterOptions {
    let mut options = ClusterOptions::new(dir.path(), 1);
    options.log.segment_bytes = 1 << 20;
    options
}

pub(super) async fn configure(cluster: &Cluster, command: CatalogCommand) -> Outcome {
    cluster
        .commit(GroupId::META, Proposal::bare(Command::Catalog(command)))
        .await
        .unwrap()
}

pub(super) async fn queue(cluster: &Cluster, name: &str, config: QueueConfig) -> QueueId {
    let name = Name::new(name).unwrap();
    let command = CatalogCommand::PutQueue {
        among: vec![],
        name,
        config,
        group: GroupId::DATA,
        expect: Expect::Any,
    };
    match configure(cluster, command).await {
        Outcome::Queue { queue, .. } => queue.id,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn topic(cluster: &Cluster, name: &str) -> TopicId {
    let name = Name::new(name).unwrap();
    let command = CatalogCommand::PutTopic {
        among: vec![],
        name,
        config: TopicConfig::default(),
        expect: Expect::Any,
    };
    match configure(cluster, command).await {
        Outcome::Topic { topic, .. } => topic.id,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn send(cluster: &Cluster, queue: QueueId, payloads: Vec<Bytes>) -> Outcome {
    let command = Command::Send(Send {
        queue,
        deduplication: None,
        delay_ms: None,
    });
    cluster
        .commit(GroupId::DATA, Proposal { command, payloads })
        .await
        .unwrap()
}

pub(super) async fn receive(
    cluster: &Cluster,
    queue: QueueId,
    max: u32,
    wait: Duration,
) -> Vec<Message> {
    let receive = Receive {
        queue,
        max,
        visibility_ms: None,
        nonce: 7,
    };
    cluster
        .receive(GroupId::DATA, receive, wait)
        .await
        .unwrap()
        .unwrap()
}

pub(super) async fn ack(cluster: &Cluster, queue: QueueId, messages: &[Message]) -> Outcome {
    let receipts = messages
        .iter()
        .map(|message| message.lease.receipt)
        .collect();
    let command = Command::Ack(Settle { queue, receipts });
    cluster
        .commit(GroupId::DATA, Proposal::bare(command))
        .await
        .unwrap()
}

pub(super) fn events(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().map(|message| &message.event[..]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart_and_what_was_acked_is_not() {
    let dir = TempDir::new().unwrap();
    let cluster = Cluster::start(options(&dir)).await.unwrap();
    let orders = queue(&cluster, "orders", QueueConfig::default()).await;
    send(
        &cluster,
        orders,
        vec!["one".into(), "two".into(), "three".into()],
    )
    .await;
    let first = receive(&cluster, orders, 1, Duration::ZERO).await;
    assert_eq!(events(&first), [b"one"]);
    ack(&cluster, orders, &first).await;
    cluster.stop().await.unwrap();
    drop(cluster);

    let reports = check(&options(&dir)).unwrap();
    for report in &reports {
        assert_eq!(report.violations, Vec::<String>::new());
        assert_eq!(
            report.replay,
            Some(report.digest),
            "a replay of the log gives the same tables"
        );
    }

    let cluster = Cluster::start(options(&dir)).await.unwrap();
    let rest = receive(&cluster, orders, 10, Duration::ZERO).await;
    assert_eq!(events(&rest), [&b"two"[..], b"three"]);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_wakes_at_the_first_message_and_costs_no_entry_while_it_waits() {
    let dir = TempDir::new().unwrap();
    let cluster = std::sync::Arc::new(Cluster::start(options(&dir)).await.unwrap());
    let orders = queue(&cluster, "orders", QueueConfig::default()).await;
    let before = cluster.status();
    let waiting = {
        let cluster = std::sync::Arc::clone(&cluster);
        tokio::spawn(async move { receive(&cluster, orders, 10, Duration::from_secs(30)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(cluster.status(), before, "an idle long poll writes nothing");
    send(&cluster, orders, vec!["late".into()]).await;
    let messages = tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("woken")
        .unwrap();
    assert_eq!(events(&messages), [b"late"]);
    cluster.stop().await.unwrap();
}

/// Said to be a missing queue before: the client would have taken it for deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_answers_its_long_polls_with_nothing() {
    let dir = TempDir::new().unwrap();
    let cluster = std::sync::Arc::new(Cluster::start(options(&dir)).await.unwrap());
    let orders = queue(&cluster, "orders", QueueConfig::default()).await;
    let waiting = {
        let cluster = std::sync::Arc::clone(&cluster);
        tokio::spawn(async move { receive(&cluster, orders, 10, Duration::from_secs(30)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.drain();
    let messages = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert_eq!(messages.expect("woken").unwrap(), []);
    assert_eq!(
        receive(&cluster, orders, 1, Duration::from_secs(30)).await,
        []
    );
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_ends_by_itself() {
    let dir = TempDir::new().unwrap();
    let cluster = Cluster::start(options(&dir)).await.unwrap();
    let config = QueueConfig {
        visibility_seconds: 1,
        ..QueueConfig::default()
    };
    let orders = queue(&cluster, "orders", config).await;
    send(&cluster, orders, vec!["again".into()]).await;
    let first = receive(&cluster, orders, 1, Duration::ZERO).await;
    assert_eq!(receive(&cluster, orders, 1, Duration::ZERO).await, []);
    let second = receive(&cluster, orders, 1, Duration::from_secs(10)).await;
    assert_eq!(events(&second), [b"again"]);
    assert_eq!(second[0].lease.receipt.receive_count, 2);
    let Outcome::Settled(settled) = ack(&cluster, orders, &first).await else {
        panic!("an ack settles")
    };
    assert_eq!(settled.failed, [(0, Refusal::ReceiptExpired)]);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_made_against_an_older_catalog_is_refused() {
    let dir = TempDir::new().unwrap();
    let cluster = Cluster::start(options(&dir)).await.unwrap();
    let (orders, topic) = (
        queue(&cluster, "orders", QueueConfig::default()).await,
        topic(&cluster, "t").await,
    );
    let publish = |revision| {
        let delivery = Delivery {
            queue: orders,
            payload: 0,
            delay_ms: None,
        };
        let routed = Routed {
            payloads: 1,
            deliveries: vec![delivery],
            parked: Vec::new(),
        };
        let command = Command::Publish(Publish {
            topic,
            revision,
            deduplication: None,
            events: vec![routed],
        });
        Proposal {
            command,
            payloads: vec!["event".into()],
        }
    };
    let old = cluster.topology().revision;
    assert!(matches!(
        cluster.commit(GroupId::DATA, publish(old)).await.unwrap(),
        Outcome::Accepted(_)
    ));
    queue(&cluster, "another", QueueConfig::default()).await;
    let stale = cluster.commit(GroupId::DATA, publish(old)).await.unwrap();
    assert!(
        matches!(stale, Outcome::Refused(Refusal::StalePlan(_))),
        "{stale:?}"
    );
    let new = cluster.topology().revision;
    assert!(matches!(
        cluster.commit(GroupId::DATA, publish(new)).await.unwrap(),
        Outcome::Accepted(_)
    ));
    let Answer::Counters(counters) = cluster
        .query(GroupId::DATA, Query::Counters(orders))
        .await
        .unwrap()
    else {
        panic!("counters answer counters")
    };
    assert_eq!(counters.ready, 2);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_purged_and_its_segments_are_used_again() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir);
    options.snapshot_bytes = 2 << 20;
    let cluster = Cluster::start(options).await.unwrap();
    let orders = queue(&cluster, "orders", QueueConfig::default()).await;
    for _ in 0..200 {
        let payload = Bytes::from(vec![b'x'; 100_000]);
        send(&cluster, orders, vec![payload]).await;
        let messages = receive(&cluster, orders, 10, Duration::from_secs(5)).await;
        ack(&cluster, orders, &messages).await;
    }
    let recycled = || cluster.node.log.metrics().read().segments_recycled;
    for _ in 0..100 {
        if recycled() > 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        recycled() > 5,
        "20 MB went through segments of 1 MiB, {} were given back",
        recycled()
    );
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_agreement_has_ended_is_noticed() {
    let dir = TempDir::new().unwrap();
    let cluster = Cluster::start(options(&dir)).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(1500), cluster.failed()).await;
    assert!(early.is_err(), "a node that is well has not failed");
    cluster.node.data[0].raft.shutdown().await.unwrap();
    let fault = tokio::time::timeout(Duration::from_secs(5), cluster.failed()).await;
    assert!(fault.unwrap().to_string().contains("group 1"));
}
