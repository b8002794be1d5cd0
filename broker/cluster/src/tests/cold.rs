//! Payloads that are not in memory.

use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use millrace_model::query::States;
use millrace_model::{Answer, GroupId, Ledger as _, Query, QueueConfig};

use super::life::queue;
use super::rig::{Rig, send_at_last};
use crate::Cluster;

#[tokio::test]
async fn a_payload_that_is_not_in_memory_is_waited_for_and_nobody_else_waits() {
    for (cache_bytes, is_at_once) in [(32 << 20, true), (0, false)] {
        let rig = Rig::new(1);
        let mut options = rig.options(1);
        options.log.cache_bytes = cache_bytes;
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
        let mut read = pin!(node.node.payloads(GroupId::DATA, &places));
        let first = futures::poll!(&mut read);
        assert_eq!(first.is_ready(), is_at_once, "with {cache_bytes} bytes");
        let events = match first {
            Poll::Ready(events) => events,
            Poll::Pending => read.await,
        };
        assert_eq!(events.unwrap(), [Bytes::from("an event")]);
        node.stop().await.unwrap();
    }
}
