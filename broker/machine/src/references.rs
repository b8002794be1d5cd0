//! Which rows refer to payloads: for whoever moves or copies payloads and cannot read rows.

use millrace_model::{Fault, PayloadRef};

use crate::keys;
use crate::outbox::Outgoing;
use crate::parked::Parked;
use crate::queue::Entry;

/// The payload that a row refers to, if it is of a kind that does. Every reference that a [`crate::Machine`] counts
/// with [`millrace_model::Tables::retain`] is found in exactly one row.
///
/// # Errors
/// A [`Fault`] when the row is damaged.
pub fn reference(key: &[u8], value: &[u8]) -> Result<Option<PayloadRef>, Fault> {
    match key.first() {
        Some(&keys::ENTRY) => Ok(Some(Entry::decode(value)?.payload)),
        Some(&keys::OUTGOING) => Ok(Some(Outgoing::decode(value)?.payload)),
        Some(&keys::PARKED) => Ok(Some(Parked::decode(value)?.payload)),
        _ => Ok(None),
    }
}
