//! Publishes to the topic and sends to queues, with and without a key, until the load ends.

use bytes::Bytes;
use millrace_model::command::{Deduplication, Delivery, Publish, Routed, Send};
use millrace_model::id::DeduplicationKey;
use millrace_model::{Command, GroupId, Ledger as _, Outcome, Proposal, Refusal, Unavailable};
use millrace_store::simulation;

use crate::client::{Client, below, name, pause, percent};
use crate::plant::Plant;
use crate::scene::{Phase, Published, QUEUES, TOPIC};

/// Longest event, in bytes.
const EVENT_BYTES_MAX: u64 = 6_000;

/// Longer than a run: a key is accepted once.
const WINDOW_MS: u64 = 3_600_000;

impl Client {
    pub(crate) async fn publish_all(self) {
        let mut number = 0;
        while matches!(self.phase(), Phase::Setup | Phase::Load) {
            pause(60).await;
            if self.phase() != Phase::Load || self.topology().is_none() {
                continue;
            }
            let id = self.unfinished().unwrap_or_else(|| {
                number += 1;
                self.begin(number)
            });
            self.attempt(&id).await;
        }
    }

    /// An event with a key whose outcome is not known: any client may try it again.
    fn unfinished(&self) -> Option<String> {
        let mut published = self.scene.published.borrow_mut();
        let mut open = published.iter_mut();
        let (id, event) = open.find(|(_, event)| {
            event.once && !event.acknowledged && !event.busy && event.attempts < 8
        })?;
        event.busy = true;
        Some(id.clone())
    }

    fn begin(&self, number: u64) -> String {
        let id = format!("{}-{number}-{:08x}", self.node, below(1 << 32));
        let len = 20
            + if percent(20) {
                below(EVENT_BYTES_MAX)
            } else {
                below(200)
            };
        let stored = Bytes::from(format!("{id} {}", filler(len)));
        let queues = match below(4) {
            0 => vec![QUEUES[0], QUEUES[1]],
            other => vec![QUEUES[usize::try_from(other - 1).unwrap()]],
        };
        let event = Published {
            stored,
            queues,
            once: percent(50),
            busy: true,
            acknowledged: false,
            unknown: false,
            attempts: 0,
        };
        self.scene.published.borrow_mut().insert(id.clone(), event);
        id
    }

    async fn attempt(&self, id: &str) {
        let Some((group, proposal)) = self.proposal(id) else {
            return self.end(id, false, false);
        };
        // If this node dies now, nobody knows.
        let before = self.with(id, |event| {
            event.attempts += 1;
            std::mem::replace(&mut event.unknown, true)
        });
        let _open = Open { client: self, id };
        self.plant(group, &proposal).await;
        let (acknowledged, unknown) = match self.cluster.commit(group, proposal).await {
            Ok(Outcome::Accepted(results)) => match results.as_slice() {
                [Ok(_)] => (true, true),
                other => {
                    self.scene.object(format!("{id} got {other:?}"));
                    (false, true)
                }
            },
            Ok(Outcome::Refused(Refusal::StalePlan(_))) => (false, before),
            Ok(other) => {
                self.scene.object(format!("{id} got {other:?}"));
                (false, true)
            }
            Err(Unavailable::NoQuorum | Unavailable::NotReady(_) | Unavailable::Overloaded) => {
                (false, before)
            }
            Err(_) => (false, true),
        };
        self.end(id, acknowledged, unknown);
    }

    /// Does what must not be, when it is asked for.
    async fn plant(&self, group: GroupId, proposal: &Proposal) {
        let Command::Send(Send { queue, .. }) = proposal.command else {
            return;
        };
        let ghost = if self.scene.is_planted(Plant::Ghost) {
            Bytes::from_static(b"ghost of nobody")
        } else if self.scene.is_planted(Plant::Batch) {
            proposal.payloads[0].clone()
        } else {
            return;
        };
        let command = Command::Send(Send {
            queue,
            deduplication: None,
            delay_ms: None,
        });
        let payloads = vec![ghost];
        let again = Proposal { command, payloads };
        while self.cluster.commit(group, again.clone()).await.is_err() {
            pause(100).await;
        }
    }

    fn proposal(&self, id: &str) -> Option<(GroupId, Proposal)> {
        let topology = self.topology()?;
        let published = self.scene.published.borrow();
        let event = &published[id];
        let deduplication = event.once.then(|| Deduplication {
            key: key(id),
            window_ms: WINDOW_MS,
        });
        let queues: Vec<_> = event
            .queues
            .iter()
            .map(|queue| &topology.queues[&name(queue)])
            .collect();
        let mut stored = event.stored.to_vec();
        if event.attempts == 0 && self.scene.is_planted(Plant::Byte) {
            *stored.last_mut().unwrap() ^= 1;
        }
        let payloads = vec![Bytes::from(stored)];
        let group = queues[0].group;
        let command = if let [queue] = queues[..] {
            Command::Send(Send {
                queue: queue.id,
                deduplication,
                delay_ms: percent(10).then(|| below(2_000)),
            })
        } else {
            let deliveries = queues.iter().map(|queue| Delivery {
                queue: queue.id,
                payload: 0,
                delay_ms: None,
            });
            let mut deliveries: Vec<_> = deliveries.collect();
            if event.attempts == 0 && self.scene.is_planted(Plant::Plan) {
                deliveries.extend_from_within(..);
            }
            Command::Publish(Publish {
                topic: topology.topics[&name(TOPIC)].topic.id,
                revision: topology.revision,
                deduplication,
                events: vec![Routed {
                    payloads: 1,
                    deliveries,
                    parked: Vec::new(),
                }],
            })
        };
        Some((group, Proposal { command, payloads }))
    }

    fn end(&self, id: &str, acknowledged: bool, unknown: bool) {
        self.scene.tell(format!(
            "node {}: {id}: {}",
            self.node,
            if acknowledged { "acknowledged" } else { "not" }
        ));
        self.with(id, |event| {
            event.busy = false;
            event.acknowledged |= acknowledged;
            event.unknown = unknown;
        });
    }

    fn with<R>(&self, id: &str, change: impl FnOnce(&mut Published) -> R) -> R {
        change(self.scene.published.borrow_mut().get_mut(id).unwrap())
    }
}

/// Frees the event when the node dies in the middle.
struct Open<'a> {
    client: &'a Client,
    id: &'a str,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.client.with(self.id, |event| event.busy = false);
    }
}

/// Letters, other ones each time.
fn filler(len: u64) -> String {
    let mut state = simulation::random();
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..len).map(|_| letter()).collect()
}

fn key(id: &str) -> DeduplicationKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&millrace_tests::History::digest(id.as_bytes()).to_le_bytes());
    DeduplicationKey { key, request: 1 }
}
