//! The version gate: the cluster writes a newer format when all of its members can read it, and not before.
//!
//! Each node tells in its hello which formats it supports. When all members of group 0, learners too, have supported a
//! newer one for a while, its leader lets each of them write that down (`prepare`): from then on no older broker starts
//! on their data, and no node that does not support it is added. Then it proposes the raise, which every node applies as
//! a revision of the catalog. So nothing of a version is in any log before all who may get it have it written down.
//!
//! **Invariant**: applied version <= version written down <= newest version supported, on every node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use millrace_model::command::CatalogCommand;
use millrace_model::ledger::ChangeError;
use millrace_model::{Command, Fault, Feature, FormatVersion, GroupId, Proposal, Unavailable};
use millrace_store::tables::TableStore;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::forward::{self, Reply, Request};
use crate::group::Group;
use crate::members::{self, GroupChange};
use crate::node::Node;
use crate::peer::hello::{self, Purpose};
use crate::peer::standing::Standing;
use crate::types::Member;

/// How often it is looked whether the version can be raised.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a member may take to write a version down.
const PREPARE_MAX: Duration = Duration::from_secs(2);

/// What a node supports, and where it stands. Follows hello and welcome from version 2 on; a node of version 1 reads
/// over it, and says nothing of the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    /// The oldest format that it reads and writes.
    pub(crate) min: FormatVersion,
    /// The newest.
    pub(crate) max: FormatVersion,
    /// The newest that its data may hold.
    pub(crate) recorded: FormatVersion,
    /// That of the cluster, as applied by it.
    pub(crate) cluster: FormatVersion,
}

impl Versions {
    /// The oldest that whoever talks to it must understand.
    pub(crate) fn oldest(&self) -> FormatVersion {
        self.min.max(self.cluster)
    }

    /// The oldest that a node to be added must support.
    pub(crate) fn needed(&self) -> FormatVersion {
        self.oldest().max(self.recorded)
    }
}

/// Writes down each version that is applied here, and raises it while this node leads group 0; for as long as the node
/// lives.
pub(crate) async fn run(node: Arc<Node>) {
    let mut catalog = node.meta.view.revision.subscribe();
    let mut supported = None;
    loop {
        if let Err(fault) = note_applied(&node) {
            tracing::error!(%fault, "the format version of the cluster is not written down");
        }
        supported = consider(&node, supported).await;
        tokio::select! {
            _ = catalog.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Takes over what is applied here. It is written down already, unless a snapshot brought it.
///
/// # Errors
/// A [`Fault`] when this node does not support it, or cannot write it down.
pub(crate) fn note_applied(node: &Node) -> Result<(), Fault> {
    let version = node.topology.load().version;
    node.peers.standing.set_version(version)?;
    allow_pages(&node.peers.standing, &node.tables);
    Ok(())
}

/// Lets tables write what only a node of the version reads that is written down here. What is written down may be ahead of what
/// is applied; no older broker starts on the data since then.
pub(crate) fn allow_pages(standing: &Standing, tables: &TableStore) {
    if standing.versions().recorded.has(Feature::PagedRows) {
        tables.pages().allow();
    }
}

/// A version that all members support, and since when.
type Supported = Option<(FormatVersion, Instant)>;

async fn consider(node: &Node, before: Supported) -> Supported {
    let common = common(node).await?;
    let since = match before {
        Some((version, since)) if version == common => since,
        _ => Instant::now(),
    };
    if since.elapsed() < node.options.version_steady {
        return Some((common, since));
    }
    match raise(node, common).await {
        Ok(()) => tracing::info!(version = %common, "the format version of the cluster is raised"),
        Err(error) => {
            tracing::warn!(version = %common, %error, "the format version is not raised yet");
        }
    }
    None
}

/// The newest version that all members support now, if it is newer than the cluster's and this node leads group 0.
async fn common(node: &Node) -> Option<FormatVersion> {
    let standing = &node.peers.standing;
    if !node.meta.is_leader() {
        return None;
    }
    let others = others(node).await.ok()?;
    let mut common = standing.versions().max;
    for other in others {
        let seen = standing.seen(other).filter(|_| node.peers.reaches(other))?;
        common = common.min(seen.max);
    }
    (common > node.topology.load().version).then_some(common)
}

/// All other members of group 0, learners too.
async fn others(node: &Node) -> Result<BTreeSet<u64>, Unavailable> {
    let (mut members, _) = node.meta.members().await?;
    members.remove(&node.options.node);
    Ok(members)
}

/// Lets all members write `to` down, this node first: from then on it adds nobody who does not support it. Then raises.
async fn raise(node: &Node, to: FormatVersion) -> Result<(), Unavailable> {
    let _gate = node.peers.standing.gate.lock().await;
    node.peers.standing.record(to)?;
    let others = others(node).await?;
    let prepared = others.iter().map(|other| prepare(node, *other, to));
    for prepared in join_all(prepared).await {
        prepared?;
    }
    let raise = Command::Catalog(CatalogCommand::RaiseVersion { to });
    node.commit(GroupId::META, Proposal::bare(raise)).await?;
    Ok(())
}

async fn prepare(node: &Node, other: u64, version: FormatVersion) -> Result<(), Unavailable> {
    let (request, deadline) = (Request::Prepare { version }, Instant::now() + PREPARE_MAX);
    match forward::ask(&node.peers, other, &request, Vec::new(), deadline).await {
        Ok((Reply::Prepared, _)) => Ok(()),
        Ok((Reply::Unavailable(form), _)) => Err(form.into()),
        Ok(_) | Err(_) => {
            let reason = format!("node {other} has not written it down");
            Err(Unavailable::NotReady(reason))
        }
    }
}

/// Changes the members of a group that this node leads. Whoever is added must support what the members have written
/// down, which stands still meanwhile.
///
/// # Errors
/// As [`members::change`]; a newcomer that is not there, or too old.
pub(crate) async fn change_members(
    node: &Node,
    group: &Arc<Group>,
    change: GroupChange,
) -> Result<(), ChangeError> {
    let _gate = match &change {
        // A newcomer may lead group 0 by the time that its addition to the other groups is tried again: it is no newcomer
        // here any more, and nobody greets itself.
        GroupChange::Add(newcomer, member)
            if group.id == GroupId::META && *newcomer != node.peers.standing.node =>
        {
            let gate = node.peers.standing.gate.lock().await;
            check_newcomer(node, *newcomer, member).await?;
            Some(gate)
        }
        _ => None,
    };
    members::change(group, change).await
}

async fn check_newcomer(node: &Node, newcomer: u64, member: &Member) -> Result<(), ChangeError> {
    let standing = &node.peers.standing;
    let known = Some(member.incarnation);
    let hello = standing.hello(newcomer, known, Purpose::Greeting);
    let greeted = hello::greet(&member.address, &hello).await;
    let (_, welcome) = greeted.map_err(|error| {
        let address = &member.address;
        ChangeError::Unreachable(format!("node {newcomer} at {address}: {error}"))
    })?;
    standing.check_newcomer(newcomer, &welcome.versions)
}
