//! Which payloads rows refer to, and how often: within bounds of memory.

use std::collections::BTreeMap;

use millrace_model::{Fault, PayloadRef};

use crate::tables::TableSnapshot;

/// The payload that a row refers to, if any: the rows are a machine's, and only it can read them.
pub type ReferenceOf = fn(key: &[u8], value: &[u8]) -> Result<Option<PayloadRef>, Fault>;

/// The first payloads after `after`, `max` of them at most, that the rows of `snapshot` refer to and that `wanted`
/// takes, with their number of references. Reads every row: with more payloads than `max` it takes several passes.
///
/// # Errors
/// A row cannot be read.
pub(crate) fn window(
    snapshot: &TableSnapshot,
    reference: ReferenceOf,
    after: Option<PayloadRef>,
    max: usize,
    wanted: impl Fn(PayloadRef) -> bool,
) -> Result<BTreeMap<PayloadRef, u64>, Fault> {
    let mut found: BTreeMap<PayloadRef, u64> = BTreeMap::new();
    // What lies behind this was thrown out: it must not be counted from the middle.
    let mut end: Option<PayloadRef> = None;
    for row in snapshot.rows() {
        let (key, value) = row?;
        let Some(place) = reference(&key, &value)? else {
            continue;
        };
        let within = after.is_none_or(|after| after < place) && end.is_none_or(|end| place < end);
        if !within || !wanted(place) {
            continue;
        }
        *found.entry(place).or_default() += 1;
        if found.len() > max {
            end = found.pop_last().map(|(place, _)| place);
        }
    }
    Ok(found)
}
