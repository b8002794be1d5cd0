//! Events of topics in all groups reach a queue that moves, with its dead-letter queue, at random moments: each is delivered
//! at least once, none twice from two entries, and never after its ack.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_machine::Cargo;
use millrace_model::command::{
    CatalogCommand, Delivered, Delivery, Elsewhere, Expect, Nack, Publish, PublishAcross, Receive,
    Routed, Settle,
};
use millrace_model::queue::DeadLetter;
use millrace_model::{
    Command, GroupId, Name, Outcome, Proposal, QueueConfig, QueueId, Receipt, Refusal, TopicId,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::move_groups::Groups;

const GROUPS: u32 = 3;
const DEAD: QueueId = QueueId(1);
const WORK: QueueId = QueueId(2);

#[derive(Clone, Copy, Debug)]
enum Do {
    Wait(u64),
    /// Publishes in a group.
    Publish(u32),
    /// A carrier looks at what waits in one group for another; delivers what it looked at; tells what came of it.
    Look(u32, u32),
    Deliver(u32, u32),
    Tell(u32, u32),
    Receive(bool, u32),
    /// Acks or nacks one of the last receipts.
    Settle(bool, usize),
    Move(u32),
    Adopt(u32),
    HandOver(bool, usize, bool),
    Forget,
    Reopen(u32),
    Lag(bool),
}

fn command() -> impl Strategy<Value = Do> {
    let group = || 1..=GROUPS;
    prop_oneof![
        3 => (0..2_000_u64).prop_map(Do::Wait),
        12 => group().prop_map(Do::Publish),
        10 => (group(), group()).prop_map(|(home, to)| Do::Look(home, to)),
        10 => (group(), group()).prop_map(|(home, to)| Do::Deliver(home, to)),
        6 => (group(), group()).prop_map(|(home, to)| Do::Tell(home, to)),
        8 => (prop::bool::weighted(0.2), 1..4_u32).prop_map(|(dead, max)| Do::Receive(dead, max)),
        8 => (any::<bool>(), 0..8_usize).prop_map(|(ack, which)| Do::Settle(ack, which)),
        3 => group().prop_map(Do::Move),
        14 => group().prop_map(Do::Adopt),
        16 => (prop::bool::weighted(0.3), 1..4_usize, prop::bool::weighted(0.2))
            .prop_map(|(dead, most, again)| Do::HandOver(dead, most, again)),
        1 => Just(Do::Forget),
        1 => group().prop_map(Do::Reopen),
        1 => any::<bool>().prop_map(Do::Lag),
    ]
}

fn name(queue: QueueId) -> Name {
    Name::new(if queue == DEAD { "dead" } else { "work" }).unwrap()
}

fn which(is_dead: bool) -> QueueId {
    if is_dead { DEAD } else { WORK }
}

struct Run {
    all: Groups,
    cargoes: BTreeMap<(u32, u32), (Cargo, Vec<Bytes>)>,
    taken: BTreeMap<(u32, u32), u64>,
    published: u64,
    accepted: BTreeSet<String>,
    acked: BTreeSet<String>,
    receipts: Vec<(Receipt, String)>,
    nonce: u64,
}

impl Run {
    fn new() -> Self {
        let mut all = Groups::new(GROUPS);
        let dead_letter = DeadLetter {
            queue: name(DEAD),
            max_receives: 2,
        };
        for (queue, dead_letter) in [(DEAD, None), (WORK, Some(dead_letter))] {
            let config = QueueConfig {
                visibility_seconds: 2,
                retention_seconds: None,
                dead_letter,
                ..QueueConfig::default()
            };
            all.change(CatalogCommand::PutQueue {
                name: name(queue),
                config,
                group: GroupId(1),
                among: vec![],
                expect: Expect::Any,
            });
        }
        (1..=GROUPS).for_each(|group| all.adopt(group));
        all.before = all.meta.machine.topology();
        Self {
            all,
            cargoes: BTreeMap::new(),
            taken: BTreeMap::new(),
            published: 0,
            accepted: BTreeSet::new(),
            acked: BTreeSet::new(),
            receipts: vec![],
            nonce: 0,
        }
    }

    fn step(&mut self, step: Do) {
        match step {
            Do::Wait(ms) => self.all.at = self.all.at.plus_ms(ms),
            Do::Publish(home) => self.publish(home),
            Do::Look(home, to) => self.look(home, to),
            Do::Deliver(home, to) => self.deliver(home, to),
            Do::Tell(home, to) => self.tell(home, to),
            Do::Receive(dead, max) => drop(self.receive(which(dead), max)),
            Do::Settle(is_ack, at) => self.settle(is_ack, at),
            Do::Move(to) => {
                let (name, to) = (name(WORK), GroupId(to));
                self.all.change(CatalogCommand::MoveQueue { name, to });
            }
            Do::Adopt(group) => self.all.adopt(group),
            Do::HandOver(dead, most, again) => self.all.hand_over(which(dead), most, again),
            Do::Forget => self.all.taken.clear(),
            Do::Reopen(group) => self.all.groups.get_mut(&GroupId(group)).unwrap().reopen(),
            Do::Lag(lags) => self.all.lags = lags,
        }
        self.all.tick();
    }

    /// As the door does: a plan against the catalog that it knows, which is not tried again here.
    fn publish(&mut self, home: u32) {
        self.published += 1;
        let text = format!("event {}", self.published);
        let topology = self.all.topology();
        let delivery = Delivery {
            queue: WORK,
            payload: 0,
            delay_ms: None,
        };
        let publish = Publish {
            topic: TopicId(home),
            revision: topology.revision,
            deduplication: None,
            events: vec![Routed {
                payloads: 1,
                deliveries: vec![delivery],
                parked: vec![],
            }],
        };
        let to = topology.placement.queue(WORK);
        let command = if to == GroupId(home) {
            Command::Publish(publish)
        } else {
            let elsewhere = Elsewhere {
                queues: vec![(WORK, to)],
                subscriptions: vec![],
            };
            Command::PublishAcross(PublishAcross { publish, elsewhere })
        };
        let payloads = vec![text.clone().into()];
        let group = self.all.groups.get_mut(&GroupId(home)).unwrap();
        let applied = group.apply(self.all.at, &[Proposal { command, payloads }]);
        match &applied.outcomes[0] {
            Outcome::Accepted(events) if events[0].is_ok() => {
                self.accepted.insert(text);
            }
            Outcome::Refused(Refusal::StalePlan(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    fn look(&mut self, home: u32, to: u32) {
        let after = self.taken.get(&(home, to)).copied().unwrap_or(0);
        let group = &self.all.groups[&GroupId(home)];
        if let Some(cargo) = group.machine.cargo(GroupId(to), after).unwrap() {
            let texts = cargo.places.iter().map(|place| group.text(*place).into());
            let texts = texts.collect();
            self.cargoes.insert((home, to), (cargo, texts));
        }
    }

    fn deliver(&mut self, home: u32, to: u32) {
        let Some((cargo, payloads)) = self.cargoes.get(&(home, to)).cloned() else {
            return;
        };
        let command = Command::Deliver(cargo.deliver);
        let group = self.all.groups.get_mut(&GroupId(to)).unwrap();
        let proposal = Proposal { command, payloads };
        match group.apply(self.all.at, &[proposal]).outcomes[0] {
            Outcome::Carried(taken) => {
                self.taken.insert((home, to), taken);
            }
            Outcome::Refused(Refusal::StalePlan(_)) => {}
            ref other => panic!("{other:?}"),
        }
    }

    fn tell(&mut self, home: u32, to: u32) {
        if let Some(upto) = self.taken.get(&(home, to)).copied() {
            let to = GroupId(to);
            let group = self.all.groups.get_mut(&GroupId(home)).unwrap();
            let delivered = Command::Delivered(Delivered { to, upto });
            group.run(self.all.at, delivered);
        }
    }

    /// Where the catalog says that a queue is.
    fn group(&mut self, queue: QueueId) -> GroupId {
        self.all.topology().queues[&name(queue)].group
    }

    /// How many came.
    fn receive(&mut self, queue: QueueId, max: u32) -> usize {
        self.nonce += 1;
        let receive = Command::Receive(Receive {
            queue,
            max,
            visibility_ms: None,
            nonce: self.nonce,
        });
        let id = self.group(queue);
        let group = self.all.groups.get_mut(&id).unwrap();
        let Outcome::Received(leases) = group.run(self.all.at, receive) else {
            return 0;
        };
        for lease in &leases {
            let text = group.text(lease.payload);
            assert!(self.accepted.contains(&text), "{text} was never accepted");
            assert!(!self.acked.contains(&text), "{text} comes after its ack");
            self.receipts.push((lease.receipt, text));
        }
        leases.len()
    }

    fn settle(&mut self, is_ack: bool, at: usize) {
        let Some((receipt, text)) = self.receipts.iter().rev().nth(at).cloned() else {
            return;
        };
        let (queue, receipts) = (receipt.queue, vec![receipt]);
        let command = if is_ack {
            Command::Ack(Settle { queue, receipts })
        } else {
            Command::Nack(Nack {
                queue,
                receipts,
                delay_ms: 0,
            })
        };
        let id = self.group(queue);
        let group = self.all.groups.get_mut(&id).unwrap();
        if let Outcome::Settled(settled) = group.run(self.all.at, command)
            && is_ack
            && settled.done == 1
        {
            assert!(self.acked.insert(text), "acked once");
        }
    }

    /// Everything goes on to its end, and all that is left is consumed.
    fn end(&mut self) {
        self.all.lags = false;
        self.all.taken.clear();
        for _ in 0..60 {
            (1..=GROUPS).for_each(|group| self.all.adopt(group));
            for queue in [DEAD, WORK] {
                self.all.hand_over(queue, 100, false);
            }
            for home in 1..=GROUPS {
                for to in 1..=GROUPS {
                    self.look(home, to);
                    self.deliver(home, to);
                    self.tell(home, to);
                }
            }
            self.all.tick();
        }
        let topology = self.all.meta.machine.topology();
        assert!(topology.queues.values().all(|queue| queue.moving.is_none()));
        for group in self.all.groups.values() {
            let mut boxes = group.machine.outboxes();
            assert!(
                boxes.all(|(_, outbox)| outbox.rows() == 0),
                "all is carried"
            );
            let dropped: u64 = group.machine.dropped().map(|(_, count)| count).sum();
            assert_eq!(dropped, 0);
        }
        // Leases of before end.
        self.all.at = self.all.at.plus_ms(60_000);
        self.all.tick();
        for queue in [WORK, DEAD] {
            let mut got = 0;
            loop {
                let before = self.receipts.len();
                if self.receive(queue, 1_000) == 0 {
                    break;
                }
                got += self.receipts.len() - before;
                assert!(got <= self.accepted.len(), "no entry is doubled");
                for at in 0..self.receipts.len() - before {
                    self.settle(true, at);
                }
            }
        }
        assert_eq!(self.acked, self.accepted, "all of them, each acked once");
    }
}

proptest! {
    #[test]
    fn events_reach_a_queue_that_moves_once(steps in vec(command(), 1..200)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.end();
    }
}
