//! The ordered rows that a machine keeps its state in.

use crate::{Fault, PayloadRef};

/// One row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// First bytes of the keys of sequences: all other bytes of such a key are numbers, big-endian, and the last is the one that
/// counts. Their rows are many and small, and come and go next to each other, so a store may keep neighbours together.
pub const SEQUENCES: [u8; 3] = *b"eop";

/// Bytes of each key of a sequence.
pub const SEQUENCE_KEY_BYTES: usize = 13;

/// An ordered map of bytes, one for each group, with a count of live references to payloads of log entries beside it.
///
/// Only the thread that applies writes; every value is absolute, so that replaying a batch from the stored
/// position gives the same rows. A write is visible to the next read. When it becomes durable is the
/// store's business: everything of one batch, with the position of that batch, or nothing of it.
pub trait Tables {
    /// The value of `key`.
    ///
    /// # Errors
    /// A [`Fault`] when the row cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// The first `limit` rows with `from <= key < until`, in order of their keys.
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read.
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Fault>;

    /// Writes a row that does not exist yet. A store may skip what is inserted and removed within one
    /// flush, so this is a promise: no row of this key exists.
    fn insert(&mut self, key: &[u8], value: Vec<u8>);

    /// Writes a row, new or not.
    fn put(&mut self, key: &[u8], value: Vec<u8>);

    /// Removes a row; none is fine.
    fn remove(&mut self, key: &[u8]);

    /// Adds `count` live references to `payload`.
    fn retain(&mut self, payload: PayloadRef, count: u32);

    /// Drops `count` live references to `payload`.
    fn release(&mut self, payload: PayloadRef, count: u32);
}
