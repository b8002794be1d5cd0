//! Three groups that accept for each other, and carriers that stop anywhere, lose answers and go on with what they knew
//! before: every delivery arrives once, and in order.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_machine::Cargo;
use millrace_model::command::{
    Adopt, Change, Delivered, Delivery, Elsewhere, Publish, PublishAcross, Routed,
};
use millrace_model::query::{Peeked, States};
use millrace_model::{
    Answer, Command, GroupId, Name, Outcome, Proposal, Query, QueueConfig, QueueId, Revision,
    Timestamp, TopicId,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::Group;

const GROUPS: usize = 3;

#[derive(Clone, Debug)]
enum Do {
    /// Publishes in a group to some of the queues.
    Publish(usize, Vec<usize>),
    /// A carrier looks at what waits in one group for another.
    Look(usize, usize),
    /// It delivers what it looked at, which may be long ago.
    Deliver(usize, usize),
    /// It tells what came of it, or what it told before.
    Tell(usize, usize),
    Reopen(usize),
}

fn command() -> impl Strategy<Value = Do> {
    let group = || 0..GROUPS;
    prop_oneof![
        4 => (group(), vec(group(), 1..4)).prop_map(|(home, to)| Do::Publish(home, to)),
        4 => (group(), group()).prop_map(|(home, to)| Do::Look(home, to)),
        4 => (group(), group()).prop_map(|(home, to)| Do::Deliver(home, to)),
        3 => (group(), group()).prop_map(|(home, to)| Do::Tell(home, to)),
        1 => group().prop_map(Do::Reopen),
    ]
}

fn group_id(at: usize) -> GroupId {
    GroupId(at as u32 + 1)
}

/// Each group has the queue of its own number.
fn queue_id(at: usize) -> QueueId {
    QueueId(at as u32 + 1)
}

struct Run {
    groups: Vec<Group>,
    /// What each carrier looked at last, with its texts.
    cargoes: BTreeMap<(usize, usize), (Cargo, Vec<Bytes>)>,
    /// What each carrier was told last.
    taken: BTreeMap<(usize, usize), u64>,
    /// What each queue must get of each group, in order.
    expected: BTreeMap<(usize, usize), Vec<String>>,
    published: u64,
}

impl Run {
    fn new() -> Self {
        let mut groups: Vec<_> = (0..GROUPS).map(|at| Group::new(group_id(at))).collect();
        for (at, group) in groups.iter_mut().enumerate() {
            let queue = Change::Queue {
                id: queue_id(at),
                name: Name::new(&format!("queue{at}")).unwrap(),
                config: QueueConfig::default(),
                dead_letter: None,
            };
            let adopt = Adopt {
                revision: Revision(1),
                after: None,
                changes: vec![queue],
            };
            group.run(Timestamp(1), Command::Adopt(adopt));
        }
        Self {
            groups,
            cargoes: BTreeMap::new(),
            taken: BTreeMap::new(),
            expected: BTreeMap::new(),
            published: 0,
        }
    }

    fn step(&mut self, command: Do) {
        match command {
            Do::Publish(home, to) => self.publish(home, &to),
            Do::Look(home, to) => self.look(home, to),
            Do::Deliver(home, to) => self.deliver(home, to),
            Do::Tell(home, to) => self.tell(home, to),
            Do::Reopen(at) => self.groups[at].reopen(),
        }
    }

    fn publish(&mut self, home: usize, to: &[usize]) {
        self.published += 1;
        let text = format!("event {}", self.published);
        let delivery = |to: &usize| Delivery {
            queue: queue_id(*to),
            payload: 0,
            delay_ms: None,
        };
        let event = Routed {
            payloads: 1,
            deliveries: to.iter().map(delivery).collect(),
            parked: vec![],
        };
        let publish = Publish {
            topic: TopicId(1),
            revision: Revision(1),
            deduplication: None,
            events: vec![event],
        };
        let others = (0..GROUPS).filter(|at| *at != home);
        let elsewhere = Elsewhere {
            queues: others.map(|at| (queue_id(at), group_id(at))).collect(),
            subscriptions: vec![],
        };
        let command = Command::PublishAcross(PublishAcross { publish, elsewhere });
        let payloads = vec![text.clone().into()];
        let at = Timestamp(self.published);
        let applied = self.groups[home].apply(at, &[Proposal { command, payloads }]);
        assert!(matches!(&applied.outcomes[0], Outcome::Accepted(it) if it[0].is_ok()));
        for to in to {
            let expected = self.expected.entry((home, *to)).or_default();
            expected.push(text.clone());
        }
    }

    /// As a carrier does: behind what it knows to be taken in.
    fn look(&mut self, home: usize, to: usize) {
        let after = self.taken.get(&(home, to)).copied().unwrap_or(0);
        let group = &self.groups[home];
        if let Some(cargo) = group.machine.cargo(group_id(to), after).unwrap() {
            let texts = cargo.places.iter().map(|place| group.text(*place).into());
            let texts = texts.collect();
            self.cargoes.insert((home, to), (cargo, texts));
        }
    }

    fn deliver(&mut self, home: usize, to: usize) {
        let Some((cargo, payloads)) = self.cargoes.get(&(home, to)).cloned() else {
            return;
        };
        let last = cargo.last();
        let command = Command::Deliver(cargo.deliver);
        let proposal = Proposal { command, payloads };
        let at = Timestamp(self.published);
        match self.groups[to].apply(at, &[proposal]).outcomes[0] {
            Outcome::Carried(taken) => {
                assert!(taken >= last, "no carrier leaves a gap");
                self.taken.insert((home, to), taken);
            }
            ref other => panic!("{other:?}"),
        }
    }

    fn tell(&mut self, home: usize, to: usize) {
        if let Some(upto) = self.taken.get(&(home, to)) {
            let delivered = Delivered {
                to: group_id(to),
                upto: *upto,
            };
            self.groups[home].run(Timestamp(1), Command::Delivered(delivered));
        }
    }

    /// What is in a queue that came from each group is what that group accepted for it.
    fn check(&self, to: usize) {
        let query = Query::Peek {
            queue: queue_id(to),
            states: States {
                ready: true,
                delayed: true,
                leased: true,
            },
            after: None,
            limit: 1_000,
        };
        let group = &self.groups[to];
        let Answer::Peeked(entries) = group.machine.query(&query).unwrap() else {
            panic!("entries");
        };
        let text = |entry: &Peeked| group.text(entry.payload);
        let found: Vec<_> = entries.iter().map(text).collect();
        let mut expected = 0;
        for home in 0..GROUPS {
            let from_home = self.expected.get(&(home, to)).cloned().unwrap_or_default();
            let own: Vec<_> = found
                .iter()
                .filter(|text| from_home.contains(text))
                .collect();
            assert!(
                own.into_iter().eq(&from_home),
                "{found:?}, not {from_home:?}"
            );
            expected += from_home.len();
        }
        assert_eq!(found.len(), expected);
    }
}

proptest! {
    #[test]
    fn every_delivery_arrives_once_and_in_order(commands in vec(command(), 1..60)) {
        let mut run = Run::new();
        for command in commands {
            run.step(command);
        }
        for home in 0..GROUPS {
            for to in 0..GROUPS {
                for _ in 0..2 {
                    run.look(home, to);
                    run.deliver(home, to);
                }
                run.tell(home, to);
                prop_assert_eq!(run.groups[home].machine.outbox(group_id(to)).rows(), 0);
            }
        }
        for to in 0..GROUPS {
            run.check(to);
        }
    }
}
