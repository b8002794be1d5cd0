//! A node that was removed hears so from the leader: whoever is no member gets no entry that would tell it.
//!
//! While it knows that it was removed it says so, and does not stand for election. What a leader said counts for a while
//! only: a removal that was not agreed on after all must not keep a voter from being elected.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::GroupId;
use tokio::time::Instant;

use crate::forward::{self, Reply, Request};
use crate::leadership::Leader;
use crate::node::Node;

/// How often a node that does not lead asks whether it is a member.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long an answer counts.
const COUNTS_FOR: Duration = Duration::from_secs(10);

/// Asks again and again whether this node is a member, for as long as it lives.
pub(crate) async fn run(node: Arc<Node>) {
    let mut removed_at = None;
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        removed_at = match is_member(&node).await {
            Some(true) => None,
            Some(false) => Some(Instant::now()),
            None => removed_at.filter(|at| at.elapsed() < COUNTS_FOR),
        };
        note(&node, removed_at.is_some());
    }
}

fn note(node: &Node, is_removed: bool) {
    if !node.peers.standing.set_removed(is_removed) {
        return;
    }
    for group in node.groups() {
        group.raft.runtime_config().elect(!is_removed);
    }
    if is_removed {
        tracing::warn!("this node was removed from the cluster");
    } else {
        tracing::info!("this node is a member of the cluster again, or nobody says that it is not");
    }
}

/// What the leader of group 0 says; `None` when there is none that can say.
async fn is_member(node: &Node) -> Option<bool> {
    let standing = &node.peers.standing;
    if standing.cluster().borrow().is_none() {
        return None;
    }
    let leader = match node.meta.leader() {
        Leader::Here | Leader::Alone => return Some(true),
        Leader::At(leader) => Some(leader),
        Leader::Unknown => None,
    };
    let members = standing.members();
    let others = members.keys().copied().filter(|one| *one != standing.node);
    // The one that is believed to lead first: most often it does.
    let mut others: Vec<_> = others.collect();
    others.sort_by_key(|other| Some(*other) != leader);
    for other in others {
        if let Some(is_member) = ask(node, other).await {
            return Some(is_member);
        }
    }
    None
}

/// What `other` says, if it leads.
async fn ask(node: &Node, other: u64) -> Option<bool> {
    let group = GroupId::META;
    let Reply::Status(status) = answer(node, other, &Request::Status { group }).await? else {
        return None;
    };
    if status.leader != Some(other) {
        return None;
    }
    let mut members = status.members.iter();
    if members.any(|member| member.node == node.options.node) {
        return Some(true);
    }
    // A leader that leads no more does not know who is a member: is it sure?
    match answer(node, other, &Request::ReadIndex { group }).await? {
        Reply::Index(_) => Some(false),
        _ => None,
    }
}

async fn answer(node: &Node, other: u64, request: &Request) -> Option<Reply> {
    let deadline = Instant::now() + ANSWER_MAX;
    let answered = forward::ask(&node.peers, other, request, Vec::new(), deadline).await;
    answered.ok().map(|(reply, _)| reply)
}
