//! Rows and payloads of another node on their way into the tables.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::kv::{Keyspace, PersistMode};
use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId, PayloadRef};

use crate::tables::cell::Cell;
use crate::tables::fjall_fault::fault;
use crate::tables::home::Home;
use crate::tables::page::{Packer, PageKey};
use crate::tables::room;
use crate::tables::spilled::Spilled;
use crate::tables::store::StoreInner;
use crate::tables::{payload, rows};

/// Rows and payloads that are to replace those of a group, in keyspaces of their own. Nothing of the group is touched
/// before [`GroupTables::install`](crate::tables::GroupTables::install); dropping it, or a crash, leaves no trace
/// beyond the next start. All calls block.
pub struct Staging {
    store: Arc<StoreInner>,
    cell: Weak<Cell>,
    group: GroupId,
    /// None when it was installed.
    home: Option<Home>,
    last_row: Vec<u8>,
    /// The page that rows are still to come of.
    packer: Packer,
    last_payload: Option<PayloadRef>,
    spilled: Spilled,
    /// Where the rows stand, once everything is there.
    applied: Option<u64>,
}

impl Staging {
    pub(crate) fn begin(store: &Arc<StoreInner>, cell: &Arc<Cell>) -> Result<Self, Fault> {
        let mut state = cell.lock();
        state.check()?;
        if state.staging {
            let reason = format!("group {}: another one is being received", cell.id);
            return Err(Fault::new("receive a snapshot", reason));
        }
        state.staging = true;
        let generation = state.home.generation + 1;
        drop(state);
        let mut staging = Self {
            store: Arc::clone(store),
            cell: Arc::downgrade(cell),
            group: cell.id,
            home: None,
            last_row: Vec::new(),
            packer: Packer::default(),
            last_payload: None,
            spilled: Spilled::default(),
            applied: None,
        };
        staging.home = Some(store.home(cell.id, generation)?);
        Ok(staging)
    }

    /// Which group this is for.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Adds payloads with their number of references: in ascending order, and before any row.
    ///
    /// # Errors
    /// Out of order, no references, a length that is not the payload's, or the disk refused: drop it.
    pub fn add_payloads(
        &mut self,
        run: &[(PayloadRef, u64, impl AsRef<[u8]>)],
    ) -> Result<(), Fault> {
        let home = self.writable(run.iter().map(|(_, _, bytes)| bytes.as_ref().len()).sum())?;
        for (place, references, bytes) in run {
            let ordered = self.last_payload.is_none_or(|last| last < *place);
            let sound = bytes.as_ref().len() == place.len as usize && *references > 0;
            if !ordered || !sound || !self.last_row.is_empty() {
                return Err(refused(format!("payload {place:?} does not belong here")));
            }
            self.last_payload = Some(*place);
            self.spilled.payloads += 1;
            self.spilled.bytes += u64::from(place.len);
        }
        let payloads = run.iter();
        ingest_payloads(
            &home.payloads,
            payloads.map(|(place, _, bytes)| Ok((*place, bytes))),
        )?;
        let counts = run.iter();
        ingest(
            &home.rows,
            counts.map(|(place, count, _)| {
                Ok((rows::payload_count_key(*place), rows::number(*count)))
            }),
        )
    }

    /// Adds rows in ascending order, system rows first.
    ///
    /// # Errors
    /// Out of order, a reserved key, or the disk refused: drop it.
    pub fn add_rows(&mut self, run: Vec<Row>) -> Result<(), Fault> {
        let home = self.writable(run.iter().map(|(key, value)| key.len() + value.len()).sum())?;
        for (key, _) in &run {
            let ours = key.starts_with(rows::SYSTEM)
                || (key.first().is_some_and(|first| *first != rows::RESERVED)
                    && PageKey::fits(key));
            if !ours || *key <= self.last_row {
                return Err(refused(format!("row {key:02x?} does not belong here")));
            }
            self.last_row.clone_from(key);
        }
        let (mut alone, mut pages) = (Vec::new(), Vec::new());
        for (key, value) in run {
            match PageKey::of(&key).filter(|_| home.layout.has_pages()) {
                Some((page, place)) => pages.extend(self.packer.add(page, place, &value)),
                None => alone.push((key, value)),
            }
        }
        ingest(&home.rows, alone.into_iter().map(Ok))?;
        ingest(&home.rows, pages.into_iter().map(Ok))
    }

