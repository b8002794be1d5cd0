//! The keys of all rows. The first byte says what the row is; numbers follow big-endian, so that rows are in
//! the order of their numbers.
//!
//! ```text
//! a                                   the state of the group           T topic                      a topic (JSON)
//! c queue                             a queue's configuration (JSON)   S topic subscription         a subscription (JSON)
//! q queue                             a queue's cursors and counts     Q queue                      a queue (JSON)
//! e queue sequence                    an entry                         P name 0 version             a plugin version (JSON)
//! d queue due sequence                an entry is delayed until then   B digest 0 ordinal           bytes of a component
//! t topic                             a topic's sequence               N revision ordinal           news for a group (JSON)
//! k scope key                         a remembered request
//! x expires scope key                 when it is forgotten
//! l subscription                      a parked list's cursors
//! p subscription sequence             a parked event
//! z kind id                           rows to be swept                 V                            the cluster's format version
//! w group                             the cursors of the outbox for a group
//! o group sequence                    an event for another group
//! i group                             how far another group's outbox was taken in
//! y subscription                      a subscription that is gone, of several groups
//! f queue                             a queue that was here: where what comes for it is sent on to
//! g queue                             a queue that will be handed over to this group
//! m queue                             what is still to come of a queue
//! ```
//! All begin with an ASCII letter: other first bytes are free for whoever keeps the tables.

use millrace_model::tables::{SEQUENCE_KEY_BYTES, SEQUENCES};
use millrace_model::{QueueId, Revision, SubscriptionId, Timestamp, TopicId};

/// Every row of a machine has a key from here …
pub(crate) const FIRST: &[u8] = b"A";
/// … to before here.
pub(crate) const END: &[u8] = b"{";

/// The state of the group.
pub(crate) const STATE: &[u8] = b"a";

pub(crate) const QUEUE_CONFIG: u8 = b'c';
pub(crate) const QUEUE: u8 = b'q';
pub(crate) const ENTRY: u8 = b'e';
pub(crate) const DELAY: u8 = b'd';
pub(crate) const TOPIC_SEQUENCE: u8 = b't';
pub(crate) const REMEMBERED: u8 = b'k';
pub(crate) const EXPIRY: u8 = b'x';
pub(crate) const PARKED_LIST: u8 = b'l';
pub(crate) const PARKED: u8 = b'p';
pub(crate) const SWEEP: u8 = b'z';
pub(crate) const OUTBOX: u8 = b'w';
pub(crate) const OUTGOING: u8 = b'o';
pub(crate) const INBOX: u8 = b'i';
pub(crate) const GONE: u8 = b'y';
pub(crate) const AWAY: u8 = b'f';
pub(crate) const AWAITED: u8 = b'g';
pub(crate) const COMING: u8 = b'm';
pub(crate) const TOPIC: u8 = b'T';
pub(crate) const SUBSCRIPTION: u8 = b'S';
pub(crate) const CATALOG_QUEUE: u8 = b'Q';
pub(crate) const PLUGIN: u8 = b'P';
pub(crate) const COMPONENT: u8 = b'B';
pub(crate) const NEWS: u8 = b'N';

/// The format version of the cluster (group 0); of the first one while there is no row.
pub(crate) const VERSION: &[u8] = b"V";

/// The range of all rows of one kind.
pub(crate) fn all(tag: u8) -> ([u8; 1], [u8; 1]) {
    ([tag], [tag + 1])
}

/// A key of a tag and a number: `c`, `q`, `t`, `l`, `w`, `i`, `y`, `f`, `g`, `m`, `T`, `Q`.
pub(crate) fn numbered(tag: u8, id: u32) -> [u8; 5] {
    let mut key = [tag; 5];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The number in a key that begins as [`numbered`] makes it.
pub(crate) fn number(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*key.get(1..)?.first_chunk()?))
}

