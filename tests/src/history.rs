//! [`History`]: what clients saw during a run, and the checker of the broker's promises over it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a publisher knows of its publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx came back.
    Acknowledged,
    /// No answer came, or one that leaves it open.
    Unknown,
    /// Every answer said that nothing was done: it must never come.
    Refused,
}

/// One thing that a client did or saw.
#[derive(Clone, Debug)]
pub enum Fact {
    /// An event was published.
    Published {
        /// The id of the event: unique in a run.
        id: String,
        /// [`History::digest`] of its data.
        digest: u64,
        /// The queues that it must come to.
        queues: Vec<String>,
        /// Whether it was sent with an `Idempotency-Key`: then each queue may take it once only, however often it was tried.
        once: bool,
        /// What became of it.
        outcome: Outcome,
    },
    /// An event was received.
    Delivered {
        /// From this queue.
        queue: String,
        /// The id of the event.
        id: String,
        /// The entry's sequence in the queue.
        sequence: u64,
        /// [`History::digest`] of the data that came.
        digest: u64,
        /// [`History::tick`] before the receive was sent.
        asked_at: u64,
    },
    /// An ack was confirmed.
    Acked {
        /// In this queue.
        queue: String,
        /// The entry's sequence.
        sequence: u64,
        /// [`History::tick`] after the answer had come.
        answered_at: u64,
    },
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// P1: acknowledged, and never delivered from this queue.
    Lost {
        /// The event.
        id: String,
        /// The queue.
        queue: String,
    },
    /// P4: delivered from a queue that it was never published to, or although every attempt was refused.
    NeverPublished {
        /// The event.
        id: String,
        /// The queue.
        queue: String,
    },
    /// P4: delivered with other bytes than it was published with.
    OtherBytes {
        /// The event.
        id: String,
        /// The queue.
        queue: String,
    },
    /// P2: delivered by a receive that began after the ack was confirmed.
    BackAfterAck {
        /// The queue.
        queue: String,
        /// The entry.
        sequence: u64,
    },
    /// P3: published with an `Idempotency-Key`, and two entries in one queue.
    Twice {
        /// The event.
        id: String,
        /// The queue.
        queue: String,
    },
}

/// A run in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Events that were published, whatever became of it.
    pub published: usize,
    /// Of these, acknowledged.
    pub acknowledged: usize,
    /// Of these, delivered from all their queues.
    pub found: usize,
    /// Acknowledged and not found.
    pub lost: usize,
    /// Deliveries of an entry beyond its first.
    pub duplicated: usize,
}

/// What all clients of a run did and saw.
#[derive(Debug, Default)]
pub struct History {
    facts: Mutex<Vec<Fact>>,
    clock: AtomicU64,
}

impl History {
    /// Adds a fact.
    pub fn record(&self, fact: Fact) {
        self.facts.lock().expect("no client panicked").push(fact);
    }

    /// The next moment of a clock that all clients share. Of two moments the smaller one came first.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A fingerprint of event data.
    #[must_use]
    pub fn digest(data: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        hasher.finish()
    }

    /// The run in numbers, as of now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let facts = self.facts.lock().expect("no client panicked");
        let (mut delivered, mut entries, mut deliveries) = (HashSet::new(), HashSet::new(), 0);
        for fact in facts.iter() {
            if let Fact::Delivered {
                queue,
                id,
                sequence,
                ..
            } = fact
            {
                deliveries += 1;
                delivered.insert((queue, id));
                entries.insert((queue, *sequence));
            }
        }
        let (mut published, mut acknowledged, mut found) = (0, 0, 0);
        for fact in facts.iter() {
            if let Fact::Published {
                id,
                queues,
                outcome,
                ..
            } = fact
            {
                published += 1;
                let is_acknowledged = *outcome == Outcome::Acknowledged;
                acknowledged += usize::from(is_acknowledged);
                let is_found = queues.iter().all(|queue| delivered.contains(&(queue, id)));
                found += usize::from(is_acknowledged && is_found);
            }
        }
        Figures {
            published,
            acknowledged,
            found,
            lost: acknowledged - found,
            duplicated: deliveries - entries.len(),
        }
    }

    /// Every broken promise. Call it when all queues are drained: what was acknowledged and not delivered by then is lost.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let facts = self.facts.lock().expect("no client panicked");
        let mut found = Vec::new();
        check_deliveries(&facts, &mut found);
        check_acks(&facts, &mut found);
        check_losses(&facts, &mut found);
        found
    }
}

