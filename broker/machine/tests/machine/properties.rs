//! Random commands: the machine does what the naive model does, every invariant holds after each step, rows
//! alone are enough to go on, and the same batches give the same rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_machine::{Cargo, Machine, MemoryTables};
use millrace_model::command::{
    Adopt, Carried, CarriedTo, Change, Deduplication, Deliver, Delivered, Delivery, Elsewhere,
    Extend, Nack, Park, Publish, PublishAcross, Receive, Redrive, RedriveAcross, Routed, Send,
    Settle, Unpark, UnparkAcross, Unparked,
};
use millrace_model::query::States;
use millrace_model::queue::DeadLetter;
use millrace_model::{
    Answer, Batch, Command, DeduplicationKey, GroupId, Name, Outcome, Proposal, Query, QueueConfig,
    QueueId, Receipt, Revision, SubscriptionId, Timestamp, TopicId,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::naive::{Naive, Waiting};
use crate::steps::{Arriving, Config, Do, Event, QUEUES, Step, step};
use crate::world::Group;

/// Queues of other groups, by the slots behind those of this one.
const FAR_QUEUES: [(QueueId, GroupId); 2] = [
    (QueueId(1_000_001), GroupId(2)),
    (QueueId(1_000_002), GroupId(3)),
];

/// The subscription of another group, in the slot behind those of this one.
const FAR_LIST: (SubscriptionId, GroupId) = (SubscriptionId(1_000_003), GroupId(2));

/// A run: the machine, the model, and what is known from outside.
struct Run {
    group: Group,
    naive: Naive,
    at: Timestamp,
    revision: u64,
    nonce: u64,
    receipts: Vec<Receipt>,
    /// What was taken in last of each group.
    taken: BTreeMap<GroupId, u64>,
    /// Ids are not used twice: what is deleted comes back under another one.
    queues: BTreeMap<u32, QueueId>,
    subscriptions: BTreeMap<u32, SubscriptionId>,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            group: Group::new(GroupId::DATA),
            naive: Naive::default(),
            at: Timestamp(1_000_000),
            revision: 0,
            nonce: 0,
            receipts: vec![],
            taken: BTreeMap::new(),
            queues: (1..=QUEUES).map(|slot| (slot, QueueId(slot))).collect(),
            subscriptions: (1..3).map(|slot| (slot, SubscriptionId(slot))).collect(),
        };
        let all = (1..=QUEUES).map(|queue| Do::Configure(queue, (0, Some(80), None, None)));
        run.step(Step::Batch(all.collect()));
        run
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(ms) => self.at = self.at.plus_ms(ms),
            Step::Reopen => self.group.reopen(),
            Step::Batch(commands) => {
                let proposals = commands.into_iter().map(|command| self.proposal(command));
                let proposals: Vec<_> = proposals.collect();
                self.apply(&proposals);
                self.compare();
            }
        }
    }

    fn apply(&mut self, proposals: &[Proposal]) {
        let index = self.group.log.len() as u64 + 1;
        let applied = self.group.apply(self.at, proposals);
        let (batch, start) = Batch::decode(&self.group.log[&index]).unwrap();
        let mut places = batch.payloads(index, start);
        for (item, outcome) in batch.items.iter().zip(applied.outcomes) {
            let own = places.by_ref().take(item.payload_lens.len());
            let places: Vec<_> = own.collect();
            let expected = self.naive.run(self.at, &item.command, &places);
            if let Outcome::Received(leases) = &outcome {
                self.receipts
                    .extend(leases.iter().map(|lease| lease.receipt));
            }
            if let (Command::Deliver(deliver), Outcome::Carried(last)) = (&item.command, &outcome) {
                self.taken.insert(deliver.source, *last);
            }
            // How much a tick did is the machine's own affair.
            if !matches!(outcome, Outcome::Ticked { .. }) {
                assert_eq!(outcome, expected, "{:?}", item.command);
            }
        }
    }

    /// What the machine shows is what the model shows.
    fn compare(&self) {
        let machine = &self.group.machine;
        let all = States {
            ready: true,
            delayed: true,
            leased: true,
        };
        let queues = self.naive.peek();
        let ready = machine.queues_ready();
        assert!(ready.iter().map(|(id, _)| id).eq(queues.keys()));
        for (queue, entries) in queues {
            let query = Query::Peek {
                queue,
                states: all,
                after: None,
                limit: 1_000,
            };
            assert_eq!(machine.query(&query).unwrap(), Answer::Peeked(entries));
            let counters = self.naive.counters(queue);
            let answer = machine.query(&Query::Counters(queue)).unwrap();
            assert_eq!(answer, Answer::Counters(counters));
        }
        for group in [GroupId(2), GroupId(3)] {
            let (first, waiting) = self.naive.waiting(group);
            let cargo = machine.cargo(group, 0).unwrap();
            let is_same = cargo
                .as_ref()
                .is_none_or(|cargo| cargo.deliver.first == first);
            assert!(is_same, "{cargo:?}");
            assert_eq!(carried(cargo), waiting);
        }
        for subscription in self.subscriptions.values().copied() {
            let query = Query::Parked {
                subscription,
                after: None,
                limit: 1_000,
            };
            let parked = Answer::Parked(self.naive.parked(subscription));
            assert_eq!(machine.query(&query).unwrap(), parked);
        }
        if machine.next_due().is_none_or(|due| due > self.at) {
            assert_eq!(machine.tables().references(), &self.naive.references());
        }
    }

    fn proposal(&mut self, command: Do) -> Proposal {
        let mut payloads = vec![];
        let command = match command {
            Do::Configure(queue, config) => self.configure(queue, config),
            Do::Delete(queue) => {
                let id = self.queues[&queue];
                self.queues.insert(queue, QueueId(id.0 + QUEUES));
                self.adopt(Change::QueueDeleted { id })
            }
            Do::Forget(subscription) => {
                let id = self.subscriptions[&subscription];
                let next = SubscriptionId(id.0 + 2);
                self.subscriptions.insert(subscription, next);
                self.revision += 1;
                Command::Adopt(Adopt {
                    revision: Revision(self.revision),
                    after: None,
                    changes: vec![
                        Change::SubscriptionDeleted { id },
                        Change::SubscriptionGone { id },
                    ],
                })
            }
            Do::Publish(topic, events, key, old) => publish(Publish {
                topic: TopicId(topic),
                revision: Revision(self.revision - u64::from(old)),
                deduplication: key.map(deduplication),
                events: events
                    .iter()
                    .map(|event| self.routed(event, &mut payloads))
                    .collect(),
            }),
            Do::Send(queue, count, delay_ms, key) => {
                payloads = vec![Bytes::from_static(b"sent"); count];
                Command::Send(Send {
                    queue: self.queues[&queue],
                    deduplication: key.map(deduplication),
                    delay_ms,
                })
            }
            Do::Unpark(subscription, events) => unpark(Unpark {
                subscription: self.subscriptions[&subscription],
                revision: Revision(self.revision),
                events: events
                    .iter()
                    .map(|(sequence, event)| self.unparked(*sequence, event, &mut payloads))
                    .collect(),
            }),
            Do::Deliver(from, at, items, is_new) => {
                payloads = vec![Bytes::from_static(b"carried"); items.len()];
                self.deliver(GroupId(from), at, &items, is_new)
            }
            Do::Delivered(to, count) => Command::Delivered(Delivered {
                to: GroupId(to),
                upto: self.naive.waiting(GroupId(to)).0 - 1 + count,
            }),
            other => self.bare(other),
        };
        Proposal { command, payloads }
    }

    fn bare(&mut self, command: Do) -> Command {
        match command {
            Do::Receive(queue, max, visibility_ms) => {
                self.nonce += 1;
                Command::Receive(Receive {
                    queue: self.queues[&queue],
                    max,
                    visibility_ms,
                    nonce: self.nonce,
                })
            }
            Do::Ack(queue, receipts) => Command::Ack(Settle {
                queue: self.queues[&queue],
                receipts: self.receipts(queue, &receipts),
            }),
            Do::Nack(queue, receipts, delay_ms) => Command::Nack(Nack {
                queue: self.queues[&queue],
                receipts: self.receipts(queue, &receipts),
                delay_ms,
            }),
            Do::Extend(queue, receipts, visibility_ms) => Command::Extend(Extend {
                queue: self.queues[&queue],
                receipts: self.receipts(queue, &receipts),
                visibility_ms,
            }),
            Do::Purge(queue) => Command::Purge(self.queues[&queue]),
            Do::Redrive(queue, to, max) => {
                let redrive = Redrive {
                    queue: self.queues[&queue],
                    to: to.map(|to| self.queue(to)),
                    max,
                };
                match to.and_then(|to| elsewhere().queue(self.queue(to))) {
                    Some(group) => Command::RedriveAcross(RedriveAcross {
                        redrive,
                        group,
                        revision: Revision(self.revision),
                    }),
                    None => Command::Redrive(redrive),
                }
            }
            _ => Command::Tick,
        }
    }

    /// The queue of a slot, in whatever group.
    fn queue(&self, slot: u32) -> QueueId {
        let far = slot
            .checked_sub(QUEUES + 1)
            .map(|at| FAR_QUEUES[at as usize]);
        far.map_or_else(|| self.queues[&slot], |(id, _)| id)
    }

    /// The subscription of a slot, in whatever group.
    fn subscription(&self, slot: u32) -> SubscriptionId {
        let own = self.subscriptions.get(&slot).copied();
        own.unwrap_or(FAR_LIST.0)
    }

    /// What comes from another group: some of it again, or behind a gap.
    fn deliver(&self, source: GroupId, at: u64, items: &[Arriving], is_new: bool) -> Command {
        let last = self.taken.get(&source).copied().unwrap_or(0);
        let item = |(ordinal, (to_queue, slot, delay_ms, late)): (usize, &Arriving)| Carried {
            payload: ordinal as u32,
            accepted_at: Timestamp(self.at.0 + 100 - (late + 100).min(self.at.0)),
            to: if *to_queue {
                CarriedTo::Queue {
                    queue: self.queue(*slot),
                    delay_ms: *delay_ms,
                }
            } else {
                CarriedTo::Parked {
                    subscription: self.subscription(*slot % 3 + 1),
                    code: "paused".to_owned(),
                    detail: format!("after {late}"),
                    plugin: None,
                }
            },
        };
        Command::Deliver(Deliver {
            source,
            first: (last + at).saturating_sub(1).max(1),
            revision: Revision(self.revision + u64::from(is_new)),
            items: items.iter().enumerate().map(item).collect(),
        })
    }

    /// Some receipts of a queue, the younger the likelier; now and then one of another queue.
    fn receipts(&self, queue: u32, chosen: &[usize]) -> Vec<Receipt> {
        let queue = self.queues[&queue];
        let own = |receipt: &&Receipt| receipt.queue == queue;
        let own: Vec<_> = self.receipts.iter().filter(own).rev().copied().collect();
        let chosen = chosen.iter().filter_map(|chosen| {
            let from = if chosen % 20 == 0 {
                &self.receipts
            } else {
                &own
            };
            from.get(chosen % from.len().clamp(1, 12)).copied()
        });
        chosen.collect()
    }

    fn configure(&mut self, queue: u32, (delay, retention, most, dead): Config) -> Command {
        let dead = dead.filter(|(dead, _)| *dead != queue);
        let config = QueueConfig {
            visibility_seconds: 5,
            delay_seconds: delay,
            retention_seconds: retention,
            max_entries: most,
            dead_letter: dead.map(|(dead, max_receives)| DeadLetter {
                queue: name(dead),
                max_receives,
            }),
            ..QueueConfig::default()
        };
        self.adopt(Change::Queue {
            id: self.queues[&queue],
            name: name(queue),
            config,
            dead_letter: dead.map(|(dead, _)| self.queues[&dead]),
        })
    }

    fn adopt(&mut self, change: Change) -> Command {
        self.revision += 1;
        Command::Adopt(Adopt {
            revision: Revision(self.revision),
            after: None,
            changes: vec![change],
        })
    }

    fn routed(&self, (deliveries, parks): &Event, payloads: &mut Vec<Bytes>) -> Routed {
        payloads.push("published".into());
        let before = payloads.len() as u32 - 1;
        let (deliveries, parked) = self.plan(deliveries, parks, payloads, before);
        Routed {
            payloads: payloads.len() as u32 - before,
            deliveries,
            parked,
        }
    }

    fn unparked(
        &self,
        sequence: u64,
        (deliveries, parks): &Event,
        payloads: &mut Vec<Bytes>,
    ) -> Unparked {
        let before = payloads.len() as u32;
        // Ordinal 0 is the parked event itself, which is no payload of the proposal.
        payloads.push("form".into());
        let (deliveries, parked) = self.plan(deliveries, parks, payloads, before);
        payloads.remove(before as usize);
        Unparked {
            sequence,
            payloads: payloads.len() as u32 - before,
            deliveries,
            parked,
        }
    }

    fn plan(
        &self,
        deliveries: &[(u32, Option<u64>, bool)],
        parks: &[u32],
        payloads: &mut Vec<Bytes>,
        before: u32,
    ) -> (Vec<Delivery>, Vec<Park>) {
        let mut delivery = |(queue, delay_ms, changed): &(u32, Option<u64>, bool)| {
            if *changed {
                payloads.push("changed".into());
            }
            Delivery {
                queue: self.queue(*queue),
                payload: payloads.len() as u32 - 1 - before,
                delay_ms: *delay_ms,
            }
        };
        let deliveries = deliveries.iter().map(&mut delivery).collect();
        let park = |subscription: &u32| Park {
            subscription: self.subscription(*subscription),
            payload: 0,
            code: "paused".to_owned(),
            detail: format!("subscription {subscription}"),
            plugin: None,
        };
        (deliveries, parks.iter().map(park).collect())
    }
}

