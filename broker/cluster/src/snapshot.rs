//! Snapshots: all rows of a group at one position.
//!
//! With one voter a snapshot never travels. It is what openraft needs before it purges: the statement that tables are
//! durable up to a position. Payloads do not travel with the rows yet, so a snapshot of a group that holds anything is
//! refused where it would be installed: its rows would refer to entries that the node does not have.

use std::io;
use std::sync::Arc;

use millrace_model::Fault;
use millrace_model::tables::Row;
use millrace_store::tables::TableSnapshot;
use openraft::storage::RaftSnapshotBuilder;

use crate::apply::{Applier, ApplyLane};
use crate::types::TypeConfig;

pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, TableRows>;

/// The rows of a snapshot. Cloning shares them; they are read when they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct TableRows(Arc<TableSnapshot>);

impl TableRows {
    pub(crate) fn new(snapshot: TableSnapshot) -> Self {
        Self(Arc::new(snapshot))
    }

    /// Whether the machine has written anything: all else are the store's own rows, under a first byte of 0.
    pub(crate) fn holds_state(&self) -> Result<bool, Fault> {
        let first = self
            .iter()
            .find(|row| !matches!(row, Ok((key, _)) if key.first() == Some(&0)));
        first.transpose().map(|row| row.is_some())
    }

    /// The rows in order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Row, Fault>> + Send + use<> {
        self.0.rows()
    }
}

/// Builds snapshots of one group.
pub(crate) struct Builder(pub(crate) ApplyLane);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = TableRows;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        self.0
            .call_blocking(Applier::snapshot)
            .await
            .map_err(io::Error::other)
    }
}
