//! Changes of the members and leaders of all groups, and how all groups stand.

use std::time::Duration;

use millrace_model::ledger::{ChangeError, GroupStatus, MemberChange};
use millrace_model::{GroupId, Unavailable};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::forward::{Reply, Request};
use crate::group::Group;
use crate::leadership::Leader;
use crate::members::{self, GroupChange};
use crate::peer::connection::Broken;
use crate::peer::hello::{self, Purpose};
use crate::request::ASK_AGAIN;
use crate::types::Member;
use crate::version;

/// How long the status of a group is waited for.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// How long a change of members of one group may take, at its leader and on the way.
const CHANGE_MAX: Duration = Duration::from_secs(20);

impl Cluster {
    pub(crate) async fn status_of(&self, group: &Group) -> GroupStatus {
        if let Leader::At(leader) = group.leader() {
            let request = Request::Status { group: group.id };
            let deadline = Instant::now() + STATUS_MAX;
            if let Ok((Reply::Status(status), _)) =
                self.ask_safely(leader, &request, deadline).await
            {
                let applied = group.status().applied;
                return GroupStatus { applied, ..status };
            }
        }
        group.status()
    }

    pub(crate) async fn change_members_in(&self, change: MemberChange) -> Result<(), ChangeError> {
        let mut groups: Vec<_> = self.node.groups().cloned().collect();
        let removes = matches!(change, MemberChange::Remove { .. });
        let change = match change {
            MemberChange::Add { node, address } => {
                GroupChange::Add(node, self.probe(node, address).await?)
            }
            MemberChange::Remove { node } => {
                // Group 0 last, and not before all others have let it go: while a node is a member there, connections to it are kept.
                groups.reverse();
                GroupChange::Remove(node)
            }
            MemberChange::Transfer { node, group } => {
                groups.retain(|one| group.is_none_or(|group| one.id == group));
                if groups.is_empty() {
                    return Err(ChangeError::Conflict("there is no such group".to_owned()));
                }
                GroupChange::Transfer(node)
            }
        };
        let mut done = 0;
        let mut refused = None;
        for group in &groups {
            // A group that has it still may be led by it, and would lose its leader's connections and keep its heartbeats.
            let kept = refused.as_ref().is_some_and(|error| !is_repeat(error));
            if removes && group.id == GroupId::META && kept {
                break;
            }
            match self.change_in(group, change.clone()).await {
                Ok(()) => done += 1,
                // A change that was cut off before is finished: some groups have it already.
                Err(error @ (ChangeError::Conflict(_) | ChangeError::NotFound(_))) => {
                    // What is unfinished in one group must not hide behind what another has had before: whoever hears
                    // that a node is no member takes it away, and its vote with it.
                    if refused.as_ref().is_none_or(is_repeat) {
                        refused = Some(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if done == 0 || !is_repeat(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn change_in(&self, group: &Group, change: GroupChange) -> Result<(), ChangeError> {
        let deadline = Instant::now() + CHANGE_MAX;
        let mut outcome = self.change_once(group, change.clone(), deadline).await;
        // A leader that was to be removed has handed over, or another one was elected than was to lead.
        while matches!(&outcome, Err(ChangeError::Unavailable(reason)) if reason.ends_with(members::ASK_AGAIN))
            && Instant::now() < deadline
        {
            tokio::time::sleep(ASK_AGAIN).await;
            outcome = self.change_once(group, change.clone(), deadline).await;
        }
        if matches!((&change, &outcome), (GroupChange::Transfer(_), Ok(()))) {
            // Asked of the new leader itself, the same means that it is to stay: `balance` leaves it alone. That it is not told, since
            // it leads no more or cannot be reached, makes the transfer no less done.
            let told = self.change_once(group, change, deadline).await;
            if let Err(error) = told {
                tracing::info!(group = %group.id, %error, "the new leader may not stay");
            }
        }
        outcome
    }

    async fn change_once(
        &self,
        group: &Group,
        change: GroupChange,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let here = self.node.group(group.id);
        let here = here.map_err(|error| ChangeError::Unavailable(error.to_string()))?;
        let attempt = |leader| {
            let change = change.clone();
            async move {
                let Some(leader) = leader else {
                    return Ok(version::change_members(&self.node, here, change).await);
                };
                let group = group.id;
                let request = Request::Change { group, change };
                match self.ask(leader, &request, Vec::new(), deadline).await {
                    Ok((Reply::Changed(changed), _)) => Ok(changed),
                    Ok((Reply::Unavailable(form), _)) => Err(form.into()),
                    Err(Broken::Unsent) => Err(Unavailable::NoQuorum),
                    Err(Broken::Overloaded) => Err(Unavailable::Overloaded),
                    Ok(_) | Err(Broken::Lost) => Err(Unavailable::OutcomeUnknown),
                }
            }
        };
        let changed = self.with_leader(group, deadline, attempt).await;
        changed.map_err(|error| ChangeError::Unavailable(error.to_string()))?
    }

    /// Looks whether the node to be added waits at its address, and which data it has.
    async fn probe(&self, node: u64, address: String) -> Result<Member, ChangeError> {
        if node == 0 || node == self.standing.node {
            let reason = format!("node {node} cannot be added: it is this node, or no number");
            return Err(ChangeError::Conflict(reason));
        }
        if !self.listens {
            let reason = "this node does not listen for peers: start it with --cluster N=HOST:PORT, naming itself";
            return Err(ChangeError::Conflict(reason.to_owned()));
        }
        let hello = self.standing.hello(node, None, Purpose::Greeting);
        let unreachable = |reason: String| {
            ChangeError::Unreachable(format!("node {node} at {address}: {reason}"))
        };
        let (_, welcome) = hello::greet(&address, &hello)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        if welcome
            .cluster
            .is_some_and(|theirs| Some(theirs) != *self.standing.cluster().borrow())
        {
            return Err(unreachable("it belongs to another cluster".to_owned()));
        }
        self.standing.check_newcomer(node, &welcome.versions)?;
        let incarnation = welcome.incarnation;
        Ok(Member {
            address,
            incarnation,
        })
    }
}

/// Whether a refusal only says that the group has had the change before.
fn is_repeat(error: &ChangeError) -> bool {
    match error {
        ChangeError::NotFound(_) => true,
        ChangeError::Conflict(reason) => reason.ends_with("already"),
        ChangeError::Unreachable(_) | ChangeError::Unavailable(_) => false,
    }
}
