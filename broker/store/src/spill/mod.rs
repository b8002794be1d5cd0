//! Moving payloads out of the log, so that disk use follows what lives.
//!
//! A segment of the log can be given back when nothing refers to it. One forgotten message would keep 64 MiB, so a
//! background task moves the payloads that still live in sparse segments into a keyspace of their own, with values in
//! files apart from the keys: the tables' *payloads* keyspace. The references to them then count there, one row a
//! payload, and bytes and row go in one batch with the last reference.
//!
//! # A move, and what a crash at each step leaves
//! 1. The tables take note that a move has begun ([`Spilled::copying`](crate::tables)), and of every change of
//!    references to the segments from here on. A view of the rows is taken, as of a known commit.
//! 2. The rows of the view are read: which payloads of the segments they refer to, and how often. No payload of these
//!    segments can be referred to later that is not now: their entries are purged and applied, and a reference to an
//!    old payload only ever comes from another one.
//! 3. The payloads are read from the log (checksums verified), written to the keyspace, and synced. Then a row with
//!    its count for each. A crash up to here leaves bytes and rows that nothing counts: the next open removes them,
//!    since the note of step 1 is older than they are.
//! 4. Between two freezes of the tables, under their lock: the changes since the view are added to the counts, the
//!    segments are marked as moved, and their own counts end. All this is in memory, and becomes durable as one unit
//!    with the rows that refer. A crash before that is a crash in step 3.
//! 5. The log is told, after the sync that makes step 4 durable, that nothing refers to the segments any more.
//!
//! Reads look in the log first: until step 5 both places have the bytes, and they are the same.

mod audit;
mod choose;
mod collect;
mod payloads;
mod round;
mod spiller;

#[cfg(test)]
pub(crate) mod tests;

pub use audit::audit;
pub use choose::SpillOptions;
pub use collect::ReferenceOf;
pub(crate) use collect::window;
pub use payloads::Payloads;
pub(crate) use payloads::missing;
pub use spiller::{Moved, Spiller};
