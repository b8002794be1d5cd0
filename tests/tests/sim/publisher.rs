//! Publishes to the topic and sends to queues, with and without a key, until the load ends.

use bytes::Bytes;
use millrace_model::outcome::Accepted;
use millrace_model::{Ledger as _, Outcome, Refusal, Unavailable};
use millrace_store::simulation;

use crate::client::{Client, below, name, pause, percent};
use crate::places::{FOUR, ONE, QUEUES, THREE, TWO};
use crate::plant::Plant;
use crate::scene::{Phase, Published};

/// Longest event of the usual ones, in bytes.
const EVENT_BYTES_MAX: u64 = 6_000;

/// Longest event, in bytes. A few of them that nobody acks, and a queue moves in several parts.
const LARGE_BYTES_MAX: u64 = 120_000;

/// Most attempts for one event.
const ATTEMPTS_MAX: u32 = 8;

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

    /// An event with a key that is tried again, by whatever client: its outcome is not known, or it is and somebody is
    /// not sure.
    fn unfinished(&self) -> Option<String> {
        let leaving = self.leaving();
        let mut published = self.scene.published.borrow_mut();
        let is_doubted = percent(if leaving.is_empty() { 5 } else { 40 });
        let first = if is_doubted {
            below(1 + published.len() as u64)
        } else {
            0
        };
        let mut open = published.iter_mut().skip(usize::try_from(first).unwrap());
        let (id, event) = open.find(|(_, event)| {
            let open = event.once && !event.busy && event.attempts < ATTEMPTS_MAX;
            let leaves = leaving.is_empty() || leaving.contains(&event.queues[0]);
            open && event.acknowledged == is_doubted && (leaves || !is_doubted)
        })?;
        event.busy = true;
        Some(id.clone())
    }

    /// Queues that leave, as far as this node knows: their keys are handed over last.
    fn leaving(&self) -> Vec<&'static str> {
        let topology = self.cluster.topology();
        let leaves = |queue: &&str| {
            let moving = topology.queues[&name(queue)].moving;
            moving.is_some_and(|moving| moving.leaves)
        };
        QUEUES.into_iter().filter(leaves).collect()
    }

    fn begin(&self, number: u64) -> String {
        let id = format!("{}-{number}-{:08x}", self.node, below(1 << 32));
        let len = 20
            + match below(100) {
                0..3 => below(LARGE_BYTES_MAX),
                3..20 => below(EVENT_BYTES_MAX),
                _ => below(200),
            };
        let stored = Bytes::from(format!("{id} {}", filler(len)));
        let queues = match below(6) {
            0 | 1 => vec![ONE, TWO],
            2 => vec![ONE],
            3 => vec![TWO],
            4 => vec![THREE],
            _ => vec![FOUR],
        };
        let changes = queues.contains(&TWO) && percent(30);
        let changed = changes.then(|| Bytes::from(format!("{id} changed {}", filler(len))));
        let event = Published {
            stored,
            changed,
            parks: percent(10),
            delay_ms: percent(10).then(|| below(2_000)),
            queues,
            once: percent(50),
            busy: true,
            acknowledged: false,
            unknown: false,
            attempts: 0,
            sequence: None,
        };
        self.scene.published.borrow_mut().insert(id.clone(), event);
        id
    }

    async fn attempt(&self, id: &str) {
        // If this node dies now, nobody knows.
        let before = self.with(id, |event| {
            event.attempts += 1;
            std::mem::replace(&mut event.unknown, true)
        });
        let _open = Open { client: self, id };
        self.plant(id).await;
        let (acknowledged, unknown) = match self.ask(id).await {
            Ok(Ok(outcome)) => self.understand(id, outcome, before),
            Ok(Err(refusal)) => {
                self.understand_refusal(id, &refusal);
                (false, before)
            }
            Err(
                Unavailable::NoQuorum
                | Unavailable::NotReady(_)
                | Unavailable::Overloaded
                | Unavailable::StorageFull,
            ) => (false, before),
            Err(_) => (false, true),
        };
        self.end(id, acknowledged, unknown);
    }

    /// Whether the event is acknowledged, and if not, whether some attempt may have taken effect.
    fn understand(&self, id: &str, outcome: Outcome, before: bool) -> (bool, bool) {
        let Outcome::Accepted(results) = outcome else {
            self.scene.object(format!("{id} got {outcome:?}"));
            return (false, true);
        };
        match results.as_slice() {
            [Ok(accepted)] => {
                self.compare(id, *accepted);
                (true, true)
            }
            [Err(refusal @ Refusal::QueueFull(_))] => {
                self.understand_refusal(id, refusal);
                (false, before)
            }
            other => {
                self.scene.object(format!("{id} got {other:?}"));
                (false, true)
            }
        }
    }

    fn understand_refusal(&self, id: &str, refusal: &Refusal) {
        let is_expected = match refusal {
            Refusal::StalePlan(_) | Refusal::QueueFull(_) => true,
            Refusal::QueueMoving(_) => self.scene.groups > 1,
            _ => false,
        };
        if !is_expected {
            self.scene.object(format!("{id} is refused: {refusal:?}"));
        }
    }

    /// Every attempt for a key has the answer of the first.
    fn compare(&self, id: &str, accepted: Accepted) {
        let mut number = accepted.sequence;
        let before = self.with(id, |event| event.sequence.replace(number));
        let Some(first) = before else {
            return;
        };
        if self.scene.is_planted(Plant::Answer) {
            number += 1;
        }
        if first != number {
            self.scene.object(format!(
                "{id} is answered with another number: {number}, and {first} before"
            ));
        }
    }

    /// Does what must not be, when it is asked for.
    async fn plant(&self, id: &str) {
        let (queue, stored) = {
            let published = self.scene.published.borrow();
            let event = &published[id];
            if !event.is_sent() {
                return;
            }
            (event.queues[0], event.stored.clone())
        };
        let event = if self.scene.is_planted(Plant::Ghost) {
            Bytes::from_static(b"ghost of nobody")
        } else if self.scene.is_planted(Plant::Batch) {
            stored
        } else {
            return;
        };
        self.send_planted(queue, event).await;
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