    /// Everything is there: makes it durable. `applied` is the entry that the rows stand at.
    ///
    /// # Errors
    /// The disk refused.
    pub fn finish(&mut self, applied: u64) -> Result<(), Fault> {
        let home = self.writable(0)?;
        ingest(&home.rows, self.packer.end().into_iter().map(Ok))?;
        self.spilled.floor = applied;
        let mut batch = self.store.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&home.rows, rows::SPILLED, self.spilled.encode());
        batch.commit().map_err(fault("complete a snapshot"))?;
        self.applied = Some(applied);
        Ok(())
    }

    /// The system row `name`, as it was received.
    ///
    /// # Errors
    /// A [`Fault`] when the row cannot be read.
    pub fn system(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(home) = &self.home else {
            return Ok(None);
        };
        let value = home.rows.get(rows::system_key(name));
        Ok(value
            .map_err(fault("read a row"))?
            .map(|value| value.to_vec()))
    }

    /// Where the rows stand, once everything is there.
    pub fn applied(&self) -> Option<u64> {
        self.applied
    }

    /// Makes this the newest complete generation of `group`: from here on a restart takes it.
    pub(crate) fn complete(mut self, group: GroupId) -> Result<(Home, u64, Spilled), Fault> {
        let (Some(applied), true) = (self.applied, self.group == group) else {
            let reason = format!("it is of group {} or incomplete", self.group);
            return Err(Fault::new("install a snapshot", reason));
        };
        let home = self.writable(0)?;
        let mut batch = self.store.db.batch().durability(Some(PersistMode::SyncAll));
        let format = rows::format(home.layout.has_pages());
        batch.insert(&home.rows, rows::FORMAT, rows::number(format));
        batch.insert(&home.rows, rows::APPLIED, rows::number(applied));
        batch.commit().map_err(fault("install a snapshot"))?;
        self.home = None;
        Ok((home, applied, self.spilled.clone()))
    }

    /// The keyspaces, when there is room for `bytes` more.
    fn writable(&self, bytes: usize) -> Result<Home, Fault> {
        if !room::is_there(&self.store.dir, bytes)? {
            return Err(Fault::new("receive a snapshot", "the disk is full"));
        }
        self.home
            .clone()
            .ok_or_else(|| refused("it was installed".to_owned()))
    }
}

fn refused(reason: String) -> Fault {
    Fault::new("receive a snapshot", reason)
}

/// Writes rows, which are ascending, straight into fjall's sorted files: neither journal nor memtable see them.
fn ingest(
    keyspace: &Keyspace,
    rows: impl Iterator<Item = Result<Row, Fault>>,
) -> Result<(), Fault> {
    let mut ingestion = keyspace.start_ingestion().map_err(fault("write rows"))?;
    for row in rows {
        let (key, value) = row?;
        ingestion.write(key, value).map_err(fault("write a row"))?;
    }
    ingestion.finish().map_err(fault("write rows"))
}

/// Writes payloads, which are ascending, straight into files of their own.
pub(crate) fn ingest_payloads<B: AsRef<[u8]>>(
    keyspace: &Keyspace,
    payloads: impl Iterator<Item = Result<(PayloadRef, B), Fault>>,
) -> Result<(), Fault> {
    let rows = payloads.map(|payload| {
        let (place, bytes) = payload?;
        let value = payload::encode(place, bytes.as_ref());
        Ok((rows::payload_key(place).to_vec(), value))
    });
    ingest(keyspace, rows)
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(home) = self.home.take()
            && let Err(fault) = self.store.delete_home(home)
        {
            tracing::warn!(%fault, group = %self.group, "a snapshot that was not installed stays until the next start");
        }
        if let Some(cell) = self.cell.upgrade() {
            cell.lock().staging = false;
        }
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staging")
            .field("group", &self.group)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}
