//! All rows of a group at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::kv::Readable;
use bytes::Bytes;
use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId, PayloadRef};

use crate::log::SegmentId;
use crate::tables::cell::Cell;
use crate::tables::counts::Live;
use crate::tables::fjall_fault::fault;
use crate::tables::home::Home;
use crate::tables::rows::{self, SYSTEM};
use crate::tables::spilled::Spilled;
use crate::tables::state::View;
use crate::tables::store::{StoreInner, read_count};
use crate::tables::{orphans, payload};

/// All rows of a group as of one commit, and the payloads that lay outside the log then. While it is there fjall keeps
/// what is overwritten: do not hold it for long, and drop it before the tables are opened again.
pub struct TableSnapshot {
    group: GroupId,
    view: View,
    home: Home,
    /// The database must outlive what looks at it.
    _store: Arc<StoreInner>,
}

impl TableSnapshot {
    /// Waits until what is committed now is in fjall, synced if asked for. Holds up neither owner nor flusher.
    pub(crate) fn take(store: &Arc<StoreInner>, cell: &Cell, synced: bool) -> Result<Self, Fault> {
        let (view, home) = cell.view(&store.desk, synced)?;
        Ok(Self {
            group: cell.id,
            view,
            home,
            _store: Arc::clone(store),
        })
    }

    /// Which group's rows these are.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The index of the last entry that the rows know of.
    pub fn applied(&self) -> u64 {
        self.view.at.applied
    }

    /// The commit, counted since the tables were opened.
    pub(crate) fn seq(&self) -> u64 {
        self.view.at.seq
    }

    /// The keyspaces that this is a view of.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// The system row `name`.
    ///
    /// # Errors
    /// A [`Fault`] when the row cannot be read.
    pub fn system(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.get(&rows::system_key(name))
    }

    /// The rows in order of their keys: system rows first, under their reserved prefix, and without what belongs to
    /// this node alone (reference counts).
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Fault>> + Send + use<> {
        let system = self.view.snapshot.prefix(&self.home.rows, SYSTEM);
        let system = system.map(|guard| {
            let (key, value) = guard.into_inner().map_err(fault("read a snapshot"))?;
            Ok((key.to_vec(), value.to_vec()))
        });
        system.chain(self.home.rows_at(&self.view.snapshot))
    }

    /// The segments of the log that rows refer to.
    pub(crate) fn live(&self) -> Result<BTreeMap<SegmentId, Live>, Fault> {
        let counts = self.view.snapshot.prefix(&self.home.rows, rows::COUNTS);
        counts.map(read_count).collect()
    }

    /// What lies outside the log.
    pub(crate) fn spilled(&self) -> Result<Spilled, Fault> {
        let row = self.get(rows::SPILLED)?;
        row.map_or(Ok(Spilled::default()), |row| Spilled::decode(&row))
    }

    /// The bytes of a payload that lay outside the log; `None` when it did not.
    pub(crate) fn payload(&self, place: PayloadRef) -> Result<Option<Bytes>, Fault> {
        let key = rows::payload_key(place);
        let value = self.view.snapshot.get(&self.home.payloads, key);
        let value = value.map_err(fault("read a payload"))?;
        value
            .map(|value| payload::decode(place, &value))
            .transpose()
    }

    /// The payloads that have counts outside the log, and those counts, in order.
    pub(crate) fn counted(
        &self,
    ) -> impl Iterator<Item = Result<(PayloadRef, u64), Fault>> + Send + use<> {
        let counts = self.view.snapshot.prefix(&self.home.rows, rows::PAYLOADS);
        counts.map(|guard| {
            let (key, value) = guard
                .into_inner()
                .map_err(fault("read counts of payloads"))?;
            let payload = key
                .strip_prefix(rows::PAYLOADS)
                .and_then(rows::read_payload_key);
            let bad = || Fault::new("read counts of payloads", "a row has a wrong length");
            payload.zip(rows::read_number(&value)).ok_or_else(bad)
        })
    }

    /// The payloads whose bytes lie outside the log, in order.
    pub(crate) fn stored(&self) -> impl Iterator<Item = Result<PayloadRef, Fault>> + Send + use<> {
        let stored = self.view.snapshot.iter(&self.home.payloads);
        stored.map(orphans::payload_key)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let value = self.view.snapshot.get(&self.home.rows, key);
        let value = value.map_err(fault("read a snapshot"))?;
        Ok(value.map(|value| value.to_vec()))
    }
}

impl fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot")
            .field("group", &self.group)
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}