/// What is not in this group.
fn elsewhere() -> Elsewhere {
    Elsewhere {
        queues: FAR_QUEUES.to_vec(),
        subscriptions: vec![FAR_LIST],
    }
}

fn publish(publish: Publish) -> Command {
    let elsewhere = elsewhere();
    let far = |queue| elsewhere.queue(queue).is_some();
    let mut events = publish.events.iter();
    if events
        .any(|event| event.deliveries.iter().any(|it| far(it.queue)) || !event.parked.is_empty())
    {
        return Command::PublishAcross(PublishAcross { publish, elsewhere });
    }
    Command::Publish(publish)
}

fn unpark(unpark: Unpark) -> Command {
    let elsewhere = elsewhere();
    Command::UnparkAcross(UnparkAcross { unpark, elsewhere })
}

/// A cargo as the model has it.
fn carried(cargo: Option<Cargo>) -> Vec<Waiting> {
    let Some(Cargo { deliver, places }) = cargo else {
        return vec![];
    };
    let items = deliver.items.into_iter();
    let waiting = items.map(|carried| Waiting {
        payload: places[carried.payload as usize],
        accepted_at: carried.accepted_at,
        to: carried.to,
    });
    waiting.collect()
}

fn name(queue: u32) -> Name {
    Name::new(&format!("queue{queue}")).unwrap()
}

fn deduplication((key, request): (u8, u64)) -> Deduplication {
    Deduplication {
        key: DeduplicationKey {
            key: [key; 16],
            request,
        },
        window_ms: 2_000,
    }
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(steps in vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        // The same batches give the same rows, with no opening in between.
        let mut again = Machine::open(GroupId::DATA, MemoryTables::default()).unwrap();
        for (index, body) in &run.group.log {
            again.apply(*index, body).unwrap();
        }
        prop_assert_eq!(again.tables(), run.group.machine.tables());
        prop_assert_eq!(again.digest().unwrap(), run.group.machine.digest().unwrap());
    }
}
