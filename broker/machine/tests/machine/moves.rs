//! Queues that move at random moments, handed over by carriers that stop anywhere, told by catalogs that arrive in any
//! order: clients see what a model shows that knows nothing of moves.

use bytes::Bytes;
use millrace_machine::MemoryTables;
use millrace_model::command::{
    Adopt, CatalogCommand, Change, Deduplication, Expect, Extend, Nack, Receive, Send, Settle,
};
use millrace_model::query::{Peeked, States};
use millrace_model::{
    Answer, Command, DeduplicationKey, GroupId, Name, Outcome, PayloadRef, Proposal, Query,
    QueueConfig, QueueId, Receipt, Refusal, Revision,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::move_groups::Groups;
use crate::move_steps::{Do, GROUPS, QUEUES, command};
use crate::naive::Naive;

struct Run {
    all: Groups,
    naive: Naive,
    revision: u64,
    sent: u64,
    nonce: u64,
    receipts: Vec<Receipt>,
}

fn name(queue: u32) -> Name {
    Name::new(&format!("queue{queue}")).unwrap()
}

/// What both sides know of a stored event.
fn place(text: &str) -> PayloadRef {
    PayloadRef {
        index: text.parse().unwrap(),
        offset: 0,
        len: text.len() as u32,
    }
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            all: Groups::new(GROUPS),
            naive: Naive::default(),
            revision: 0,
            sent: 0,
            nonce: 0,
            receipts: vec![],
        };
        for queue in 1..=QUEUES {
            run.configure(queue, None);
        }
        (1..=GROUPS).for_each(|group| run.all.adopt(group));
        run.all.before = run.all.meta.machine.topology();
        run
    }

    fn step(&mut self, step: Do) {
        match step {
            Do::Wait(ms) => self.all.at = self.all.at.plus_ms(ms),
            Do::Send(queue, count, delay_ms, key) => self.send(queue, count, delay_ms, key),
            Do::Receive(queue, max, ms) => self.receive(queue, max, ms),
            Do::Ack(queue, which) => self.settle(queue, which, |queue, receipts| {
                Command::Ack(Settle { queue, receipts })
            }),
            Do::Nack(queue, which, delay_ms) => self.settle(queue, which, |queue, receipts| {
                Command::Nack(Nack {
                    queue,
                    receipts,
                    delay_ms,
                })
            }),
            Do::Extend(queue, which, visibility_ms) => {
                self.settle(queue, which, |queue, receipts| {
                    Command::Extend(Extend {
                        queue,
                        receipts,
                        visibility_ms,
                    })
                });
            }
            Do::Purge(queue) => {
                let command = Command::Purge(QueueId(queue));
                if let Some(outcome) = self.run(queue, Proposal::bare(command.clone())) {
                    assert_eq!(outcome, self.naive.run(self.all.at, &command, &[]));
                }
            }
            Do::Configure(queue, most) => self.configure(queue, most),
            Do::Move(queue, to) => self.begin(queue, to),
            Do::Adopt(group) => self.all.adopt(group),
            Do::HandOver(queue, most, again) => self.all.hand_over(QueueId(queue), most, again),
            Do::Forget(queue) => {
                self.all.taken.retain(|(id, _), _| *id != QueueId(queue));
            }
            Do::Reopen(group) => self.all.groups.get_mut(&GroupId(group)).unwrap().reopen(),
            Do::Lag(lags) => self.all.lags = lags,
        }
        self.tick();
    }

    /// Everything that is due, everywhere.
    fn tick(&mut self) {
        self.all.tick();
        self.naive.run(self.all.at, &Command::Tick, &[]);
    }

    fn configure(&mut self, queue: u32, max_entries: Option<u64>) {
        let config = QueueConfig {
            visibility_seconds: 5,
            retention_seconds: None,
            max_entries,
            ..QueueConfig::default()
        };
        self.all.change(CatalogCommand::PutQueue {
            name: name(queue),
            config: config.clone(),
            group: GroupId(queue),
            among: vec![],
            expect: Expect::Any,
        });
        self.revision += 1;
        let change = Change::Queue {
            id: QueueId(queue),
            name: name(queue),
            config,
            dead_letter: None,
        };
        let adopt = Adopt {
            revision: Revision(self.revision),
            after: None,
            changes: vec![change],
        };
        self.naive.run(self.all.at, &Command::Adopt(adopt), &[]);
        // Others would have a limit that the model does not.
        (1..=GROUPS).for_each(|group| self.all.adopt(group));
    }

    fn begin(&mut self, queue: u32, to: u32) {
        let before = self.all.meta.machine.topology().queues[&name(queue)].clone();
        let to = GroupId(to);
        let name = name(queue);
        let moved = self.all.change(CatalogCommand::MoveQueue { name, to });
        let stays = before.moving.is_some_and(|it| !it.leaves && it.from == to);
        if before.target() == to || stays {
            assert!(matches!(moved, Outcome::Queue { .. }), "{moved:?}");
        } else if before.moving.is_some() {
            let refused = matches!(moved, Outcome::Refused(Refusal::MoveInProgress(_)));
            assert!(refused, "{moved:?}");
        }
    }

    /// Runs a command where the catalog says that the queue is; `None` when it is not served there.
    fn run(&mut self, queue: u32, proposal: Proposal) -> Option<Outcome> {
        let group = self.all.topology().queues[&name(queue)].group;
        let group = self.all.groups.get_mut(&group).unwrap();
        let outcome = group.apply(self.all.at, &[proposal]).outcomes.remove(0);
        let is_elsewhere = matches!(
            outcome,
            Outcome::Refused(Refusal::QueueMoving(_) | Refusal::QueueNotFound(_))
        );
        (!is_elsewhere).then_some(outcome)
    }

    fn send(&mut self, queue: u32, count: u64, delay_ms: Option<u64>, key: Option<u8>) {
        let texts: Vec<_> = (1..=count).map(|it| (self.sent + it).to_string()).collect();
        self.sent += count;
        let key = key.map(|key| DeduplicationKey {
            key: [key; 16],
            request: u64::from(key),
        });
        let send = Send {
            queue: QueueId(queue),
            deduplication: key.map(|key| Deduplication {
                key,
                window_ms: 3_000,
            }),
            delay_ms,
        };
        let command = Command::Send(send);
        let outcome = match key.and_then(|key| self.remembered(queue, key)) {
            Some(Answer::Remembered(Some(results))) => Outcome::Accepted(results),
            Some(Answer::Refused(_)) => return,
            _ => {
                let payloads = texts.iter().cloned().map(Bytes::from).collect();
                let command = command.clone();
                let Some(outcome) = self.run(queue, Proposal { command, payloads }) else {
                    return;
                };
                outcome
            }
        };
        let places: Vec<_> = texts.iter().map(|text| place(text)).collect();
        assert_eq!(outcome, self.naive.run(self.all.at, &command, &places));
    }

    /// What the group that the queue leaves remembers, if the queue moves.
    fn remembered(&self, queue: u32, key: DeduplicationKey) -> Option<Answer> {
        let topology = self.all.topology();
        let moving = topology.queues[&name(queue)].moving?;
        let moving = Some(moving).filter(|moving| moving.leaves)?;
        let query = Query::Remembered {
            queue: QueueId(queue),
            key,
        };
        Some(self.all.groups[&moving.from].machine.query(&query).unwrap())
    }

    fn receive(&mut self, queue: u32, max: u32, visibility_ms: u64) {
        self.nonce += 1;
        let receive = |max| Receive {
            queue: QueueId(queue),
            max,
            visibility_ms: Some(visibility_ms),
            nonce: self.nonce,
        };
        let (asked, nonce) = (receive(max), self.nonce);
        let Some(outcome) = self.run(queue, Proposal::bare(Command::Receive(asked))) else {
            return;
        };
        let Outcome::Received(leases) = outcome else {
            panic!("{outcome:?}");
        };
        // Of a queue that is not whole yet it may be fewer, but in the same order.
        let most = if self.is_whole(queue) {
            max
        } else {
            leases.len() as u32
        };
        let asked = Receive {
            max: most,
            nonce,
            ..asked
        };
        let expected = self.naive.run(self.all.at, &Command::Receive(asked), &[]);
        let group = &self.all.groups[&self.all.topology().queues[&name(queue)].group];
        self.receipts
            .extend(leases.iter().map(|lease| lease.receipt));
        let known = leases.into_iter().map(|mut lease| {
            lease.payload = place(&group.text(lease.payload));
            lease
        });
        assert_eq!(Outcome::Received(known.collect()), expected);
    }

    /// Whether a queue does not move, or all of its entries have come.
    fn is_whole(&self, queue: u32) -> bool {
        let group = &self.all.groups[&self.all.topology().queues[&name(queue)].group];
        let left = group.machine.query(&Query::Moving(QueueId(queue))).unwrap();
        left == Answer::Moving(0)
    }

    /// Settles one receipt, unless its entry is on the way.
    fn settle(
        &mut self,
        queue: u32,
        which: usize,
        command: impl Fn(QueueId, Vec<Receipt>) -> Command,
    ) {
        let own = self.receipts.iter().rev();
        let mut own = own.filter(|receipt| receipt.queue == QueueId(queue));
        let Some(receipt) = own.nth(which) else {
            return;
        };
        let command = command(QueueId(queue), vec![*receipt]);
        let Some(outcome) = self.run(queue, Proposal::bare(command.clone())) else {
            return;
        };
        if let Outcome::Settled(settled) = &outcome
            && matches!(&settled.failed[..], [(_, Refusal::QueueMoving(_))])
        {
            return;
        }
        assert_eq!(outcome, self.naive.run(self.all.at, &command, &[]));
    }

    /// No two groups serve a queue, and one that does counts as the model does.
    fn compare(&self) {
        for queue in (1..=QUEUES).map(QueueId) {
            let serving = self.all.groups.values();
            let serving = serving.filter(|it| it.machine.ready(queue).is_some());
            let serving: Vec<_> = serving.collect();
            assert!(serving.len() <= 1, "queue {queue} is in two groups");
            for group in serving {
                let answer = group.machine.query(&Query::Counters(queue)).unwrap();
                let Answer::Counters(counters) = answer else {
                    panic!("{answer:?}");
                };
                let expected = self.naive.counters(queue);
                let entries = |it: &millrace_model::queue::QueueCounters| {
                    (it.ready + it.leased + it.delayed, it.bytes)
                };
                assert_eq!(entries(&counters), entries(&expected));
            }
        }
    }

    /// Everything goes on to its end: then nothing moves, and all is as in the model.
    fn settle_moves(&mut self) {
        self.all.lags = false;
        for _ in 0..200 {
            (1..=GROUPS).for_each(|group| self.all.adopt(group));
            (1..=QUEUES).for_each(|queue| self.all.hand_over(QueueId(queue), 100, false));
            self.tick();
        }
        let topology = self.all.meta.machine.topology();
        for queue in 1..=QUEUES {
            let placed = &topology.queues[&name(queue)];
            assert_eq!(placed.moving, None, "the move ends");
            let group = &self.all.groups[&placed.group];
            let counters = group.machine.query(&Query::Counters(placed.id)).unwrap();
            assert_eq!(counters, Answer::Counters(self.naive.counters(placed.id)));
            let query = Query::Peek {
                queue: placed.id,
                states: States {
                    ready: true,
                    delayed: true,
                    leased: true,
                },
                after: None,
                limit: 1_000,
            };
            let Answer::Peeked(entries) = group.machine.query(&query).unwrap() else {
                panic!("entries");
            };
            let known = |entry: Peeked| Peeked {
                payload: place(&group.text(entry.payload)),
                ..entry
            };
            let entries: Vec<_> = entries.into_iter().map(known).collect();
            assert_eq!(entries, self.naive.peek()[&placed.id]);
        }
        // What was swept is gone from the groups that were left.
        for group in self.all.groups.values() {
            let tables: &MemoryTables = group.machine.tables();
            let queues = tables.rows().keys().filter(|key| key[0] == b'q').count();
            let here = topology.queues.values().filter(|it| it.group == group.id);
            assert_eq!(queues, here.count());
        }
    }
}

proptest! {
    #[test]
    fn a_queue_that_moves_is_the_same_queue(steps in vec(command(), 1..150)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
            run.compare();
        }
        run.settle_moves();
    }
}
