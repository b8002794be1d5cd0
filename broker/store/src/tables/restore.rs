//! A keyspace filled with the rows of a snapshot.

use std::collections::BTreeMap;

use fjall::{Keyspace, PersistMode};
use millrace_model::Fault;
use millrace_model::tables::Row;

use crate::log::SegmentId;
use crate::tables::fjall_fault::fault;
use crate::tables::rows;
use crate::tables::store::StoreInner;

/// Fills `keyspace`, which is new, and makes it durable. The position comes last, in one batch with the counts: a
/// keyspace without one is never used.
pub(crate) fn fill(
    store: &StoreInner,
    keyspace: &Keyspace,
    applied: u64,
    rows: impl IntoIterator<Item = Result<Row, Fault>>,
    counts: &BTreeMap<SegmentId, u64>,
) -> Result<(), Fault> {
    ingest(keyspace, rows)?;
    let mut batch = store.db.batch().durability(Some(PersistMode::SyncAll));
    for (segment, count) in counts {
        batch.insert(keyspace, rows::count_key(*segment), rows::number(*count));
    }
    batch.insert(keyspace, rows::APPLIED, rows::number(applied));
    batch.commit().map_err(fault("complete restored rows"))
}

/// Writes rows straight into fjall's sorted files: neither journal nor memtable see them.
fn ingest(
    keyspace: &Keyspace,
    rows: impl IntoIterator<Item = Result<Row, Fault>>,
) -> Result<(), Fault> {
    let mut ingestion = keyspace.start_ingestion().map_err(fault("restore rows"))?;
    let mut last = Vec::new();
    for row in rows {
        let (key, value) = row?;
        check(&last, &key)?;
        ingestion
            .write(key.as_slice(), value)
            .map_err(fault("restore a row"))?;
        last = key;
    }
    ingestion.finish().map_err(fault("restore rows"))
}

fn check(last: &[u8], key: &[u8]) -> Result<(), Fault> {
    let ours = key.starts_with(rows::SYSTEM) || key.first().is_some_and(|b| *b != rows::RESERVED);
    if ours && last < key {
        return Ok(());
    }
    let reason = format!("row {key:02x?} after row {last:02x?} is no snapshot of tables");
    Err(Fault::new("restore rows", reason))
}
