//! Moves queues to other groups, under load: as operators ask for it, at whatever node.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::catalog::{Moving, Queue};
use millrace_model::command::CatalogCommand;
use millrace_model::{Command, GroupId, Ledger as _, Outcome, Proposal, Refusal};
use tokio::time::Instant;

use crate::client::{Client, below, name, pause, percent};
use crate::places::QUEUES;
use crate::plant::Plant;
use crate::scene::Phase;

/// Longest time from the end of a move to the next, at one node.
const PAUSE_MS: u64 = 4_000;

/// How long an operator looks at a move.
const LOOK_MS: u64 = 6_000;

impl Client {
    pub(crate) async fn move_queues(self) {
        while self.phase() != Phase::Done && self.scene.groups > 1 {
            pause(PAUSE_MS).await;
            if self.phase() == Phase::Load && self.topology().is_some() {
                self.move_one().await;
            }
        }
    }

    /// Moves a queue, and looks at it until it is there; or wants it somewhere else before that.
    async fn move_one(&self) {
        let queue = QUEUES[usize::try_from(below(QUEUES.len() as u64)).unwrap()];
        let Some(moving) = self.ask_for(queue, self.any_group()).await else {
            return;
        };
        if percent(25) {
            pause(150).await;
            // Back, to where it goes already, or on to another one.
            self.ask_for(queue, self.any_group()).await;
        }
        if self.scene.is_planted(Plant::End) {
            self.end_at_once(moving).await;
        }
        self.look_on(queue, moving).await;
    }

    fn any_group(&self) -> GroupId {
        let groups = self.cluster.data_groups();
        groups[usize::try_from(below(groups.len() as u64)).unwrap()]
    }

    /// Asks for a move; the move, if the queue is on the way then.
    async fn ask_for(&self, queue: &str, to: GroupId) -> Option<Moving> {
        let command = CatalogCommand::MoveQueue {
            name: name(queue),
            to,
        };
        let proposal = Proposal::bare(Command::Catalog(command));
        let answered = self.try_commit(GroupId::META, proposal).await;
        match answered {
            Ok(Ok(Outcome::Queue { queue: found, .. })) => {
                self.tell_asked(&found, to);
                found.moving
            }
            Ok(Err(Refusal::MoveInProgress(_))) | Err(_) => None,
            Ok(other) => {
                self.scene
                    .object(format!("a move of {queue} got {other:?}"));
                None
            }
        }
    }

    fn tell_asked(&self, queue: &Queue, to: GroupId) {
        let (node, name, is_in) = (self.node, &queue.name, queue.group);
        if queue.target() != to {
            let target = queue.target();
            self.scene.object(format!(
                "{name} was asked to move to group {to}, and goes to {target}"
            ));
        }
        self.scene.tell(format!(
            "node {node}: {name} is to be in group {to}, and is in {is_in}"
        ));
        if queue.moving.is_some() {
            self.scene.is_moved.set(true);
        }
    }

    /// Looks until the queue is in its new group, for a while.
    async fn look_on(&self, queue: &str, moving: Moving) {
        let until = Instant::now() + Duration::from_millis(LOOK_MS);
        while Instant::now() < until {
            pause(200).await;
            if self.cluster.fresh().await.is_err() {
                continue;
            }
            let found = Arc::clone(&self.cluster.topology().queues[&name(queue)]);
            if found.moving == Some(moving) || found.moving.is_some_and(|it| it.leaves) {
                continue;
            }
            let (node, is_in) = (self.node, found.group);
            self.scene
                .tell(format!("node {node}: {queue} has come to group {is_in}"));
            let has_come = is_in == moving.to;
            self.scene.note_move(moving.revision, has_come);
            return;
        }
    }

    /// Says that a move is over although its queues have not come.
    async fn end_at_once(&self, moving: Moving) {
        let revision = moving.revision;
        for command in [
            CatalogCommand::Leave { revision },
            CatalogCommand::EndMove { revision },
        ] {
            let proposal = Proposal::bare(Command::Catalog(command));
            while self
                .cluster
                .commit(GroupId::META, proposal.clone())
                .await
                .is_err()
            {
                pause(100).await;
            }
        }
    }
}
