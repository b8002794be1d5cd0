//! Random steps of a run.

use proptest::collection::vec;
use proptest::prelude::*;

/// Queues of the group, by slots.
pub(crate) const QUEUES: u32 = 4;

/// One step of a run.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Time passes.
    Wait(u64),
    /// Commands are applied, as one batch.
    Batch(Vec<Do>),
    /// The machine is opened again from its rows.
    Reopen,
}

/// A command before it is known which receipts there are.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    Configure(u32, Config),
    Delete(u32),
    Publish(u32, Vec<Event>, Option<(u8, u64)>, bool),
    Send(u32, usize, Option<u64>, Option<(u8, u64)>),
    Receive(u32, u32, Option<u64>),
    Ack(u32, Vec<usize>),
    Nack(u32, Vec<usize>, u64),
    Extend(u32, Vec<usize>, u64),
    Purge(u32),
    Redrive(u32, Option<u32>, u32),
    Unpark(u32, Vec<(u64, Event)>),
    Tick,
    Forget(u32),
    /// From a group, so far from what was taken in last, with items, against a revision that is too new.
    Deliver(u32, u64, Vec<Arriving>, bool),
    Delivered(u32, u64),
}

/// Deliveries with their delays and own forms, and parks.
pub(crate) type Event = (Vec<(u32, Option<u64>, bool)>, Vec<u32>);

/// Something from another group: a queue or a subscription, its delay, how long it was under way.
pub(crate) type Arriving = (bool, u32, Option<u64>, u64);

/// What varies of a configuration.
pub(crate) type Config = (u64, Option<u64>, Option<u64>, Option<(u32, u32)>);

fn queue() -> impl Strategy<Value = u32> {
    1..=QUEUES
}

/// A queue of this group, or of another one.
fn any_queue() -> impl Strategy<Value = u32> {
    prop_oneof![4 => queue(), 1 => QUEUES + 1..=QUEUES + 2]
}

fn delay() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(0)), 2 => (1..5_000_u64).prop_map(Some)]
}

fn key() -> impl Strategy<Value = Option<(u8, u64)>> {
    prop_oneof![3 => Just(None), 1 => (0..3_u8, 0..2_u64).prop_map(Some)]
}

fn event() -> impl Strategy<Value = Event> {
    let delivery = (any_queue(), delay(), any::<bool>());
    let parks = prop_oneof![4 => Just(vec![]), 1 => vec(1..4_u32, 1..3)];
    (vec(delivery, 0..4), parks)
}

fn config() -> impl Strategy<Value = Config> {
    let delay = prop_oneof![3 => Just(0), 1 => 1..4_u64];
    let retention = prop_oneof![1 => Just(None), 1 => (60..100_u64).prop_map(Some)];
    let most = prop_oneof![3 => Just(None), 1 => (1..12_u64).prop_map(Some)];
    let dead = prop_oneof![1 => Just(None), 2 => (queue(), 1..4_u32).prop_map(Some)];
    (delay, retention, most, dead)
}

fn receipts() -> impl Strategy<Value = Vec<usize>> {
    vec(0..1_000_usize, 1..6)
}

fn command() -> impl Strategy<Value = Do> {
    let delays = || prop_oneof![1 => Just(0), 1 => 1..5_000_u64];
    let lease =
        prop_oneof![2 => Just(None), 1 => Just(Some(0)), 2 => (1..8_000_u64).prop_map(Some)];
    let publish = (
        1..3_u32,
        vec(event(), 1..4),
        key(),
        prop::bool::weighted(0.1),
    );
    prop_oneof![
        1 => (queue(), config()).prop_map(|(queue, config)| Do::Configure(queue, config)),
        1 => queue().prop_map(Do::Delete),
        6 => publish.prop_map(|(topic, events, key, old)| Do::Publish(topic, events, key, old)),
        6 => (queue(), 1..5_usize, delay(), key())
            .prop_map(|(queue, count, delay, key)| Do::Send(queue, count, delay, key)),
        12 => (queue(), 0..6_u32, lease)
            .prop_map(|(queue, max, lease)| Do::Receive(queue, max, lease)),
        8 => (queue(), receipts()).prop_map(|(queue, receipts)| Do::Ack(queue, receipts)),
        6 => (queue(), receipts(), delays())
            .prop_map(|(queue, receipts, delay)| Do::Nack(queue, receipts, delay)),
        3 => (queue(), receipts(), delays())
            .prop_map(|(queue, receipts, delay)| Do::Extend(queue, receipts, delay)),
        1 => queue().prop_map(Do::Purge),
        3 => (queue(), prop::option::weighted(0.3, any_queue()), 0..6_u32)
            .prop_map(|(queue, to, max)| Do::Redrive(queue, to, max)),
        2 => (1..3_u32, vec((1..6_u64, event()), 1..3))
            .prop_map(|(subscription, events)| Do::Unpark(subscription, events)),
        8 => Just(Do::Tick),
        4 => (2..4_u32, 0..4_u64, vec(arriving(), 1..5), prop::bool::weighted(0.1))
            .prop_map(|(from, at, items, is_new)| Do::Deliver(from, at, items, is_new)),
        4 => (2..4_u32, 0..5_u64).prop_map(|(to, count)| Do::Delivered(to, count)),
        1 => (1..3_u32).prop_map(Do::Forget),
    ]
}

fn arriving() -> impl Strategy<Value = Arriving> {
    let late = prop_oneof![2 => Just(0), 2 => 0..3_000_u64, 1 => 0..70_000_u64];
    (prop::bool::weighted(0.8), 1..=QUEUES + 1, delay(), late)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![3 => 0..3_000_u64, 1 => 0..70_000_u64].prop_map(Step::Wait),
        8 => vec(command(), 1..4).prop_map(Step::Batch),
        1 => Just(Step::Reopen),
    ]
}
