//! Who the members of a group are: added, promoted, removed; and who leads it. Done by the group's leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_model::ledger::ChangeError;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::group::Group;
use crate::leadership::Leader;
use crate::types::{Member, TypeConfig};

/// Entries that a learner may lack when it becomes a voter: it has the rest in a blink.
const LAG_MAX: u64 = 256;

/// How long a transfer of the leadership may take.
const TRANSFER_MAX: Duration = Duration::from_secs(5);

/// How long one step of a change of members may take.
const STEP_MAX: Duration = Duration::from_secs(10);

/// How often it is looked how far others are.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A change of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GroupChange {
    /// A node becomes a learner, and a voter when it has caught up.
    Add(u64, Member),
    /// A node is no member any more.
    Remove(u64),
    /// A voter leads from now on.
    Transfer(u64),
}

type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// Changes a group that this node leads.
///
/// # Errors
/// [`ChangeError`].
pub(crate) async fn change(group: &Arc<Group>, change: GroupChange) -> Result<(), ChangeError> {
    match change {
        GroupChange::Add(node, member) => add(group, node, member).await,
        GroupChange::Remove(node) => remove(group, node).await,
        GroupChange::Transfer(node) => transfer(group, node, TRANSFER_MAX).await,
    }
}

/// The members, and which of them vote; refuses while a change is under way.
fn settled(group: &Group) -> Result<(BTreeMap<u64, Member>, BTreeSet<u64>), ChangeError> {
    let metrics = group.raft.server_metrics().borrow_watched().clone();
    let membership = metrics.membership_config.membership();
    let is_committed = metrics.membership_config == metrics.committed_membership_config;
    if membership.get_joint_config().len() > 1 || !is_committed {
        let reason = format!("a change of the members of group {} is under way", group.id);
        return Err(ChangeError::Conflict(reason));
    }
    let nodes = membership.nodes();
    let members = nodes.map(|(node, member)| (*node, member.clone()));
    Ok((members.collect(), membership.voter_ids().collect()))
}

async fn add(group: &Arc<Group>, node: u64, member: Member) -> Result<(), ChangeError> {
    let (members, voters) = settled(group)?;
    match members.get(&node) {
        Some(known) if *known != member => {
            let reason = format!(
                "node {node} is a member with other data or another address: remove it first"
            );
            return Err(ChangeError::Conflict(reason));
        }
        Some(_) if voters.contains(&node) => {
            let reason = format!("node {node} is a member of group {} already", group.id);
            return Err(ChangeError::Conflict(reason));
        }
        Some(_) => {}
        None => {
            let nodes = ChangeMembers::AddNodes(BTreeMap::from([(node, member)]));
            propose(group, nodes, true).await?;
        }
    }
    let group = Arc::clone(group);
    tokio::spawn(promote(group, node));
    Ok(())
}

/// Gives a learner a vote when it has caught up; ends when it has one, is no member, or this node leads no more. The
/// next leader goes on, see [`adopt_learners`].
async fn promote(group: Arc<Group>, node: u64) {
    while group.leadership.is_here() {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok((members, voters)) = settled(&group) else {
            continue;
        };
        if voters.contains(&node) || !members.contains_key(&node) {
            return;
        }
        if lag(&group, node).is_none_or(|lag| lag > LAG_MAX) {
            continue;
        }
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        match propose(&group, voters, true).await {
            Ok(()) => tracing::info!(group = %group.id, node, "has caught up and votes"),
            Err(error) => tracing::warn!(group = %group.id, node, %error, "has no vote yet"),
        }
    }
}

/// Goes on with what an earlier leader has begun: a change of voters in two steps, and learners that catch up.
pub(crate) fn take_over(group: &Arc<Group>) {
    tokio::spawn(finish(Arc::clone(group)));
    for node in group.raft.learner_ids() {
        tokio::spawn(promote(Arc::clone(group), node));
    }
}

/// Tells the others where this node is reached, when its own list says something else than they know: it was alone
/// before, or has moved.
pub(crate) fn correct_address(group: &Arc<Group>, address: Option<&String>) {
    if let Some(address) = address {
        tokio::spawn(correct(Arc::clone(group), address.clone()));
    }
}

