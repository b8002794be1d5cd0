//! Receives that go along with what they wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millrace_model::ledger::Message;
use millrace_model::{GroupId, QueueConfig, QueueId};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::life::{events, options, queue, receive, send};
use crate::Cluster;

const LONG: Duration = Duration::from_secs(20);

/// A node alone with a queue that entries come into after `delay_seconds`.
async fn node(dir: &TempDir, delay_seconds: u64) -> (Arc<Cluster>, QueueId) {
    let cluster = Arc::new(Cluster::start(options(dir)).await.unwrap());
    let config = QueueConfig {
        delay_seconds,
        ..QueueConfig::default()
    };
    let queue = queue(&cluster, "orders", config).await;
    (cluster, queue)
}

/// A receiver that sleeps.
async fn sleeper(cluster: &Arc<Cluster>, queue: QueueId, max: u32) -> JoinHandle<Vec<Message>> {
    let before = asleep(cluster, queue);
    let node = Arc::clone(cluster);
    let receiver = tokio::spawn(async move { receive(&node, queue, max, LONG).await });
    while asleep(cluster, queue) == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    receiver
}

fn asleep(cluster: &Cluster, queue: QueueId) -> u64 {
    let waiters = cluster.node.waiters.get(GroupId::DATA, queue);
    waiters.expect("the queue is there").asleep()
}

/// Batches proposed in the data group, and receives that went along.
fn proposed(cluster: &Cluster) -> (u64, u64) {
    let load = cluster.node.data[0].batcher.load();
    let piggybacked = load.piggybacked.load(Ordering::Relaxed);
    (load.batches.load(Ordering::Relaxed), piggybacked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_waits_gets_what_comes_by_the_same_batch() {
    let dir = TempDir::new().unwrap();
    let (cluster, orders) = node(&dir, 0).await;
    let receiver = sleeper(&cluster, orders, 10).await;
    let (batches, _) = proposed(&cluster);
    send(&cluster, orders, vec!["one".into(), "two".into()]).await;
    assert_eq!(events(&receiver.await.unwrap()), [b"one", b"two"]);
    let (batches_then, piggybacked) = proposed(&cluster);
    assert_eq!(piggybacked, 1);
    // News of the catalog may be a batch of their own.
    assert!((1..=2).contains(&(batches_then - batches)));
    assert_eq!(asleep(&cluster, orders), 0);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_as_many_go_along_as_there_is_something_for() {
    let dir = TempDir::new().unwrap();
    let (cluster, orders) = node(&dir, 0).await;
    let first = sleeper(&cluster, orders, 2).await;
    let second = sleeper(&cluster, orders, 2).await;
    let third = sleeper(&cluster, orders, 2).await;
    send(
        &cluster,
        orders,
        vec!["one".into(), "two".into(), "three".into()],
    )
    .await;
    assert_eq!(events(&first.await.unwrap()), [&b"one"[..], b"two"]);
    assert_eq!(events(&second.await.unwrap()), [b"three"]);
    assert_eq!(proposed(&cluster).1, 2);
    assert_eq!(asleep(&cluster, orders), 1);
    third.abort();
    assert!(third.await.unwrap_err().is_cancelled());
    assert_eq!(asleep(&cluster, orders), 0, "who gave up waits no more");
    send(&cluster, orders, vec!["four".into()]).await;
    let rest = receive(&cluster, orders, 1, Duration::ZERO).await;
    assert_eq!(events(&rest), [b"four"], "nobody took it along");
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_went_along_in_vain_sleeps_on() {
    let dir = TempDir::new().unwrap();
    let (cluster, later) = node(&dir, 1).await;
    let receiver = sleeper(&cluster, later, 10).await;
    let began = Instant::now();
    for text in ["one", "two", "three"] {
        send(&cluster, later, vec![text.into()]).await;
        while asleep(&cluster, later) == 0 && !receiver.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let in_vain = proposed(&cluster).1;
    assert!(in_vain > 0);
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!(in_vain, 1, "then it rests");
    }
    let received = receiver.await.unwrap();
    assert_eq!(events(&received)[0], b"one");
    cluster.stop().await.unwrap();
}
