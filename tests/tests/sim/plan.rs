//! What is asked for an event: a send, or a publish with the plan that filters and plugins would have made.

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::catalog::{Moving, Queue, Topology};
use millrace_model::command::{
    Deduplication, Delivery, Elsewhere, Publish, PublishAcross, Routed, Send,
};
use millrace_model::id::DeduplicationKey;
use millrace_model::outcome::Accepted;
use millrace_model::{
    Answer, Command, GroupId, Ledger as _, Outcome, Proposal, Query, QueueId, Refusal,
};
use millrace_tests::History;

use crate::client::{Client, name, pause};
use crate::located::Answered;
use crate::moves::{list, park};
use crate::places::{ONE, TOPIC, TWO};
use crate::plant::Plant;
use crate::scene::Published;

/// Longer than a run: a key is accepted once.
const WINDOW_MS: u64 = 3_600_000;

impl Client {
    /// Publishes the event, or sends it to its queue.
    pub(crate) async fn ask(&self, id: &str) -> Answered<Outcome> {
        let (payloads, sent) = {
            let published = self.scene.published.borrow();
            let event = &published[id];
            let sent = event.is_sent().then(|| (event.queues[0], event.delay_ms));
            (self.payloads(event), sent)
        };
        let is_once = self.scene.published.borrow()[id].once;
        let deduplication = is_once.then(|| Deduplication {
            key: key(id),
            window_ms: WINDOW_MS,
        });
        if let Some((queue, delay_ms)) = sent {
            return self.send(queue, (delay_ms, deduplication), payloads).await;
        }
        let topology = self.cluster.topology();
        let (group, command) = {
            let published = self.scene.published.borrow();
            self.publish(&topology, &published[id], deduplication)
        };
        self.try_commit(group, Proposal { command, payloads }).await
    }

    /// Sends to a queue where it is. What a retry came to before is told by the group that the queue leaves.
    async fn send(
        &self,
        queue: &str,
        (delay_ms, deduplication): (Option<u64>, Option<Deduplication>),
        payloads: Vec<Bytes>,
    ) -> Answered<Outcome> {
        let send = async |queue: Arc<Queue>| {
            let leaves = queue.moving.filter(|moving| moving.leaves);
            if let Some((moving, keyed)) = leaves.zip(deduplication) {
                match self.remembered(queue.id, moving, keyed.key).await? {
                    Ok(None) => {}
                    Ok(Some(results)) => return Ok(Ok(Outcome::Accepted(results))),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            let command = Command::Send(Send {
                queue: queue.id,
                deduplication,
                delay_ms,
            });
            let payloads = payloads.clone();
            let proposal = Proposal { command, payloads };
            self.try_commit(queue.group, proposal).await
        };
        self.located(queue, |_, queue| send(queue)).await
    }

    async fn remembered(
        &self,
        queue: QueueId,
        moving: Moving,
        key: DeduplicationKey,
    ) -> Answered<Option<Vec<Result<Accepted, Refusal>>>> {
        let question = Query::Remembered { queue, key };
        match self.cluster.query(moving.from, question).await? {
            Answer::Remembered(Some(_)) if self.scene.is_planted(Plant::Keys) => Ok(Ok(None)),
            Answer::Remembered(results) => {
                if results.is_some() {
                    let told = format!("group {} tells what a key came to", moving.from);
                    self.scene.tell(told);
                }
                Ok(Ok(results))
            }
            Answer::Refused(refusal) => Ok(Err(refusal)),
            other => {
                let what = format!("a question for a key got {other:?}");
                self.scene.object(what);
                Ok(Ok(None))
            }
        }
    }

    /// The event, and what a plugin made of it.
    fn payloads(&self, event: &Published) -> Vec<Bytes> {
        let is_first = event.attempts == 1;
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
                delay_ms: event.delay_ms,
            });
        }
        if event.attempts == 1 && !deliveries.is_empty() && self.scene.is_planted(Plant::Plan) {
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
    pub(crate) async fn send_planted(&self, queue: &str, event: Bytes) {
        let send = || self.send(queue, (None, None), vec![event.clone()]);
        while !matches!(send().await, Ok(Ok(_))) {
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