/// A key of a tag, a number and a sequence: `e`, `p`, `o`. Tables keep neighbours together.
pub(crate) fn sequenced(tag: u8, id: u32, sequence: u64) -> [u8; SEQUENCE_KEY_BYTES] {
    debug_assert!(
        SEQUENCES.contains(&tag),
        "what is said to be a sequence is one"
    );
    let mut key = [tag; SEQUENCE_KEY_BYTES];
    key[1..5].copy_from_slice(&id.to_be_bytes());
    key[5..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The sequence in a key that [`sequenced`] or [`delay`] made: its last eight bytes.
pub(crate) fn sequence(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The key of an entry.
pub(crate) fn entry(queue: QueueId, sequence: u64) -> [u8; 13] {
    sequenced(ENTRY, queue.0, sequence)
}

/// The key of a parked event.
pub(crate) fn parked(subscription: SubscriptionId, sequence: u64) -> [u8; 13] {
    sequenced(PARKED, subscription.0, sequence)
}

/// The key of a delay.
pub(crate) fn delay(queue: QueueId, due: Timestamp, sequence: u64) -> [u8; 21] {
    let mut key = [DELAY; 21];
    key[1..5].copy_from_slice(&queue.0.to_be_bytes());
    key[5..13].copy_from_slice(&due.0.to_be_bytes());
    key[13..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The time in a key that [`delay`] made.
pub(crate) fn delay_due(key: &[u8]) -> Option<Timestamp> {
    let bytes = key.get(5..13)?.first_chunk()?;
    Some(Timestamp(u64::from_be_bytes(*bytes)))
}

/// The key of a subscription.
pub(crate) fn subscription(topic: TopicId, id: SubscriptionId) -> [u8; 9] {
    let mut key = [SUBSCRIPTION; 9];
    key[1..5].copy_from_slice(&topic.0.to_be_bytes());
    key[5..].copy_from_slice(&id.0.to_be_bytes());
    key
}

/// The topic in a key that [`subscription`] made.
pub(crate) fn subscription_topic(key: &[u8]) -> Option<TopicId> {
    number(key).map(TopicId)
}

/// The key of a plugin version.
pub(crate) fn plugin(name: &str, version: &str) -> Vec<u8> {
    [&[PLUGIN], name.as_bytes(), &[0], version.as_bytes()].concat()
}

/// The key of one chunk of a component.
pub(crate) fn component(digest: &str, ordinal: u32) -> Vec<u8> {
    [
        &[COMPONENT],
        digest.as_bytes(),
        &[0],
        &ordinal.to_be_bytes(),
    ]
    .concat()
}

/// The key of news: the `ordinal`th of a revision.
pub(crate) fn news(revision: Revision, ordinal: u32) -> [u8; 13] {
    let mut key = [NEWS; 13];
    key[1..9].copy_from_slice(&revision.0.to_be_bytes());
    key[9..].copy_from_slice(&ordinal.to_be_bytes());
    key
}

/// The key of rows to be swept.
pub(crate) fn sweep(kind: u8, id: u32) -> [u8; 6] {
    let mut key = [SWEEP; 6];
    key[1] = kind;
    key[2..].copy_from_slice(&id.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_their_numbers_are() {
        let queue = QueueId(7);
        assert!(entry(queue, 255) < entry(queue, 256));
        assert!(entry(queue, u64::MAX) < entry(QueueId(8), 0));
        assert!(delay(queue, Timestamp(9), 9) < delay(queue, Timestamp(10), 1));
        assert_eq!(number(&entry(queue, 5)), Some(7));
        assert_eq!(sequence(&entry(queue, 5)), Some(5));
        let key = delay(queue, Timestamp(9), 3);
        assert_eq!(
            (delay_due(&key), sequence(&key)),
            (Some(Timestamp(9)), Some(3))
        );
        assert!(FIRST <= &entry(queue, 0)[..] && &sweep(PARKED, 1)[..] < END);
    }
}
