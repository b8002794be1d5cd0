//! The topic and the queues of a run. They are spread over the data groups, so that whatever leads from one to another
//! crosses groups when there are several.

use millrace_model::queue::DeadLetter;
use millrace_model::{GroupId, QueueConfig};

use crate::client::name;

/// Its subscriptions lead to [`ONE`] and [`TWO`].
pub(crate) const TOPIC: &str = "topic";

/// The subscription that leads to [`TWO`]; some events are parked at it first.
pub(crate) const SUBSCRIPTION: &str = "second";

pub(crate) const ONE: &str = "one";
pub(crate) const TWO: &str = "two";

/// Takes sends, so many entries at most, and is configured anew again and again.
pub(crate) const THREE: &str = "three";
const THREE_ENTRIES_MAX: u64 = 150;

/// Takes sends. What is received [`RECEIVES_MAX`] times without an ack goes to [`DEAD`].
pub(crate) const FOUR: &str = "four";
pub(crate) const RECEIVES_MAX: u32 = 3;

/// Dead letters, until they are consumed, or redriven to [`AGAIN`].
pub(crate) const DEAD: &str = "dead";
pub(crate) const AGAIN: &str = "again";

/// All queues, in the order in which they can be made.
pub(crate) const QUEUES: [&str; 6] = [ONE, TWO, THREE, DEAD, FOUR, AGAIN];

/// What queues give up, and to which.
pub(crate) const MOVES: [(&str, &str); 2] = [(FOUR, DEAD), (DEAD, AGAIN)];

/// The data group of a queue, of `groups`.
pub(crate) fn group(queue: &str, groups: u32) -> GroupId {
    let place = match queue {
        ONE | AGAIN => 0,
        TWO => 1,
        FOUR | DEAD => 2,
        _ => 3,
    };
    GroupId(GroupId::DATA.0 + place % groups)
}

/// The configuration of a queue, whose leases last so many seconds.
pub(crate) fn config(queue: &str, visibility_seconds: u32) -> QueueConfig {
    QueueConfig {
        visibility_seconds,
        max_entries: (queue == THREE).then_some(THREE_ENTRIES_MAX),
        dead_letter: (queue == FOUR).then(|| DeadLetter {
            queue: name(DEAD),
            max_receives: RECEIVES_MAX,
        }),
        ..QueueConfig::default()
    }
}
