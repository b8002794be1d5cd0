//! Large numbers: backlogs past the window, bounded ticks, and the limits that only many entries reach.

use bytes::Bytes;
use millrace_model::command::{
    Adopt, CatalogCommand, Change, Expect, Park, Publish, Receive, Redrive, Routed, Send, Settle,
};
use millrace_model::outcome::Lease;
use millrace_model::query::States;
use millrace_model::{
    Answer, Command, GroupId, Name, Outcome, Proposal, Query, QueueConfig, QueueId, Receipt,
    Refusal, Revision, SubscriptionId, Timestamp, TopicConfig, TopicId, limit,
};

use crate::world::Group;

const QUEUE: QueueId = QueueId(1);

/// A group with queues 1 and 2.
fn group(config: &QueueConfig) -> Group {
    let mut group = Group::new(GroupId::DATA);
    let change = |id| Change::Queue {
        id: QueueId(id),
        name: Name::new(&format!("queue{id}")).unwrap(),
        config: config.clone(),
        dead_letter: None,
    };
    let adopt = Adopt {
        revision: Revision(1),
        after: None,
        changes: vec![change(1), change(2)],
    };
    group.run(Timestamp(1_000), Command::Adopt(adopt));
    group
}

/// Sends `count` messages of `bytes` bytes.
fn send(group: &mut Group, at: u64, count: usize, delay_ms: Option<u64>, bytes: usize) {
    let send = Send {
        queue: QUEUE,
        deduplication: None,
        delay_ms,
    };
    let proposal = Proposal {
        command: Command::Send(send),
        payloads: vec![Bytes::from(vec![b'x'; bytes]); count],
    };
    group.apply_unchecked(Timestamp(at), &[proposal]);
}

fn receive(group: &mut Group, at: u64, max: u32) -> Vec<Lease> {
    let receive = Receive {
        queue: QUEUE,
        max,
        visibility_ms: None,
        nonce: at,
    };
    let proposal = Proposal::bare(Command::Receive(receive));
    let mut applied = group.apply_unchecked(Timestamp(at), &[proposal]);
    match applied.outcomes.remove(0) {
        Outcome::Received(leases) => leases,
        other => panic!("{other:?}"),
    }
}

fn ack(group: &mut Group, at: u64, receipts: Vec<Receipt>) {
    let count = receipts.len() as u32;
    let ack = Settle {
        queue: QUEUE,
        receipts,
    };
    let proposal = Proposal::bare(Command::Ack(ack));
    let mut applied = group.apply_unchecked(Timestamp(at), &[proposal]);
    match applied.outcomes.remove(0) {
        Outcome::Settled(settled) => assert_eq!(settled.done, count),
        other => panic!("{other:?}"),
    }
}

/// Ticks until nothing is due; gives how many ticks that took.
fn tick(group: &mut Group, at: u64) -> usize {
    for count in 0.. {
        if group
            .machine
            .next_due()
            .is_none_or(|due| due > Timestamp(at))
        {
            return count;
        }
        let proposal = Proposal::bare(Command::Tick);
        let mut applied = group.apply_unchecked(Timestamp(at), &[proposal]);
        match applied.outcomes.remove(0) {
            Outcome::Ticked { work } => assert!(work <= limit::TICK_WORK_MAX as u64),
            other => panic!("{other:?}"),
        }
    }
    unreachable!()
}

fn sequences(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.receipt.sequence).collect()
}

#[test]
fn a_backlog_is_received_in_order_whoever_opened_the_machine_when() {
    let mut group = group(&QueueConfig::default());
    // Past the window, with delayed ones in between that are ready before their turn, and after it.
    for round in 0..14 {
        send(&mut group, 1_000, 700, None, 1);
        send(&mut group, 1_000, 50, Some(1_000 + 3_000 * (round % 2)), 1);
    }
    let mut received = vec![];
    for round in 0_u64..7 {
        let leases = receive(&mut group, 1_500, 500);
        received.extend(sequences(&leases));
        ack(
            &mut group,
            1_500,
            leases.iter().map(|lease| lease.receipt).collect(),
        );
        if round % 3 == 1 {
            group.reopen();
        }
    }
    assert!(received.is_sorted());
    let ready = |sequence: &u64| (sequence - 1) % 750 < 700;
    assert_eq!(
        received,
        (1..).filter(ready).take(3_500).collect::<Vec<_>>()
    );
    group.check();
    tick(&mut group, 2_000);
    let mut rest = vec![];
    for _ in 0..20 {
        let leases = receive(&mut group, 2_100, 500);
        rest.extend(sequences(&leases));
    }
    let soon =
        |sequence: &u64| (sequence - 1) % 750 >= 700 && ((sequence - 1) / 750).is_multiple_of(2);
    let expected = (1..=14 * 750)
        .filter(|sequence| soon(sequence) || (ready(sequence) && !received.contains(sequence)));
    assert_eq!(rest, expected.collect::<Vec<_>>());
    group.check();
    group.reopen();
}

