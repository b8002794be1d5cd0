//! A group's machine as openraft's state machine: every call goes through the group's apply lane.

use std::io;

use futures::{Stream, StreamExt as _};
use millrace_model::Fault;
use openraft::storage::{EntryResponder, RaftStateMachine};

use crate::apply::ApplyLane;
use crate::simulated;
use crate::snapshot::{Builder, Snapshot, SnapshotData, SnapshotMeta};
use crate::types::{Position, StoredMembership, TypeConfig};

/// Most entries that are applied at once.
const APPLY_ENTRIES_MAX: usize = 64;

/// The way from openraft to the apply lane.
#[derive(Clone)]
pub(crate) struct StateMachine(pub(crate) ApplyLane);

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
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
            let last = entries.last().map(|(entry, _)| entry.log_id.index);
            simulated::durable(self.0.log(), last).await;
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
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (meta, lane) = (meta.clone(), self.0.clone());
        blocking("install a snapshot", move || {
            let staging = snapshot.into_staging(&lane)?;
            lane.call(|applier| applier.install(&meta, staging))
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let lane = self.0.clone();
        blocking("look at a snapshot", move || {
            if lane.call(|applier| Ok(applier.has_snapshot()))? {
                // Of now, which is later than the one before: what was kept for that is free.
                return Builder::build(&lane, false).map(Some);
            }
            Ok(None)
        })
        .await
    }
}

/// Runs what waits for the disk off the threads that serve requests.
async fn blocking<R: Send + 'static>(
    doing: &'static str,
    call: impl FnOnce() -> Result<R, Fault> + Send + 'static,
) -> Result<R, io::Error> {
    let ran = simulated::blocking(call).await;
    ran.unwrap_or_else(|panic| Err(Fault::new(doing, panic)))
        .map_err(io::Error::other)
}
