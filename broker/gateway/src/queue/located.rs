//! Finds a queue in whatever group it is, again while it moves.
//!
//! The catalog of this node may be behind, and a queue that moves is in no group for a moment: the one that it leaves
//! serves it no more, the other one does not yet. What either refuses for that was not done, and is tried again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::catalog::Queue;
use millrace_model::{Refusal, Topology};
use tokio::time::Instant;

use crate::call::Call;
use crate::problem::Failure;
use crate::publish::wait;

/// How long a request waits for a queue that moves. The group that it leaves may have to elect a leader first, which takes
/// two seconds.
pub(super) const MOVE_MAX: Duration = Duration::from_secs(5);

/// Does something with the queue that the path names, where it is.
///
/// # Errors
/// What `work` comes to, 404 `queue_not_found`, or 503 `queue_moving`.
pub(super) async fn located<T, F>(
    call: &Call,
    work: impl Fn(Arc<Topology>, Arc<Queue>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<Result<T, Refusal>, Failure>>,
{
    let has_groups = call.gateway.ledger().data_groups().len() > 1;
    let mut topology = call.topology().await?;
    let mut until = None;
    let mut attempt = 0;
    loop {
        let begun = Instant::now();
        let queue = Arc::clone(call.queue(&topology)?);
        let number = queue.id.to_string();
        // Handed on whole: a long poll must not keep an old catalog alive.
        let refusal = match work(topology, queue).await? {
            Ok(done) => return Ok(done),
            // The groups know its number alone.
            Err(Refusal::QueueMoving(_)) => moving(call),
            // The catalog knows it, or did: then the next one says that it is gone.
            Err(Refusal::QueueNotFound(it)) if has_groups && it == number => moving(call),
            Err(refusal) => refusal,
        };
        let may_be_elsewhere = has_groups
            && matches!(
                refusal,
                Refusal::QueueMoving(_) | Refusal::QueueNotFound(_) | Refusal::StalePlan(_)
            );
        if begun.elapsed() >= MOVE_MAX {
            // A long poll that was served all that time.
            (until, attempt) = (None, 0);
        }
        let until = *until.get_or_insert_with(|| Instant::now() + MOVE_MAX);
        if !may_be_elsewhere || Instant::now() >= until {
            return Err(refusal.into());
        }
        attempt += 1;
        wait(attempt).await;
        topology = call.fresh().await?;
    }
}

/// The refusal of what is on the way with the queue that the path names.
pub(super) fn moving(call: &Call) -> Refusal {
    Refusal::QueueMoving(call.param("queue").to_owned())
}
