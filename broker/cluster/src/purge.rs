//! The log is purged by bytes, not by entries.

use std::sync::Arc;

use crate::group::Group;

/// Takes a snapshot, which lets openraft purge the log, whenever `bytes` of bodies were applied since the last one.
pub(crate) async fn run(group: Arc<Group>, bytes: u64) {
    let mut applied = group.view.applied_bytes.subscribe();
    let mut next = bytes;
    while applied.wait_for(|applied| *applied >= next).await.is_ok() {
        if let Err(fatal) = group.raft.trigger().snapshot().await {
            tracing::error!(group = %group.id, %fatal, "no snapshot can be taken");
            return;
        }
        next = *applied.borrow() + bytes;
    }
}
