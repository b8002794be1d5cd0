//! A group's machine as openraft's state machine: every call goes through the group's apply lane.

use std::io;

use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};

use crate::apply::{Applier, ApplyLane};
use crate::snapshot::{Builder, Snapshot, SnapshotMeta, TableRows};
use crate::types::{Position, StoredMembership, TypeConfig};

/// Most entries that are applied at once.
const APPLY_ENTRIES_MAX: usize = 64;

/// The way from openraft to the apply lane.
#[derive(Clone)]
pub(crate) struct StateMachine(pub(crate) ApplyLane);

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = TableRows;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<Position>, StoredMembership), io::Error> {
        self.0
            .call(|applier| Ok(applier.state()))
            .map_err(io::Error::other)
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut chunks = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(chunk) = chunks.next().await {
            let entries = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
            self.0.apply(entries).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(Builder(self.0.clone()))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(self.0.clone())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        rows: TableRows,
    ) -> Result<(), io::Error> {
        let meta = meta.clone();
        self.0
            .call_blocking(move |applier| applier.install(&meta, &rows))
            .await
            .map_err(io::Error::other)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.0
            .call_blocking(Applier::last_snapshot)
            .await
            .map_err(io::Error::other)
    }
}