/// What was published under one id.
struct Published<'a> {
    digest: u64,
    queues: &'a [String],
    once: bool,
    /// Some attempt may have taken effect.
    possible: bool,
}

fn published(facts: &[Fact]) -> HashMap<&str, Published<'_>> {
    let mut events = HashMap::new();
    for fact in facts {
        if let Fact::Published {
            id,
            digest,
            queues,
            once,
            outcome,
        } = fact
        {
            let event = Published {
                digest: *digest,
                queues,
                once: *once,
                possible: *outcome != Outcome::Refused,
            };
            let before = events.insert(id.as_str(), event);
            assert!(before.is_none(), "the load published {id} twice");
        }
    }
    events
}

fn check_deliveries(facts: &[Fact], found: &mut Vec<Violation>) {
    let events = published(facts);
    let mut entries: HashMap<(&str, &str), u64> = HashMap::new();
    for fact in facts {
        let Fact::Delivered {
            queue,
            id,
            sequence,
            digest,
            ..
        } = fact
        else {
            continue;
        };
        let (id, queue) = (id.clone(), queue.clone());
        let event = events.get(id.as_str()).filter(|event| event.possible);
        let Some(event) = event.filter(|event| event.queues.contains(&queue)) else {
            found.push(Violation::NeverPublished { id, queue });
            continue;
        };
        if event.digest != *digest {
            found.push(Violation::OtherBytes { id, queue });
            continue;
        }
        let (key, _) = events.get_key_value(id.as_str()).expect("found above");
        let place = event.queues.iter().find(|name| **name == queue);
        let place = place.expect("found above");
        let first = *entries.entry((*key, place.as_str())).or_insert(*sequence);
        if event.once && first != *sequence {
            found.push(Violation::Twice { id, queue });
        }
    }
}

fn check_acks(facts: &[Fact], found: &mut Vec<Violation>) {
    let mut acked: HashMap<(&str, u64), u64> = HashMap::new();
    for fact in facts {
        if let Fact::Acked {
            queue,
            sequence,
            answered_at,
        } = fact
        {
            let first = acked.entry((queue, *sequence)).or_insert(*answered_at);
            *first = (*first).min(*answered_at);
        }
    }
    for fact in facts {
        if let Fact::Delivered {
            queue,
            sequence,
            asked_at,
            ..
        } = fact
            && acked
                .get(&(queue.as_str(), *sequence))
                .is_some_and(|answered_at| answered_at < asked_at)
        {
            found.push(Violation::BackAfterAck {
                queue: queue.clone(),
                sequence: *sequence,
            });
        }
    }
}

fn check_losses(facts: &[Fact], found: &mut Vec<Violation>) {
    let mut delivered: HashSet<(&str, &str)> = HashSet::new();
    for fact in facts {
        if let Fact::Delivered { queue, id, .. } = fact {
            delivered.insert((queue, id));
        }
    }
    for fact in facts {
        if let Fact::Published {
            id,
            queues,
            outcome: Outcome::Acknowledged,
            ..
        } = fact
        {
            let lost = queues
                .iter()
                .filter(|queue| !delivered.contains(&(queue.as_str(), id.as_str())));
            found.extend(lost.map(|queue| Violation::Lost {
                id: id.clone(),
                queue: queue.clone(),
            }));
        }
    }
}
