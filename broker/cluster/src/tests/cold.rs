//! Payloads that are not in memory.

use std::fs::File;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use millrace_model::query::States;
use millrace_model::{Answer, GroupId, Ledger as _, PayloadRef, Query, QueueConfig};

use super::life::queue;
use super::rig::{Rig, send_at_last};
use crate::Cluster;

/// Makes the kernel forget the bytes of all files in `folder`.
fn leave_page_cache(folder: &Path) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        // It forgets only what is on the disk.
        File::open(&path).unwrap().sync_all().unwrap();
        let input = format!("if={}", path.display());
        let dropped = Command::new("dd")
            .args([&input, "iflag=nocache", "count=0"])
            .output();
        assert!(dropped.unwrap().status.success());
    }
}

#[tokio::test]
async fn a_payload_that_is_not_in_memory_is_waited_for_and_nobody_else_waits() {
    for is_at_once in [true, false] {
        let rig = Rig::new(1);
        let mut options = rig.options(1);
        options.log.cache_bytes = 0;
        let folder = options.dir.join("log");
        let node = Cluster::start(options).await.unwrap();
        let queue = queue(&node, "q", QueueConfig::default()).await;
        send_at_last(&node, queue, "an event").await;
        let peek = Query::Peek {
            queue,
            states: States {
                ready: true,
                delayed: false,
                leased: false,
            },
            after: None,
            limit: 1,
        };
        let peeked = node.query(GroupId::DATA, peek).await.unwrap();
        let Answer::Peeked(entries) = peeked else {
            panic!("{peeked:?}");
        };
        let places = [entries[0].payload];
        if is_at_once {
            assert!(reads_at_once(&node, &places).await);
        } else {
            reads_later(&node, &places, &folder).await;
        }
        node.stop().await.unwrap();
    }
}

/// Reads the one event; whether nothing was waited for.
async fn reads_at_once(node: &Cluster, places: &[PayloadRef]) -> bool {
    let mut read = pin!(node.node.payloads(GroupId::DATA, places));
    let first = futures::poll!(&mut read);
    let is_at_once = first.is_ready();
    let events = match first {
        Poll::Ready(events) => events,
        Poll::Pending => read.await,
    };
    assert_eq!(events.unwrap(), [Bytes::from("an event")]);
    is_at_once
}

/// The kernel keeps a page that the log's writer touches again in between, so it is asked more than once.
async fn reads_later(node: &Cluster, places: &[PayloadRef], folder: &Path) {
    for _ in 0..200 {
        leave_page_cache(folder);
        if !reads_at_once(node, places).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("read at once, 200 times, what was not in memory");
}
