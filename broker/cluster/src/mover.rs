//! A queue that leaves a data group is handed over by that group's leader to the group that it moves to.
//!
//! It leaves when the other group says that it is ready, and is served until then: a group without a majority keeps nobody
//! from a queue that is not there yet.
//!
//! What it hands over stands still there, and what was taken over is known where it goes: so a part is read, committed in
//! the other group, and its answer says what comes next. Nothing is kept here: whoever leads next asks again. When the
//! other group has everything, group 0 is told that the move is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_machine::{Departure, Portion};
use millrace_model::command::{CatalogCommand, Part};
use millrace_model::outcome::Taken;
use millrace_model::{
    Command, Fault, GroupId, Outcome, Proposal, QueueId, Refusal, Revision, Unavailable,
};
use tokio::time::Instant;

use crate::carrier::{adopted, commit};
use crate::group::Group;
use crate::node::Node;

/// How long to wait after something could not be handed over.
const RETRY: Duration = Duration::from_millis(100);

/// How long a node that does not lead waits before it looks again whether it does.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long this group may take to adopt the next step of a move before it is looked at again.
const ADOPT_MAX: Duration = Duration::from_secs(1);

/// Hands over what leaves `home`, for as long as it lives. Nothing that is to leave costs nothing.
pub(crate) async fn run(node: Arc<Node>, home: Arc<Group>) {
    let mut departures = home.view.departures.subscribe();
    let mut catalog = node.meta.view.revision.subscribe();
    loop {
        catalog.borrow_and_update();
        let leaving = departures.borrow_and_update().clone();
        let bound = bound(&node, &home);
        if leaving.is_empty() && bound.is_empty() {
            tokio::select! {
                changed = departures.changed() => if changed.is_err() { return },
                changed = catalog.changed() => if changed.is_err() { return },
            }
            continue;
        }
        if !home.is_leader() {
            let until = Instant::now() + LOOK_AGAIN;
            home.leadership.change(home.leader(), until).await;
            continue;
        }
        let done = async {
            let_leave(&node, &home, bound).await?;
            hand_over(&node, &home, &leaving).await
        };
        match done.await {
            Ok(()) => {
                let _ = tokio::time::timeout(ADOPT_MAX, departures.changed()).await;
            }
            Err(unavailable) => {
                tracing::debug!(from = %home.id, %unavailable, "not handed over yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The queues of each move that are to leave `home`, and where they go.
type Bound = BTreeMap<Revision, (GroupId, Vec<QueueId>)>;

fn bound(node: &Node, home: &Group) -> Bound {
    let topology = node.topology.load();
    let mut moves = Bound::new();
    for (queue, moving) in topology.placement.bound() {
        if moving.from == home.id {
            let (_, queues) = moves
                .entry(moving.revision)
                .or_insert_with(|| (moving.to, vec![]));
            queues.push(queue);
        }
    }
    moves
}

/// Lets queues leave when their new group is ready for all of a move. Before, they are served where they are.
async fn let_leave(node: &Node, home: &Group, bound: Bound) -> Result<(), Unavailable> {
    for (revision, (to, queues)) in bound {
        let to = node.group(to)?;
        let ask = home
            .applier
            .call(|applier| Ok(applier.machine.ask_part(revision, queues)))?;
        if take_over(node, home, to, ask)
            .await?
            .contains(&Taken::Waits)
        {
            return Err(waits());
        }
        tell(node, CatalogCommand::Leave { revision }).await?;
    }
    Ok(())
}

/// Hands over everything that leaves, one move after the other.
async fn hand_over(node: &Node, home: &Group, leaving: &[Departure]) -> Result<(), Unavailable> {
    let moves: BTreeSet<_> = leaving.iter().map(|it| it.revision).collect();
    for revision in moves {
        let first = leaving.iter().find(|it| it.revision == revision);
        let to = node.group(first.expect("it is one of theirs").to)?;
        let begin = home
            .applier
            .call(|applier| Ok(applier.machine.begin_part(revision)))?;
        let begun = begun(&begin);
        let taken = take_over(node, home, to, begin).await?;
        for (queue, taken) in begun.into_iter().zip(taken) {
            hand_queue_over(node, home, to, queue, taken).await?;
        }
        tell(node, CatalogCommand::EndMove { revision }).await?;
    }
    Ok(())
}

/// Tells group 0 how far a move is.
async fn tell(node: &Node, command: CatalogCommand) -> Result<(), Unavailable> {
    commit(node, &node.meta, Proposal::bare(Command::Catalog(command))).await?;
    Ok(())
}

fn waits() -> Unavailable {
    Unavailable::NotReady("left-overs of an earlier stay go first".into())
}

/// The queues of a beginning, in its order.
fn begun(portion: &Portion) -> Vec<QueueId> {
    match &portion.take_over.part {
        Part::Begin(queues) => queues.iter().map(|leaving| leaving.queue).collect(),
        Part::Entries { .. } | Part::Keys { .. } | Part::Ask(_) => vec![],
    }
}

/// Hands over one queue, from where it stands in the other group to its end.
async fn hand_queue_over(
    node: &Node,
    home: &Group,
    to: &Group,
    queue: QueueId,
    mut taken: Taken,
) -> Result<(), Unavailable> {
    loop {
        if taken == Taken::Waits {
            return Err(waits());
        }
        let next = home
            .applier
            .call(|applier| applier.machine.next_part(queue, taken))?;
        let Some(portion) = next else {
            return Ok(());
        };
        let answered = take_over(node, home, to, portion).await?;
        taken = answered.first().copied().unwrap_or(Taken::Done);
    }
}

/// Commits a part in the other group: what comes next.
async fn take_over(
    node: &Node,
    home: &Group,
    to: &Group,
    portion: Portion,
) -> Result<Vec<Taken>, Unavailable> {
    let (revision, entries) = (portion.take_over.revision, portion.places.len() as u64);
    let proposal = Proposal {
        payloads: home.payloads.read(&portion.places)?,
        command: Command::TakeOver(portion.take_over),
    };
    match commit(node, to, proposal).await? {
        Outcome::TakenOver(taken) => {
            home.view.handed_over.fetch_add(entries, Ordering::Relaxed);
            Ok(taken)
        }
        Outcome::Refused(Refusal::StalePlan(_)) => {
            adopted(to, revision).await;
            Err(Unavailable::NotReady("it adopts the catalog first".into()))
        }
        other => {
            let reason = format!("a part of a move came to {other:?}");
            tracing::error!(from = %home.id, to = %to.id, reason, "a queue is not taken over");
            Err(Fault::new("hand a queue over", reason).into())
        }
    }
}
