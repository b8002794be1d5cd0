//! What a batch does to references: counted for each segment of the log, or for each payload outside of it.

use std::collections::BTreeMap;

use millrace_model::{Fault, GroupId, PayloadRef};

use crate::log::SegmentId;
use crate::tables::counts::Change;
use crate::tables::fjall_fault::fault;
use crate::tables::key::Key;
use crate::tables::rows;
use crate::tables::state::State;
use crate::tables::store::StoreInner;

/// Adds `references` to the counts in commit number `seq`, and leaves them empty. Additions and removals of one
/// segment, or of one payload outside, are one change, so that a count never passes zero within a batch.
///
/// # Errors
/// More was released than there was; a payload is neither in a segment nor outside; a row cannot be read.
pub(crate) fn settle(
    store: &StoreInner,
    group: GroupId,
    state: &mut State,
    references: &mut Vec<(PayloadRef, i64)>,
    seq: u64,
) -> Result<(), Fault> {
    let (mut inside, mut outside) = (BTreeMap::new(), BTreeMap::new());
    let mut last: Option<(u64, Option<SegmentId>)> = None;
    for (payload, change) in references.drain(..) {
        let known = last.filter(|(index, _)| *index == payload.index);
        let (_, segment) = *last
            .insert(known.unwrap_or_else(|| (payload.index, home(store, group, state, payload))));
        match segment {
            Some(segment) => {
                let sum: &mut Change = inside.entry(segment).or_default();
                sum.references += change;
                sum.bytes += change * i64::from(payload.len);
                note(state, segment, seq, payload, change);
            }
            None => *outside.entry(payload).or_default() += change,
        }
    }
    for (segment, change) in inside {
        state.counts.change(segment, change, seq)?;
    }
    for (payload, change) in outside {
        change_outside(state, payload, change)?;
    }
    Ok(())
}

/// The segment that a reference to `payload` counts for; `None` when it counts outside the log.
fn home(
    store: &StoreInner,
    group: GroupId,
    state: &State,
    payload: PayloadRef,
) -> Option<SegmentId> {
    let segment = store.options.segments.segment_of(group, payload.index);
    segment.filter(|_| !state.spilled.holds(payload.index, segment))
}

fn note(state: &mut State, segment: SegmentId, seq: u64, payload: PayloadRef, change: i64) {
    if let Some(watch) = &mut state.watch
        && watch.segments.contains(&segment)
    {
        watch.note(seq, payload, change);
    }
}

/// Changes the count of a payload outside the log; its row goes with the last reference.
pub(crate) fn change_outside(
    state: &mut State,
    payload: PayloadRef,
    change: i64,
) -> Result<(), Fault> {
    if change == 0 {
        return Ok(());
    }
    let row = rows::payload_count_key(payload);
    let key = Key::new(&row);
    let count = match state.in_memory(&key) {
        Some(value) => value.cloned(),
        None => {
            let value = state.home.rows.get(&row);
            value
                .map_err(fault("count references"))?
                .map(|value| value.to_vec())
        }
    };
    let bad = |reason: &str| {
        let PayloadRef { index, offset, .. } = payload;
        let reason =
            format!("no segment holds entry {index}, and for the payload at {offset} {reason}");
        Fault::new("count references", reason)
    };
    let count = count.ok_or_else(|| bad("there is no count outside the log"))?;
    let count = rows::read_number(&count).ok_or_else(|| bad("the count is damaged"))?;
    let count = count.checked_add_signed(change);
    match count.ok_or_else(|| bad("more was released than there was"))? {
        0 => {
            state.active.remove(key);
            state.spilled.payloads = state.spilled.payloads.saturating_sub(1);
            state.spilled.bytes = state.spilled.bytes.saturating_sub(payload.len.into());
            state.spilled_changed = true;
        }
        count => state.active.put(key, rows::number(count)),
    }
    Ok(())
}