async fn correct(group: Arc<Group>, address: String) {
    let node = group_node(&group);
    while group.leadership.is_here() {
        if let Ok((members, _)) = settled(&group) {
            let Some(known) = members.get(&node).filter(|known| known.address != address) else {
                return;
            };
            let incarnation = known.incarnation;
            let address = address.clone();
            let corrected = Member {
                address,
                incarnation,
            };
            let nodes = ChangeMembers::SetNodes(BTreeMap::from([(node, corrected)]));
            if let Err(error) = propose(&group, nodes, true).await {
                tracing::warn!(group = %group.id, %error, "the address of this node is not corrected");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Does the second step of a change of voters that was broken off after the first.
async fn finish(group: Arc<Group>) {
    while group.leadership.is_here() {
        let metrics = group.raft.server_metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let is_committed = metrics.membership_config == metrics.committed_membership_config;
        if membership.get_joint_config().len() < 2 && is_committed {
            return;
        }
        if is_committed {
            let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
            let finished = group.raft.change_membership(nothing, false);
            let finished = tokio::time::timeout(STEP_MAX, finished).await;
            if let Ok(Err(error)) = finished {
                tracing::warn!(group = %group.id, %error, "a change of voters is not finished yet");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Entries of the leader's log that `node` is not known to have.
fn lag(group: &Group, node: u64) -> Option<u64> {
    let status = group.status();
    let at = |node| {
        let mut members = status.members.iter();
        members.find(|member| member.node == node)?.match_index
    };
    Some(at(group_node(group))?.saturating_sub(at(node)?))
}

fn group_node(group: &Group) -> u64 {
    *group.raft.node_id()
}

async fn remove(group: &Arc<Group>, node: u64) -> Result<(), ChangeError> {
    let (members, voters) = settled(group)?;
    if !members.contains_key(&node) {
        return Err(ChangeError::NotFound(node));
    }
    if !voters.contains(&node) {
        let nodes = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
        return propose(group, nodes, false).await;
    }
    let rest: BTreeSet<u64> = voters.into_iter().filter(|voter| *voter != node).collect();
    if rest.is_empty() {
        let reason = format!("node {node} is the only member of group {}", group.id);
        return Err(ChangeError::Conflict(reason));
    }
    let alive = wait_for_majority(group, &rest).await;
    if alive * 2 <= rest.len() {
        let reason = format!(
            "without node {node} only {alive} of {} voters of group {} would answer: no majority; bring another back first",
            rest.len(),
            group.id
        );
        return Err(ChangeError::Conflict(reason));
    }
    if node == group_node(group) {
        // Its successor removes it: a leader that removed itself would have to step down, and nobody would lead.
        let to = successor(group);
        let to = to.ok_or_else(|| ChangeError::Conflict("no other voter is up to date".into()))?;
        transfer(group, to, TRANSFER_MAX).await?;
        return Err(ask_again(group));
    }
    propose(
        group,
        ChangeMembers::RemoveVoters(BTreeSet::from([node])),
        false,
    )
    .await
}

/// How many of `voters` answer. One that has just come back is given the time to answer its first heartbeat.
async fn wait_for_majority(group: &Group, voters: &BTreeSet<u64>) -> usize {
    const HEARD_MAX: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + HEARD_MAX;
    loop {
        let alive = voters.iter().filter(|voter| is_alive(group, **voter));
        let alive = alive.count();
        if alive * 2 > voters.len() || Instant::now() >= deadline {
            return alive;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a voter has answered a heartbeat within the last few.
fn is_alive(group: &Group, voter: u64) -> bool {
    const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
    if voter == group_node(group) {
        return true;
    }
    let metrics = group.raft.metrics().borrow_watched().clone();
    let heartbeats = metrics.heartbeat.unwrap_or_default();
    let last = heartbeats.get(&voter).and_then(|at| at.as_ref());
    last.is_some_and(|at| at.elapsed() < ANSWERED_WITHIN)
}

/// The voter with the longest log, of those that answer.
pub(crate) fn successor(group: &Group) -> Option<u64> {
    let (_, voters) = settled(group).ok()?;
    let others = group.status().members.into_iter().filter(|member| {
        member.node != group_node(group)
            && voters.contains(&member.node)
            && is_alive(group, member.node)
    });
    let best = others.max_by_key(|member| member.match_index)?;
    Some(best.node)
}

/// The other voters that answer and lack next to nothing: any of them can lead at once.
pub(crate) fn up_to_date(group: &Group) -> Vec<u64> {
    let Ok((_, voters)) = settled(group) else {
        return Vec::new();
    };
    let own = group_node(group);
    let others = voters.into_iter().filter(|voter| *voter != own);
    let ready = others.filter(|voter| is_alive(group, *voter));
    ready
        .filter(|voter| lag(group, *voter).is_some_and(|lag| lag <= LAG_MAX))
        .collect()
}

/// Hands the leadership to `to`.
///
/// # Errors
/// [`ChangeError`] when it has no vote, does not answer, or does not lead in time.
pub(crate) async fn transfer(
    group: &Arc<Group>,
    to: u64,
    patience: Duration,
) -> Result<(), ChangeError> {
    let (members, voters) = settled(group)?;
    if !members.contains_key(&to) {
        return Err(ChangeError::NotFound(to));
    }
    if to == group_node(group) {
        // Only who asks by hand asks the leader itself.
        group.wish();
        return Ok(());
    }
    if !voters.contains(&to) || !is_alive(group, to) {
        let reason = format!(
            "node {to} has no vote in group {} or does not answer",
            group.id
        );
        return Err(ChangeError::Conflict(reason));
    }
    let stopped =
        |fatal: openraft::errors::Fatal<TypeConfig>| ChangeError::Unavailable(fatal.to_string());
    group
        .raft
        .trigger()
        .transfer_leader(to)
        .await
        .map_err(stopped)?;
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match group.leader() {
            Leader::At(leader) if leader == to => return Ok(()),
            // The one that was to lead was not fast enough. Openraft's leader leads no more once it has begun to hand
            // over, so another one was elected, who can hand over in turn.
            Leader::At(_) => return Err(ask_again(group)),
            now => group.leadership.change(now, deadline).await,
        }
    }
    let reason = format!("node {to} does not lead group {} yet", group.id);
    Err(ChangeError::Unavailable(reason))
}

/// Ends the sentence of a refusal after which another leader is to be asked.
pub(crate) const ASK_AGAIN: &str = "another node leads now: ask again";

fn ask_again(group: &Group) -> ChangeError {
    ChangeError::Unavailable(format!("group {}: {ASK_AGAIN}", group.id))
}

/// A change of voters takes two steps, so it goes on by itself when whoever asked for it goes away. One that fails in between may
/// leave this node the leader: it was about to hand over, took no second step meanwhile, and leads on since nobody took over.
/// Then it is finished as after a change of leaders. Half done, it would stand in the way of every other one until the next.
async fn propose(
    group: &Arc<Group>,
    change: ChangeMembers<u64, Member>,
    retain: bool,
) -> Result<(), ChangeError> {
    let own = Arc::clone(group);
    let proposed = tokio::spawn(async move {
        let changed = own.raft.change_membership(change, retain).await;
        let changed = changed.map(|_| ()).map_err(|error| refusal(&own, error));
        if let Err(ChangeError::Unavailable(_)) = &changed {
            tokio::spawn(finish(own));
        }
        changed
    });
    match tokio::time::timeout(STEP_MAX, proposed).await {
        Ok(Ok(changed)) => changed,
        Ok(Err(panic)) => Err(ChangeError::Unavailable(format!(
            "group {}: {panic}",
            group.id
        ))),
        Err(_) => {
            let reason = format!("group {} has not finished in time and goes on", group.id);
            Err(ChangeError::Unavailable(reason))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an error is taken apart")]
fn refusal(group: &Group, error: WriteError) -> ChangeError {
    match &error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_),
        )) => {
            let reason = format!("a change of the members of group {} is under way", group.id);
            ChangeError::Conflict(reason)
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => {
            ChangeError::Conflict(format!("group {}: {error}", group.id))
        }
        _ => ChangeError::Unavailable(format!("group {}: {error}", group.id)),
    }
}
