//! Leaders of data groups are spread over the nodes.
//!
//! Whoever is elected first would lead everything: one node would write every entry and answer every request. A node
//! that leads at least two data groups more than another voter hands one of them over, one at a time and only when all
//! has been quiet for a while. The difference shrinks with every step and stays below two then, so it ends. Groups that a node was
//! made the leader of by hand stay there for ten minutes, or until it leads them no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::GroupId;

use crate::group::Group;
use crate::leadership::Leader;
use crate::members;
use crate::node::Node;

/// How often a node looks whether it leads too much. After this long without a change of leaders all is quiet.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long handing one group over may take.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// Spreads leaders for as long as the node lives. One data group has nothing to be spread.
pub(crate) async fn run(node: Arc<Node>) {
    if node.data.len() < 2 {
        return;
    }
    let mut before = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = leaders(&node);
        if now == before
            && let Some((group, to)) = choose(&node, &now)
        {
            match members::transfer(&group, to, HAND_OVER_MAX).await {
                Ok(()) => tracing::info!(group = %group.id, to, "handed over to spread leaders"),
                Err(error) => tracing::debug!(group = %group.id, to, %error, "not handed over"),
            }
        }
        before = now;
    }
}

/// The leader of each data group; a group without one is left out.
fn leaders(node: &Node) -> BTreeMap<GroupId, u64> {
    let own = node.options.node;
    let leaders = node.data.iter().filter_map(|group| {
        let leader = match group.leader() {
            Leader::Alone | Leader::Here => own,
            Leader::At(leader) => leader,
            Leader::Unknown => return None,
        };
        Some((group.id, leader))
    });
    leaders.collect()
}

/// A group to hand over, and to whom: the voter that leads least, if it is up to date.
fn choose(node: &Node, leaders: &BTreeMap<GroupId, u64>) -> Option<(Arc<Group>, u64)> {
    if leaders.len() < node.data.len() {
        return None;
    }
    let own = node.options.node;
    let led = |node: u64| leaders.values().filter(|leader| **leader == node).count();
    let groups = node.data.iter();
    let groups = groups.filter(|group| leaders[&group.id] == own && !group.is_wished());
    groups
        .filter_map(|group| {
            let ready = members::up_to_date(group);
            let to = ready.into_iter().min_by_key(|node| (led(*node), *node))?;
            (led(to) + 2 <= led(own)).then(|| (Arc::clone(group), to))
        })
        .next_back()
}
