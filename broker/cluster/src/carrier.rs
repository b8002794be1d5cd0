//! What one data group accepted for another is carried there by the leader of the first.
//!
//! A carrier for each pair of groups sleeps until its outbox holds something. It commits what waits there in the other
//! group, wherever that is led, and then drops it here. Whatever is not known to have happened is done again: the other
//! group takes everything in once. So it does not matter which node carries, or that two do for a moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_machine::{Cargo, Outbox};
use millrace_model::command::Delivered;
use millrace_model::{Command, Fault, Outcome, Proposal, Refusal, Revision, Unavailable};
use tokio::time::Instant;

use crate::forward::{self, Reply};
use crate::group::Group;
use crate::leadership::Leader;
use crate::node::Node;

/// How long to wait after something could not be carried.
const RETRY: Duration = Duration::from_millis(100);

/// How long a node that does not lead waits before it looks again whether it does.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long the other group may take to adopt the catalog before it is asked again.
const ADOPT_MAX: Duration = Duration::from_secs(1);

/// Carries from `home` to `to` for as long as both live. Nothing to carry costs nothing.
pub(crate) async fn run(node: Arc<Node>, home: Arc<Group>, to: Arc<Group>) {
    let Some(outbox) = home.view.outboxes.get(&to.id) else {
        return;
    };
    let mut outbox = outbox.subscribe();
    loop {
        if outbox.borrow_and_update().rows() == 0 {
            if outbox.changed().await.is_err() {
                return;
            }
            continue;
        }
        if !home.is_leader() {
            let now = home.leader();
            let until = Instant::now() + LOOK_AGAIN;
            home.leadership.change(now, until).await;
        } else if let Err(unavailable) = carry(&node, &home, &to).await {
            tracing::debug!(from = %home.id, to = %to.id, %unavailable, "not carried yet");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Carries until nothing waits. While one cargo is committed there, the one before is dropped here.
async fn carry(node: &Node, home: &Group, to: &Group) -> Result<(), Unavailable> {
    let mut taken = outbox(home, to).first - 1;
    loop {
        let cargo = home
            .applier
            .call(|applier| applier.machine.cargo(to.id, taken))?;
        let is_done = cargo.is_none() && outbox(home, to).first > taken;
        if is_done {
            return Ok(());
        }
        let deliver = async {
            match cargo {
                Some(cargo) => deliver(node, home, to, cargo).await,
                None => Ok(taken),
            }
        };
        let (delivered, dropped) = tokio::join!(deliver, forget(home, to, taken));
        dropped?;
        taken = delivered?;
    }
}

fn outbox(home: &Group, to: &Group) -> Outbox {
    let outbox = home.view.outboxes.get(&to.id);
    outbox.map_or_else(Outbox::default, |outbox| *outbox.borrow())
}

/// Commits a cargo in the other group; the last sequence that it has taken in.
async fn deliver(node: &Node, home: &Group, to: &Group, cargo: Cargo) -> Result<u64, Unavailable> {
    let (first, last, revision) = (cargo.deliver.first, cargo.last(), cargo.deliver.revision);
    let proposal = Proposal {
        payloads: home.payloads.read(&cargo.places)?,
        command: Command::Deliver(cargo.deliver),
    };
    match commit(node, to, proposal).await? {
        // Less than all when it waits for a queue that is handed over to it.
        Outcome::Carried(taken) if taken + 1 >= first => {
            let rows = taken.min(last) + 1 - first;
            home.view.carried.fetch_add(rows, Ordering::Relaxed);
            if taken < first {
                return Err(Unavailable::NotReady("it waits for a queue".into()));
            }
            Ok(taken)
        }
        Outcome::Refused(Refusal::StalePlan(_)) => {
            adopted(to, revision).await;
            Err(Unavailable::NotReady("it adopts the catalog first".into()))
        }
        other => {
            let reason = format!("{first} to {last} came to {other:?}");
            tracing::error!(from = %home.id, to = %to.id, reason, "something is lost between groups");
            Err(Fault::new("carry to another group", reason).into())
        }
    }
}

/// Drops here what was taken in there.
async fn forget(home: &Group, to: &Group, upto: u64) -> Result<(), Unavailable> {
    if outbox(home, to).first > upto {
        return Ok(());
    }
    let delivered = Delivered { to: to.id, upto };
    home.commit(Proposal::bare(Command::Delivered(delivered)))
        .await?;
    Ok(())
}

/// Commits in a group, wherever it is led.
pub(crate) async fn commit(
    node: &Node,
    group: &Group,
    proposal: Proposal,
) -> Result<Outcome, Unavailable> {
    let leader = match group.leader() {
        Leader::Alone | Leader::Here => return node.commit(group.id, proposal).await,
        Leader::At(leader) => leader,
        Leader::Unknown => return Err(Unavailable::NoQuorum),
    };
    let (request, payloads) = forward::commit(group.id, proposal);
    let deadline = node.commit_deadline();
    match forward::ask(&node.peers, leader, &request, payloads, deadline).await {
        Ok((Reply::Outcome(outcome, _), _)) => Ok(outcome),
        Ok((Reply::Unavailable(form), _)) => Err(form.into()),
        Ok(_) | Err(_) => Err(Unavailable::OutcomeUnknown),
    }
}

/// Waits until the group stands at `revision` as far as this node knows; for a while only.
pub(crate) async fn adopted(group: &Group, revision: Revision) {
    let mut stands_at = group.view.revision.subscribe();
    let there = stands_at.wait_for(|stands_at| *stands_at >= revision);
    let _ = tokio::time::timeout(ADOPT_MAX, there).await;
}
