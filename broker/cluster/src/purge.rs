//! The log is purged by bytes, not by entries.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;

use crate::group::Group;

/// Bytes of log that stay behind a snapshot when the group has other members, 64 MiB: a follower that was away for a
/// moment goes on from the log, one that was away for longer gets a snapshot. Counted in whole segments. What rows refer
/// to, and what a replay needs, stays anyway: see `millrace_store::refs`.
const KEEP_BYTES: u64 = if cfg!(simulation) {
    256 << 10
} else {
    64 << 20
};

/// How long is waited for a snapshot to be built: until the tables are flushed.
const BUILD_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Takes a snapshot and purges the log behind it whenever `bytes` of bodies were applied since the last one.
pub(crate) async fn run(group: Arc<Group>, bytes: u64) {
    let mut applied = group.view.applied_bytes.subscribe();
    let mut next = bytes;
    while applied.wait_for(|applied| *applied >= next).await.is_ok() {
        next = *applied.borrow() + bytes;
        if let Err(fatal) = snapshot_and_purge(&group).await {
            tracing::error!(group = %group.id, %fatal, "no snapshot can be taken");
            return;
        }
    }
}

async fn snapshot_and_purge(
    group: &Group,
) -> Result<(), openraft::errors::Fatal<crate::types::TypeConfig>> {
    let wanted = group
        .view
        .applied
        .load(std::sync::atomic::Ordering::Acquire);
    group.raft.trigger().snapshot().await?;
    let built = async {
        loop {
            let snapshot = snapshot_index(group);
            if snapshot.is_some_and(|index| index >= wanted) {
                return snapshot;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // What is late is purged along with the next one.
    let Ok(Some(index)) = tokio::time::timeout(BUILD_PATIENCE, built).await else {
        tracing::warn!(group = %group.id, "a snapshot is not built yet; the log stays as it is");
        return Ok(());
    };
    match upto(group, index) {
        Some(upto) => group.raft.trigger().purge_log(upto).await,
        None => Ok(()),
    }
}

fn snapshot_index(group: &Group) -> Option<u64> {
    let metrics = group.raft.metrics();
    let snapshot = metrics.borrow_watched().snapshot.as_ref()?.index;
    Some(snapshot)
}

/// The last entry that may go, of those up to `snapshot`.
fn upto(group: &Group, snapshot: u64) -> Option<u64> {
    let metrics = group.raft.metrics();
    let members = metrics
        .borrow_watched()
        .membership_config
        .membership()
        .nodes()
        .count();
    if members <= 1 {
        return Some(snapshot);
    }
    let before = group.log.before_last_bytes(KEEP_BYTES)?;
    Some(before.min(snapshot))
}
