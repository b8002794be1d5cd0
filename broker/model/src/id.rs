//! Numbers that stand for things inside the broker. They are never reused.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One Raft group. Group 0 holds the catalog; data groups hold queues and events.
    GroupId(u32)
}
number! {
    /// A topic; a topic that is deleted and created again has another id.
    TopicId(u32)
}
number! {
    /// A queue; a queue that is deleted and created again has another id.
    QueueId(u32)
}
number! {
    /// A subscription; one that is deleted and created again has another id.
    SubscriptionId(u32)
}
number! {
    /// Counts the changes of the catalog. A plan names the revision that it was made against.
    Revision(u64)
}

impl GroupId {
    /// The group that holds the catalog: topics, subscriptions, queues' definitions and placement, plugins.
    pub const META: Self = Self(0);
    /// The first data group.
    pub const DATA: Self = Self(1);
}

/// Where a stored event lies: in the body of the log entry `index` of the group, at `offset` bytes from the
/// body's start. The same on every node, since the bodies are the same; where the entry lies on disk is the
/// node's own business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PayloadRef {
    /// Index of the log entry.
    pub index: u64,
    /// Bytes from the start of the entry's body.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// A digest of an `Idempotency-Key`, and one of the request it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeduplicationKey {
    /// First half of the BLAKE3 digest of the key.
    pub key: [u8; 16],
    /// First bytes of the BLAKE3 digest of the request: the same key with another request is refused.
    pub request: u64,
}
