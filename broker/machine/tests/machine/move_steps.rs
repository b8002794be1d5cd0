//! Random steps of queues that move.

use proptest::prelude::*;

/// Data groups.
pub(crate) const GROUPS: u32 = 3;

/// Queues.
pub(crate) const QUEUES: u32 = 2;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Do {
    Wait(u64),
    Send(u32, u64, Option<u64>, Option<u8>),
    Receive(u32, u32, u64),
    Ack(u32, usize),
    Nack(u32, usize, u64),
    Extend(u32, usize, u64),
    Purge(u32),
    Configure(u32, Option<u64>),
    /// A queue is to move to a group.
    Move(u32, u32),
    /// A group hears of the catalog.
    Adopt(u32),
    /// Somebody hands over the next part of a queue, at most so many entries; or the part of before once more.
    HandOver(u32, usize, bool),
    /// Who hands over a queue forgets how far it is.
    Forget(u32),
    Reopen(u32),
    /// Requests go by a catalog of before, from here on; or by the present one.
    Lag(bool),
}

pub(crate) fn command() -> impl Strategy<Value = Do> {
    let queue = || 1..=QUEUES;
    let group = || 1..=GROUPS;
    let delay =
        || prop_oneof![3 => Just(None), 1 => Just(Some(0)), 2 => (1..4_000_u64).prop_map(Some)];
    let lease = || prop_oneof![1 => Just(0_u64), 4 => 1..6_000_u64];
    let some = || 0..40_usize;
    prop_oneof![
        3 => (0..2_500_u64).prop_map(Do::Wait),
        10 => (queue(), 1..4_u64, delay(), prop::option::weighted(0.3, 0..4_u8))
            .prop_map(|(queue, count, delay, key)| Do::Send(queue, count, delay, key)),
        10 => (queue(), 1..4_u32, lease()).prop_map(|(queue, max, ms)| Do::Receive(queue, max, ms)),
        8 => (queue(), some()).prop_map(|(queue, which)| Do::Ack(queue, which)),
        4 => (queue(), some(), lease()).prop_map(|(queue, which, ms)| Do::Nack(queue, which, ms)),
        3 => (queue(), some(), lease()).prop_map(|(queue, which, ms)| Do::Extend(queue, which, ms)),
        1 => queue().prop_map(Do::Purge),
        1 => (queue(), prop::option::of(1..9_u64))
            .prop_map(|(queue, most)| Do::Configure(queue, most)),
        4 => (queue(), group()).prop_map(|(queue, to)| Do::Move(queue, to)),
        12 => group().prop_map(Do::Adopt),
        16 => (queue(), 1..4_usize, prop::bool::weighted(0.2))
            .prop_map(|(queue, most, again)| Do::HandOver(queue, most, again)),
        2 => queue().prop_map(Do::Forget),
        1 => group().prop_map(Do::Reopen),
        1 => any::<bool>().prop_map(Do::Lag),
    ]
}
