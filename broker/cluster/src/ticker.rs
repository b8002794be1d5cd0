//! What falls due is proposed by the leader, and only then.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Command, Proposal, Timestamp};

use crate::group::Group;

/// Longest sleep before the clock is looked at again: it may go a little faster or slower than the timer.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long to wait after a tick could not be proposed.
const RETRY: Duration = Duration::from_millis(200);

/// Proposes ticks for as long as the group lives. Nothing due costs nothing.
pub(crate) async fn run(group: Arc<Group>) {
    let mut due = group.view.due.subscribe();
    loop {
        let at = *due.borrow_and_update();
        let now = group.clock.now();
        if at > now {
            let sleep = if at == Timestamp::MAX {
                None
            } else {
                Some(Duration::from_millis(at.since(now)))
            };
            tokio::select! {
                changed = due.changed() => if changed.is_err() { return },
                () = sleep_for(sleep) => {}
            }
            continue;
        }
        if !group.is_leader() || !tick(&group).await {
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn sleep_for(sleep: Option<Duration>) {
    match sleep {
        // One millisecond more: the timer must not fire before the due time of the coarser clock.
        Some(sleep) => tokio::time::sleep(sleep.min(SLEEP_MAX) + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

async fn tick(group: &Group) -> bool {
    let outcome = group.commit(Proposal::bare(Command::Tick)).await;
    if let Err(unavailable) = &outcome {
        tracing::debug!(group = %group.id, %unavailable, "the tick was not applied");
    }
    outcome.is_ok()
}
