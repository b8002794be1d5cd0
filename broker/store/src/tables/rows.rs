//! The keys that tables keep for themselves, and how keyspaces are named.

use millrace_model::GroupId;

use crate::log::SegmentId;

/// First byte of every reserved key; no key of a machine starts with it.
pub(crate) const RESERVED: u8 = 0;

/// The first key that is not reserved.
pub(crate) const FIRST: &[u8] = &[RESERVED + 1];

/// The index of the last commit, 8 bytes, big-endian. Its presence says that the keyspace is complete.
pub(crate) const APPLIED: &[u8] = &[RESERVED, b'a'];

/// Where reference counts start, one row a segment: its number and the count, 8 bytes each, big-endian.
pub(crate) const COUNTS: &[u8] = &[RESERVED, b'r'];

/// Where system rows start; their names follow.
pub(crate) const SYSTEM: &[u8] = &[RESERVED, b's'];

/// The key of the count of one segment.
pub(crate) fn count_key(segment: SegmentId) -> Vec<u8> {
    [COUNTS, &segment.0.to_be_bytes()].concat()
}

/// The key of a system row.
pub(crate) fn system_key(name: &str) -> Vec<u8> {
    [SYSTEM, name.as_bytes()].concat()
}

/// A number as a value.
pub(crate) fn number(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// The number in a value.
pub(crate) fn read_number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// The name of a group's keyspace. Each restore makes a new generation.
pub(crate) fn keyspace_name(group: GroupId, generation: u64) -> String {
    format!("g{group}-{generation}")
}

/// The generation in the name of a keyspace of `group`.
pub(crate) fn generation_of(group: GroupId, name: &str) -> Option<u64> {
    name.strip_prefix(&format!("g{group}-"))?.parse().ok()
}