#[test]
fn a_window_that_never_held_everything_loses_nothing() {
    let mut group = group(&QueueConfig::default());
    let (mut sent, mut received) = (0, vec![]);
    for round in 0..40 {
        let count = if round < 20 { 900 } else { 100 };
        send(&mut group, 1_000 + round, count, None, 1);
        sent += count as u64;
        received.extend(sequences(&receive(&mut group, 1_000 + round, 300)));
    }
    while received.len() < sent as usize {
        received.extend(sequences(&receive(&mut group, 1_050, 1_000)));
    }
    assert_eq!(received, (1..=sent).collect::<Vec<_>>());
    group.check();
}

#[test]
fn a_tick_is_bounded_and_more_is_due_until_all_is_done() {
    let mut group = group(&QueueConfig {
        retention_seconds: Some(60),
        ..QueueConfig::default()
    });
    for _ in 0..3 {
        send(&mut group, 1_000, 1_000, None, 1);
        send(&mut group, 1_000, 1_000, Some(100), 1);
        receive(&mut group, 1_000, 1_000);
    }
    assert!(tick(&mut group, 1_100) >= 3, "delays end in steps");
    group.check();
    assert!(tick(&mut group, 31_000) >= 3, "leases end in steps");
    group.check();
    assert_eq!(group.machine.ready(QUEUE), Some(6_000));
    group.run(Timestamp(31_000), Command::Purge(QUEUE));
    assert!(tick(&mut group, 31_000) >= 6, "a purge is swept in steps");
    group.check();
    assert_eq!(group.machine.tables().references().len(), 0);
    send(&mut group, 32_000, 3_000, None, 1);
    assert!(tick(&mut group, 92_000) >= 3, "retention drops in steps");
    group.check();
    assert_eq!(group.machine.ready(QUEUE), Some(0));
    assert_eq!(group.machine.next_due(), None);
}

#[test]
fn one_answer_holds_a_bounded_number_of_bytes_but_always_the_first_message() {
    let mut group = group(&QueueConfig::default());
    send(&mut group, 1_000, 3, None, 3 * 1024 * 1024);
    send(
        &mut group,
        1_000,
        1,
        None,
        limit::RECEIVE_BYTES_MAX as usize + 1,
    );
    send(&mut group, 1_000, 1, None, 1);
    let counts: Vec<_> = (0..4)
        .map(|_| receive(&mut group, 1_000, 10).len())
        .collect();
    assert_eq!(counts, [2, 1, 1, 1]);
    group.check();
}

#[test]
fn a_queue_leases_a_bounded_number_of_entries() {
    let mut group = group(&QueueConfig::default());
    for _ in 0..=limit::QUEUE_LEASED_MAX / 1_000 {
        send(&mut group, 1_000, 1_000, None, 1);
    }
    let mut leases = vec![];
    for _ in 0..limit::QUEUE_LEASED_MAX / 1_000 {
        leases = receive(&mut group, 1_000, 1_000);
        assert_eq!(leases.len(), 1_000);
    }
    assert_eq!(receive(&mut group, 1_000, 1_000), []);
    assert_eq!(group.machine.ready(QUEUE), Some(1_000));
    ack(&mut group, 1_000, vec![leases[5].receipt]);
    assert_eq!(receive(&mut group, 1_000, 1_000).len(), 1);
    group.reopen();
    assert_eq!(receive(&mut group, 1_000, 1_000), []);
}

