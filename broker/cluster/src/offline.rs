//! The audit of a data directory, with no node running on it.

use std::ops::Bound;

use millrace_machine::{Machine, MemoryTables};
use millrace_model::digest::Digest;
use millrace_model::{Fault, GroupId};
use millrace_store::log::{GroupLog, Log};
use millrace_store::spill;
use millrace_store::tables::TableHandle;
use openraft::EntryPayload;

use crate::codec;
use crate::identity::IdentityFile;
use crate::node;
use crate::options::ClusterOptions;
use crate::types::Body;

/// Bytes of entries that are read at once.
const READ_BYTES: usize = 8 << 20;

/// What was found about one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// The group.
    pub group: GroupId,
    /// Index of the last entry of its log.
    pub last: u64,
    /// Rows of its tables, brought up to `last`.
    pub rows: u64,
    /// Payloads that were moved out of the log, as of the tables on disk.
    pub payloads_outside: u64,
    /// Their bytes.
    pub bytes_outside: u64,
    /// Snapshots that a crash left incomplete, and that opening removed. No fault of the data.
    pub leftovers: usize,
    /// Digest of its tables, brought up to `last`.
    pub digest: Digest,
    /// Digest of empty tables to which the whole log was applied; none when the log no longer begins at its start.
    pub replay: Option<Digest>,
    /// Invariants that do not hold, in words.
    pub violations: Vec<String>,
}

/// Opens the data directory, verifies every record of the log, brings the tables up to its end **in memory**, audits
/// them, and compares them with a replay of the log. Changes nothing but what opening itself recovers.
///
/// # Errors
/// A [`Fault`] that says what is damaged, or that a node is running on the directory.
pub fn check(options: &ClusterOptions) -> Result<Vec<GroupReport>, Fault> {
    IdentityFile::read(&options.dir)?;
    let (log, tables) = node::open(options)?;
    let groups = log.groups().into_iter();
    groups
        .map(|group| {
            let entries = log.group(group);
            let tables = tables.group(group)?;
            crate::group::check_whole(&tables, &log)?;
            let handle = tables.handle();
            let mut violations = audit_payloads(&log, &handle)?;
            let (outside, leftovers) = (handle.outside(), tables.leftovers());
            let applied = crate::apply::applied(&tables)?.map(|position| position.index);
            let mut machine = Machine::open(group, tables)?;
            let last = replay(&mut machine, &entries, applied)?;
            let (digest, rows) = machine.digest()?;
            violations.extend(machine.audit()?);
            let replay = replay_all(group, &entries)?;
            Ok(GroupReport {
                group,
                last,
                rows,
                payloads_outside: outside.payloads,
                bytes_outside: outside.bytes,
                leftovers,
                digest,
                replay,
                violations,
            })
        })
        .collect()
}

/// What does not hold of payloads and references, as of the tables on disk.
fn audit_payloads(log: &Log, tables: &TableHandle) -> Result<Vec<String>, Fault> {
    let snapshot = tables.snapshot(false)?;
    spill::audit(&snapshot, log, millrace_machine::reference)
}

fn replay_all(group: GroupId, entries: &GroupLog) -> Result<Option<Digest>, Fault> {
    if entries.purged().is_some() {
        return Ok(None);
    }
    let mut machine = Machine::open(group, MemoryTables::default())?;
    replay(&mut machine, entries, None)?;
    Ok(Some(machine.digest()?.0))
}

/// Applies all entries after `applied`; the index of the last one.
fn replay<T: millrace_model::Tables>(
    machine: &mut Machine<T>,
    entries: &GroupLog,
    applied: Option<u64>,
) -> Result<u64, Fault> {
    let mut last = applied;
    loop {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let records = entries.read((from, Bound::Unbounded), READ_BYTES);
        let records = records.map_err(|error| Fault::new("read the log", error))?;
        if records.is_empty() {
            return Ok(last.unwrap_or(0));
        }
        for record in records {
            last = Some(record.index);
            let entry =
                codec::to_entry(record).map_err(|error| Fault::new("read the log", error))?;
            if let EntryPayload::Normal(Body(body)) = entry.payload {
                machine.apply(entry.log_id.index, &body)?;
            }
        }
    }
}
