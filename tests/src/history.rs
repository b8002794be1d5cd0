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
    /// A plugin made something else of an event for one of its queues.
    Changed {
        /// The event.
        id: String,
        /// The queue.
        queue: String,
        /// [`History::digest`] of what it gets.
        digest: u64,
    },
    /// What one queue gives up moves to another one: its dead letters, or what is redriven out of it.
    Moves {
        /// Gives up.
        from: String,
        /// Takes.
        to: String,
    },
    /// An event was received from a queue that it was moved to: it is no longer where it was.
    Moved {
        /// The event.
        id: String,
        /// Where it was.
        from: String,
        /// [`History::tick`] after it had come.
        answered_at: u64,
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
    /// P1, P4: moved, and delivered from where it was by a receive that began after that.
    StillThere {
        /// The event.
        id: String,
        /// The queue.
        queue: String,
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
        let delivered = delivered(&facts);
        let (mut entries, mut deliveries) = (HashSet::new(), 0);
        for fact in facts.iter() {
            if let Fact::Delivered {
                queue, sequence, ..
            } = fact
            {
                deliveries += 1;
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
                let is_found = |queue: &String| delivered.contains(&(queue.as_str(), id.as_str()));
                let is_found = queues.iter().all(is_found);
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
        check_moves(&facts, &mut found);
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

/// What plugins made of events: by event and queue.
fn changed(facts: &[Fact]) -> HashMap<(&str, &str), u64> {
    let changed = facts.iter().filter_map(|fact| match fact {
        Fact::Changed { id, queue, digest } => Some(((id.as_str(), queue.as_str()), *digest)),
        _ => None,
    });
    changed.collect()
}

/// Each pair of queues of which the first gives up to the second, over however many others.
fn moves(facts: &[Fact]) -> HashSet<(&str, &str)> {
    let steps = facts.iter().filter_map(|fact| match fact {
        Fact::Moves { from, to } => Some((from.as_str(), to.as_str())),
        _ => None,
    });
    let steps: Vec<_> = steps.collect();
    let mut moves: HashSet<_> = steps.iter().copied().collect();
    for _ in &steps {
        for (from, to) in moves.clone() {
            let next = steps.iter().filter(|(next, _)| *next == to);
            moves.extend(next.map(|(_, end)| (from, *end)));
        }
    }
    moves
}

fn check_deliveries(facts: &[Fact], found: &mut Vec<Violation>) {
    let (events, changed, moves) = (published(facts), changed(facts), moves(facts));
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
        let place = (id.as_str(), queue.as_str());
        let (id, queue) = (id.clone(), queue.clone());
        let leads = |from: &String| *from == queue || moves.contains(&(from.as_str(), place.1));
        let event = events.get(place.0).filter(|event| event.possible);
        let Some(event) = event.filter(|event| event.queues.iter().any(leads)) else {
            found.push(Violation::NeverPublished { id, queue });
            continue;
        };
        if changed.get(&place).unwrap_or(&event.digest) != digest {
            found.push(Violation::OtherBytes { id, queue });
            continue;
        }
        let first = *entries.entry(place).or_insert(*sequence);
        if event.once && first != *sequence {
            found.push(Violation::Twice { id, queue });
        }
    }
}

/// An event that may have several entries in a queue may be in both.
fn check_moves(facts: &[Fact], found: &mut Vec<Violation>) {
    let events = published(facts);
    let mut gone: HashMap<(&str, &str), u64> = HashMap::new();
    for fact in facts {
        if let Fact::Moved {
            id,
            from,
            answered_at,
        } = fact
            && events.get(id.as_str()).is_some_and(|event| event.once)
        {
            let first = gone.entry((id, from)).or_insert(*answered_at);
            *first = (*first).min(*answered_at);
        }
    }
    for fact in facts {
        if let Fact::Delivered {
            queue,
            id,
            asked_at,
            ..
        } = fact
            && gone
                .get(&(id.as_str(), queue.as_str()))
                .is_some_and(|gone_at| gone_at < asked_at)
        {
            let (id, queue) = (id.clone(), queue.clone());
            found.push(Violation::StillThere { id, queue });
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

/// What came from which queue, or from one that it gives up to.
fn delivered(facts: &[Fact]) -> HashSet<(&str, &str)> {
    let moves = moves(facts);
    let mut delivered = HashSet::new();
    for fact in facts {
        if let Fact::Delivered { queue, id, .. } = fact {
            delivered.insert((queue.as_str(), id.as_str()));
            let before = moves.iter().filter(|(_, to)| to == queue);
            delivered.extend(before.map(|(from, _)| (*from, id.as_str())));
        }
    }
    delivered
}

fn check_losses(facts: &[Fact], found: &mut Vec<Violation>) {
    let delivered = delivered(facts);
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
