//! Data groups follow the catalog.
//!
//! A change of the catalog is committed in group 0; the leader of each data group then proposes what concerns it, with
//! the catalog's revision. From that entry on the group refuses plans made against an older revision, so a change is
//! in force everywhere when the request that made it is answered. The same path closes a gap left by a crash.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::command::{Adopt, CatalogCommand};
use millrace_model::{Command, Fault, Proposal, Revision, Unavailable};

use tokio::time::Instant;

use crate::group::Group;
use crate::leadership::Leader;

/// How long to wait after news could not be proposed.
const RETRY: Duration = Duration::from_millis(200);

/// How long a leader may take to be sure that it leads.
const SURE_MAX: Duration = Duration::from_secs(1);

/// Revisions after which group 0 forgets news that every data group has adopted.
const NEWS_KEPT: u64 = 256;

/// Keeps `data` at the revision of `meta`, for as long as both live.
pub(crate) async fn follow(meta: Arc<Group>, data: Arc<Group>) {
    let mut catalog = meta.view.revision.subscribe();
    loop {
        let (wanted, have) = (*catalog.borrow_and_update(), *data.view.revision.borrow());
        if wanted <= have {
            if catalog.changed().await.is_err() {
                return;
            }
            continue;
        }
        if !data.is_leader() {
            tokio::time::sleep(RETRY).await;
        } else if let Err(unavailable) = adopt(&meta, &data, have).await {
            tracing::debug!(group = %data.id, %unavailable, "the group did not adopt the catalog");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// The leader of `data` may be another node than that of `meta`: what is told is what is applied here of both. A new
/// leader first applies all that its predecessors have committed, or it would tell what was told already.
async fn adopt(meta: &Group, data: &Group, have: Revision) -> Result<(), Unavailable> {
    if data.leader() != Leader::Alone {
        data.linear(Instant::now() + SURE_MAX).await?;
    }
    let have = have.max(*data.view.revision.borrow());
    let news = news(meta, have, data.id)?;
    data.commit(Proposal::bare(Command::Adopt(news))).await?;
    Ok(())
}

fn news(meta: &Group, after: Revision, group: millrace_model::GroupId) -> Result<Adopt, Fault> {
    meta.applier
        .call(|applier| applier.machine.news(after, group))
}

/// Ready when every group of `data` stands at `revision` or later.
///
/// # Errors
/// [`Unavailable::OutcomeUnknown`] when that takes too long: the change is committed, and will be adopted later.
pub(crate) async fn adopted(
    data: &[Arc<Group>],
    revision: Revision,
    patience: Duration,
) -> Result<(), Unavailable> {
    let all = async {
        for group in data {
            let mut stands_at = group.view.revision.subscribe();
            stands_at
                .wait_for(|stands_at| *stands_at >= revision)
                .await
                .map_err(|_| Unavailable::OutcomeUnknown)?;
        }
        Ok(())
    };
    tokio::time::timeout(patience, all)
        .await
        .unwrap_or(Err(Unavailable::OutcomeUnknown))
}

/// Drops news that every data group has adopted, from time to time.
pub(crate) async fn forget(meta: Arc<Group>, data: Vec<Arc<Group>>) {
    let mut catalog = meta.view.revision.subscribe();
    let mut forgotten = Revision(0);
    while catalog.changed().await.is_ok() {
        let adopted = data
            .iter()
            .map(|group| *group.view.revision.borrow())
            .min()
            .unwrap_or_default();
        if adopted.0 < forgotten.0 + NEWS_KEPT || !meta.is_leader() {
            continue;
        }
        let forget = CatalogCommand::Forget { upto: adopted };
        if meta
            .commit(Proposal::bare(Command::Catalog(forget)))
            .await
            .is_ok()
        {
            forgotten = adopted;
        }
    }
}
