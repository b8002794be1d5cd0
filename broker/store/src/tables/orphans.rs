//! What an interrupted move out of the log left behind.

use crate::kv::{Guard, PersistMode};
use millrace_model::{Fault, GroupId, PayloadRef};

use crate::tables::fjall_fault::fault;
use crate::tables::home::Home;
use crate::tables::rows;
use crate::tables::spilled::Spilled;
use crate::tables::store::StoreInner;

/// Removals that are written at once.
const BATCH_ROWS: usize = 1_024;

/// Removes counts whose references still count for a segment, and bytes without a count. Costs nothing unless a move
/// was interrupted.
pub(crate) fn sweep(
    store: &StoreInner,
    group: GroupId,
    home: &Home,
    spilled: &mut Spilled,
) -> Result<(), Fault> {
    if !spilled.copying {
        return Ok(());
    }
    let segment_of = |index| store.options.segments.segment_of(group, index);
    let uncounted = home.rows.prefix(rows::PAYLOADS).map(count_key);
    let uncounted = uncounted.filter(|found| match found {
        Ok(payload) => !spilled.holds(payload.index, segment_of(payload.index)),
        Err(_) => true,
    });
    let counts = remove(store, home, uncounted, true)?;
    let stored = home.payloads.iter().map(payload_key);
    let unreferred = stored.filter_map(|found| match found {
        Ok(payload) => match home.rows.contains_key(rows::payload_count_key(payload)) {
            Ok(true) => None,
            Ok(false) => Some(Ok(payload)),
            Err(error) => Some(Err(fault("look for orphans")(error))),
        },
        Err(fault) => Some(Err(fault)),
    });
    let bytes = remove(store, home, unreferred, false)?;
    spilled.copying = false;
    let mut batch = store.db.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&home.rows, rows::SPILLED, spilled.encode());
    batch.commit().map_err(fault("remove orphans"))?;
    tracing::info!(%group, counts, payloads = bytes, "removed what an interrupted move out of the log left behind");
    Ok(())
}

/// The payload that a row counts.
pub(crate) fn count_key(guard: Guard) -> Result<PayloadRef, Fault> {
    let key = guard.key().map_err(fault("read the counts of payloads"))?;
    let payload = key
        .strip_prefix(rows::PAYLOADS)
        .and_then(rows::read_payload_key);
    payload.ok_or_else(|| Fault::new("read the counts of payloads", "a key has a wrong length"))
}

/// The payload that a value is of.
pub(crate) fn payload_key(guard: Guard) -> Result<PayloadRef, Fault> {
    let key = guard.key().map_err(fault("read the keys of payloads"))?;
    let bad = || Fault::new("read the keys of payloads", "a key has a wrong length");
    rows::read_payload_key(&key).ok_or_else(bad)
}

/// Removes the bytes of `payloads`, and their counts if they have any; says how many those were.
pub(crate) fn remove(
    store: &StoreInner,
    home: &Home,
    payloads: impl Iterator<Item = Result<PayloadRef, Fault>>,
    counted: bool,
) -> Result<u64, Fault> {
    let (mut removed, mut batch) = (0, store.db.batch());
    for payload in payloads {
        let payload = payload?;
        if counted {
            batch.remove(&home.rows, rows::payload_count_key(payload));
        }
        batch.remove(&home.payloads, rows::payload_key(payload));
        removed += 1;
        if batch.len() >= BATCH_ROWS {
            let full = std::mem::replace(&mut batch, store.db.batch());
            full.commit().map_err(fault("remove orphans"))?;
        }
    }
    batch.commit().map_err(fault("remove orphans"))?;
    Ok(removed)
}
