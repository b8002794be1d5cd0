//! What is asked for an event: a send, or a publish with the plan that filters and plugins would have made.

use bytes::Bytes;
use millrace_model::catalog::Topology;
use millrace_model::command::{
    Deduplication, Delivery, Elsewhere, Publish, PublishAcross, Routed, Send,
};
use millrace_model::id::DeduplicationKey;
use millrace_model::{Command, GroupId, Ledger as _, Proposal, QueueId};
use millrace_tests::History;

use crate::client::{Client, below, name, pause, percent};
use crate::moves::{list, park};
use crate::places::{ONE, TOPIC, TWO};
use crate::plant::Plant;
use crate::scene::Published;

/// Longer than a run: a key is accepted once.
const WINDOW_MS: u64 = 3_600_000;

impl Client {
    pub(crate) fn proposal(&self, id: &str) -> Option<(GroupId, Proposal)> {
        let topology = self.topology()?;
        let published = self.scene.published.borrow();
        let event = &published[id];
        let deduplication = event.once.then(|| Deduplication {
            key: key(id),
            window_ms: WINDOW_MS,
        });
        let payloads = self.payloads(event);
        let (group, command) = if event.is_sent() {
            let queue = &topology.queues[&name(event.queues[0])];
            (queue.group, send(queue.id, deduplication))
        } else {
            self.publish(&topology, event, deduplication)
        };
        Some((group, Proposal { command, payloads }))
    }

    /// The event, and what a plugin made of it.
    fn payloads(&self, event: &Published) -> Vec<Bytes> {
        let is_first = event.attempts == 0;
        let mut payloads = vec![event.stored.clone()];
        if is_first && self.scene.is_planted(Plant::Byte) {
            payloads[0] = flipped(&event.stored);
        }
        if let Some(changed) = &event.changed {
            let is_flipped = is_first && self.scene.is_planted(Plant::Body);
            payloads.push(if is_flipped {
                flipped(changed)
            } else {
                changed.clone()
            });
        }
        payloads
    }

    fn publish(
        &self,
        topology: &Topology,
        event: &Published,
        deduplication: Option<Deduplication>,
    ) -> (GroupId, Command) {
        let (home, subscription) = list(topology);
        let changed = u32::from(event.changed.is_some());
        let (mut deliveries, mut parked) = (Vec::new(), Vec::new());
        for queue in &event.queues {
            let payload = if *queue == TWO { changed } else { 0 };
            if *queue == TWO && event.parks {
                parked.push(park(subscription, payload));
                continue;
            }
            deliveries.push(Delivery {
                queue: topology.queues[&name(queue)].id,
                payload,
                delay_ms: percent(10).then(|| below(2_000)),
            });
        }
        if event.attempts == 0 && !deliveries.is_empty() && self.scene.is_planted(Plant::Plan) {
            deliveries.extend_from_within(..);
        }
        let elsewhere = elsewhere(topology, home, &deliveries);
        let publish = Publish {
            topic: topology.topics[&name(TOPIC)].topic.id,
            revision: topology.revision,
            deduplication,
            events: vec![Routed {
                payloads: 1 + changed,
                deliveries,
                parked,
            }],
        };
        let command = if elsewhere.is_empty() {
            Command::Publish(publish)
        } else {
            Command::PublishAcross(PublishAcross { publish, elsewhere })
        };
        (home, command)
    }

    /// Sends what nobody has asked for, until it is accepted.
    pub(crate) async fn send_planted(&self, group: GroupId, queue: QueueId, event: Bytes) {
        let (command, payloads) = (send(queue, None), vec![event]);
        let proposal = Proposal { command, payloads };
        while self.cluster.commit(group, proposal.clone()).await.is_err() {
            pause(100).await;
        }
    }
}

impl Published {
    /// Whether it goes to a queue past the topic.
    pub(crate) fn is_sent(&self) -> bool {
        !self.queues.contains(&ONE) && !self.queues.contains(&TWO)
    }
}

fn send(queue: QueueId, deduplication: Option<Deduplication>) -> Command {
    Command::Send(Send {
        queue,
        deduplication,
        delay_ms: percent(10).then(|| below(2_000)),
    })
}

/// Which queues are not in group `home`.
pub(crate) fn elsewhere<'a>(
    topology: &Topology,
    home: GroupId,
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> Elsewhere {
    let queues = deliveries.into_iter().map(|delivery| delivery.queue);
    let queues = queues.map(|queue| (queue, topology.placement.queue(queue)));
    let mut queues: Vec<_> = queues.filter(|(_, group)| *group != home).collect();
    queues.sort_unstable();
    queues.dedup();
    Elsewhere {
        queues,
        subscriptions: Vec::new(),
    }
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Bytes::from(bytes)
}

fn key(id: &str) -> DeduplicationKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&History::digest(id.as_bytes()).to_le_bytes());
    DeduplicationKey { key, request: 1 }
}
