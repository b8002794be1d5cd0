//! Bounds of what waits for other groups and is carried to them.

use bytes::Bytes;
use millrace_model::command::{Delivered, Delivery, Elsewhere, Publish, PublishAcross, Routed};
use millrace_model::{
    Command, GroupId, Outcome, Proposal, QueueId, Refusal, Revision, Timestamp, TopicId, limit,
};

use crate::world::Group;

const FAR: GroupId = GroupId(2);

/// An event of `bytes` with so many deliveries into the other group.
fn publish(group: &mut Group, bytes: usize, deliveries: usize) -> Outcome {
    let delivery = Delivery {
        queue: QueueId(1),
        payload: 0,
        delay_ms: None,
    };
    let event = Routed {
        payloads: 1,
        deliveries: vec![delivery; deliveries],
        parked: vec![],
    };
    let publish = Publish {
        topic: TopicId(1),
        revision: Revision(0),
        deduplication: None,
        events: vec![event],
    };
    let elsewhere = Elsewhere {
        queues: vec![(QueueId(1), FAR)],
        subscriptions: vec![],
    };
    let proposal = Proposal {
        command: Command::PublishAcross(PublishAcross { publish, elsewhere }),
        payloads: vec![Bytes::from(vec![b'x'; bytes])],
    };
    let mut applied = group.apply_unchecked(Timestamp(1), &[proposal]);
    applied.outcomes.remove(0)
}

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted(events) if events[0].is_ok())
}

#[test]
fn a_full_outbox_refuses_until_something_was_taken_in() {
    let mut group = Group::new(GroupId::DATA);
    let deliveries = usize::try_from(limit::OUTBOX_BYTES_MAX >> 20).unwrap();
    let first = publish(&mut group, 1 << 20, deliveries - 1);
    assert!(is_accepted(&first), "an event is taken in whole");
    assert!(is_accepted(&publish(&mut group, 1 << 20, 2)));
    let full = Outcome::Accepted(vec![Err(Refusal::OutboxFull(FAR))]);
    assert_eq!(publish(&mut group, 1, 1), full);
    assert_eq!(Refusal::OutboxFull(FAR).code(), "overloaded");
    group.check();
    let upto = group.machine.cargo(FAR, 0).unwrap().unwrap().last();
    let delivered = Command::Delivered(Delivered { to: FAR, upto });
    assert_eq!(group.run(Timestamp(2), delivered), Outcome::Carried(upto));
    assert!(is_accepted(&publish(&mut group, 1, 1)));
    group.check();
}

#[test]
fn what_is_carried_at_once_is_bounded_by_count_and_bytes() {
    let mut group = Group::new(GroupId::DATA);
    publish(&mut group, 10, limit::CARRY_ROWS_MAX + 1);
    let cargo = group.machine.cargo(FAR, 0).unwrap().unwrap();
    assert_eq!(cargo.deliver.items.len(), limit::CARRY_ROWS_MAX);
    assert_eq!(cargo.places.len(), 1, "a fan-out carries its event once");
    let rest = group.machine.cargo(FAR, cargo.last()).unwrap().unwrap();
    assert_eq!(rest.deliver.first, cargo.last() + 1);
    assert_eq!(rest.deliver.items.len(), 1);
    // One event larger than the limit travels alone; smaller ones share the rest.
    publish(&mut group, limit::CARRY_BYTES_MAX + 1, 1);
    publish(&mut group, limit::CARRY_BYTES_MAX / 2, 1);
    publish(&mut group, limit::CARRY_BYTES_MAX / 2, 1);
    publish(&mut group, 1, 1);
    let mut after = rest.last();
    for expected in [1, 2, 1] {
        let cargo = group.machine.cargo(FAR, after).unwrap().unwrap();
        assert_eq!(cargo.deliver.items.len(), expected);
        after = cargo.last();
    }
    assert_eq!(group.machine.cargo(FAR, after).unwrap(), None);
}
