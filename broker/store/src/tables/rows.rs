//! The keys that tables keep for themselves, and how keyspaces are named.

use millrace_model::{GroupId, PayloadRef};

use crate::log::SegmentId;

/// First byte of every reserved key; no key of a machine starts with it.
pub(crate) const RESERVED: u8 = 0;

/// The first key that is not reserved.
pub(crate) const FIRST: &[u8] = &[RESERVED + 1];

/// The index of the last commit, 8 bytes, big-endian. Its presence says that the keyspace is complete.
pub(crate) const APPLIED: &[u8] = &[RESERVED, b'a'];

/// The format of the tables: how reserved rows, keyspaces and payloads outside the log look, 8 bytes, big-endian. Without it
/// they are of the first. Rows of a machine have their own.
pub(crate) const FORMAT: &[u8] = &[RESERVED, b'f'];

/// The newest [`FORMAT`] that this broker reads.
pub(crate) const FORMAT_MAX: u64 = FORMAT_OF_PAGES;

/// Rows of sequences are kept in pages.
pub(crate) const FORMAT_OF_PAGES: u64 = 2;

/// The [`FORMAT`] of a new keyspace.
pub(crate) fn format(paged: bool) -> u64 {
    if paged { FORMAT_OF_PAGES } else { 1 }
}

/// What was moved out of the log, as a whole: see [`Spilled`](crate::tables::spilled::Spilled).
pub(crate) const SPILLED: &[u8] = &[RESERVED, b'z'];

/// Where the counts of payloads outside the log start, one row a payload.
pub(crate) const PAYLOADS: &[u8] = &[RESERVED, b'p'];

/// Bytes of [`payload_key`].
pub(crate) const PAYLOAD_KEY_BYTES: usize = 16;

/// Where reference counts start, one row a segment: its number, and references and bytes, 8 bytes each, big-endian.
pub(crate) const COUNTS: &[u8] = &[RESERVED, b'r'];

/// Where system rows start; their names follow.
pub(crate) const SYSTEM: &[u8] = &[RESERVED, b's'];

/// The key of the count of one segment.
pub(crate) fn count_key(segment: SegmentId) -> Vec<u8> {
    [COUNTS, &segment.0.to_be_bytes()].concat()
}

/// The key of a payload outside the log, in the keyspace that holds the bytes: index, offset and length, big-endian.
/// The length is part of it because an empty payload shares its offset with the next one.
pub(crate) fn payload_key(payload: PayloadRef) -> [u8; PAYLOAD_KEY_BYTES] {
    let mut key = [0; PAYLOAD_KEY_BYTES];
    key[..8].copy_from_slice(&payload.index.to_be_bytes());
    key[8..12].copy_from_slice(&payload.offset.to_be_bytes());
    key[12..].copy_from_slice(&payload.len.to_be_bytes());
    key
}

/// Inverse of [`payload_key`].
pub(crate) fn read_payload_key(key: &[u8]) -> Option<PayloadRef> {
    let (index, rest) = key.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    Some(PayloadRef {
        index: u64::from_be_bytes(*index),
        offset: u32::from_be_bytes(*offset),
        len: u32::from_be_bytes(rest.try_into().ok()?),
    })
}

/// The key of the count of one payload outside the log.
pub(crate) fn payload_count_key(payload: PayloadRef) -> Vec<u8> {
    [PAYLOADS, &payload_key(payload)].concat()
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

/// Which of a group's two keyspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Rows, counts and positions.
    Rows,
    /// The bytes of payloads outside the log.
    Payloads,
}

impl Part {
    fn letter(self) -> char {
        match self {
            Self::Rows => 'g',
            Self::Payloads => 'p',
        }
    }
}

/// The name of a group's keyspace. Each snapshot that is received makes a new generation.
pub(crate) fn keyspace_name(part: Part, group: GroupId, generation: u64) -> String {
    format!("{}{group}-{generation}", part.letter())
}

/// The generation in the name of a keyspace of `group`.
pub(crate) fn generation_of(part: Part, group: GroupId, name: &str) -> Option<u64> {
    name.strip_prefix(&format!("{}{group}-", part.letter()))?
        .parse()
        .ok()
}