#[test]
fn a_parked_list_holds_a_bounded_number_of_events() {
    let mut group = group(&QueueConfig::default());
    let park = |subscription| Park {
        subscription: SubscriptionId(subscription),
        payload: 0,
        code: String::new(),
        detail: String::new(),
        plugin: None,
    };
    let publish = |count: usize, parked: &[Park]| {
        let event = Routed {
            payloads: 1,
            deliveries: vec![],
            parked: parked.to_vec(),
        };
        let publish = Publish {
            topic: TopicId(1),
            revision: Revision(1),
            deduplication: None,
            events: vec![event; count],
        };
        Proposal {
            command: Command::Publish(publish),
            payloads: vec![Bytes::new(); count],
        }
    };
    for _ in 0..limit::PARKED_EVENTS_MAX / 1_000 {
        group.apply_unchecked(Timestamp(1_000), &[publish(1_000, &[park(1)])]);
    }
    let both = publish(1, &[park(2), park(1)]);
    let applied = group.apply_unchecked(Timestamp(1_000), &[both, publish(1, &[park(2)])]);
    let refused = Outcome::Accepted(vec![Err(Refusal::ParkedFull)]);
    assert_eq!(applied.outcomes[0], refused);
    assert!(matches!(&applied.outcomes[1], Outcome::Accepted(events) if events[0].is_ok()));
}

#[test]
fn a_redrive_looks_at_a_bounded_number_of_entries() {
    let mut group = group(&QueueConfig::default());
    for _ in 0..limit::REDRIVE_EXAMINED_MAX / 1_000 + 3 {
        send(&mut group, 1_000, 1_000, None, 1);
    }
    let redrive = |to| {
        Command::Redrive(Redrive {
            queue: QUEUE,
            to,
            max: u32::MAX,
        })
    };
    let at = Timestamp(1_000);
    assert_eq!(group.run(at, redrive(None)), Outcome::Redriven(0));
    let moved = u64::from(limit::REDRIVE_MESSAGES_MAX);
    assert_eq!(
        group.run(at, redrive(Some(QueueId(2)))),
        Outcome::Redriven(moved)
    );
    group.reopen();
    assert_eq!(receive(&mut group, 1_000, 1)[0].receipt.sequence, moved + 1);
}

#[test]
fn ready_entries_behind_many_delayed_ones_are_found() {
    let mut group = group(&QueueConfig::default());
    for _ in 0..6 {
        send(&mut group, 1_000, 1_000, Some(9_000), 1);
    }
    send(&mut group, 1_000, 2, None, 1);
    group.reopen();
    let peek = Query::Peek {
        queue: QUEUE,
        states: States {
            ready: true,
            delayed: false,
            leased: false,
        },
        after: None,
        limit: 1,
    };
    match group.machine.query(&peek).unwrap() {
        Answer::Peeked(entries) => assert_eq!(entries[0].sequence, 6_001),
        other => panic!("{other:?}"),
    }
    assert_eq!(sequences(&receive(&mut group, 1_000, 10)), [6_001, 6_002]);
    group.reopen();
    tick(&mut group, 10_000);
    assert_eq!(receive(&mut group, 10_000, 1)[0].receipt.sequence, 1);
    group.check();
}

#[test]
fn the_catalog_holds_a_bounded_number_of_things() {
    let mut group = Group::new(GroupId::META);
    let put = |count: usize| {
        Proposal::bare(Command::Catalog(CatalogCommand::PutTopic {
            among: vec![],
            name: Name::new(&format!("topic{count}")).unwrap(),
            config: TopicConfig::default(),
            expect: Expect::Any,
        }))
    };
    for from in (0..limit::CATALOG_ITEMS_MAX).step_by(1_000) {
        let batch: Vec<_> = (from..from + 1_000).map(put).collect();
        group.apply_unchecked(Timestamp(1_000), &batch);
    }
    let refusal = Refusal::LimitReached("topics".to_owned(), limit::CATALOG_ITEMS_MAX as u64);
    let outcome = group.run(Timestamp(1_000), put(limit::CATALOG_ITEMS_MAX).command);
    assert_eq!(outcome, Outcome::Refused(refusal));
    let again = group.run(Timestamp(1_000), put(7).command);
    assert!(matches!(again, Outcome::Topic { created: false, .. }));
}
