//! Snapshots of a group, in chunks that can be sent anywhere: its rows at one position, and every payload that they
//! refer to, once.
//!
//! # Form
//! A stream of chunks, each with a header of [`CHUNK_HEADER_BYTES`] and at most [`CHUNK_BYTES_MAX`] behind it. All
//! numbers are little-endian.
//! ```text
//! chunk   "MRSC" · format u16 · kind u8 · 0 u8 · stream u64 · sequence u32 · length u32 · crc32c u32 · payload
//!         the checksum is of the header before it and of the payload; the stream is a random number of the sender
//! first   kind 1: group u32 · index of the last applied entry u64
//! middle  kind 2: a part of the records, cut anywhere
//! last    kind 3: chunks u32 (this one included) · records u64 · digest of all records, 32 bytes
//! record  kind u8 · length of key u16 · length of value u32 · key · value
//!         kind 1: a payload; key: index u64 · offset u32 · length u32, big-endian; value: references u64 · bytes
//!         kind 2: a row
//! ```
//! Payloads come first, ascending, then system rows, then the machine's, ascending. So both sides work in one pass
//! over what the other sends, within bounds of memory: [`WINDOW_PAYLOADS`] places on the sending side,
//! [`RUN_BYTES`] and one record on the receiving one.
//!
//! Nothing of the receiving group is touched before [`GroupTables::install`](crate::tables::GroupTables::install).

mod chunk;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

pub use chunk::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, FORMAT};
pub use incoming::{Incoming, RUN_BYTES};
pub use outgoing::{AGE_MAX, Chunks, SnapshotSource, WINDOW_PAYLOADS};

use millrace_model::limit::STORED_EVENT_BYTES_MAX;

/// Largest value of a record, in bytes: no row is larger than an event.
const VALUE_BYTES_MAX: usize = 4 << 20;

/// Kind of a record: a payload.
const RECORD_PAYLOAD: u8 = 1;
/// Kind of a record: a row.
const RECORD_ROW: u8 = 2;

/// Bytes in front of a record's key.
const RECORD_HEADER_BYTES: usize = 7;

const _: () = assert!(STORED_EVENT_BYTES_MAX + 8 <= VALUE_BYTES_MAX);
