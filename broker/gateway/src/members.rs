//! `GET /v1/cluster` and what changes the members: `…/members`, `…/transfer`.

use http::StatusCode;
use millrace_model::GroupId;
use millrace_model::ledger::{ChangeError, GroupStatus, MemberChange, MemberStatus, NodeFormats};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::Response;
use crate::call::Call;
use crate::json;
use crate::problem::Failure;

/// Largest number of a node.
pub(crate) const NODE_MAX: u64 = i32::MAX as u64;

/// Longest address of a node, in bytes: the longest name of a host, and a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// When a client that was turned away should come back, in seconds.
const RETRY_SECONDS: u32 = 1;

/// The node and its groups.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cluster {
    /// The node that answers.
    node: u64,
    /// The format version of the cluster, as applied on this node. Features of a newer one are off.
    format_version: u16,
    /// What the members support, as far as this node has heard.
    nodes: Vec<Node>,
    /// Its groups.
    groups: Vec<Group>,
}

/// What the broker of a node supports.
#[derive(Serialize, ToSchema)]
pub(crate) struct Node {
    /// The node.
    node: u64,
    /// The oldest format that it reads and writes; `null` while it was not heard of.
    format_version_min: Option<u16>,
    /// The newest.
    format_version_max: Option<u16>,
}

/// One group.
#[derive(Serialize, ToSchema)]
pub(crate) struct Group {
    /// Its number; 0 holds the catalog.
    id: u32,
    /// Its leader, if one is known.
    leader: Option<u64>,
    /// Its term.
    term: u64,
    /// Index of the last entry applied on this node.
    applied: u64,
    /// Its members.
    members: Vec<Member>,
}

/// One member of a group.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    /// The node.
    node: u64,
    /// `leader`, `follower`, `learner` or `candidate`.
    state: String,
    /// Index of the last entry known to be on it.
    match_index: Option<u64>,
}

/// A node to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddBody {
    /// Its number.
    #[schema(minimum = 1, maximum = 2147483647)]
    node: u64,
    /// Where its peers reach it, `HOST:PORT`.
    #[schema(min_length = 3, max_length = 260)]
    address: String,
}

/// Who is to lead.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferBody {
    /// The node, which has a vote.
    #[schema(minimum = 1, maximum = 2147483647)]
    node: u64,
    /// The group; all groups when there is none.
    group: Option<u32>,
}

/// Shows the node and the groups, each as its leader sees it.
pub(crate) async fn show(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let status = call.gateway.ledger().cluster().await;
    let member = |member: MemberStatus| Member {
        node: member.node,
        state: member.state,
        match_index: member.match_index,
    };
    let group = |group: GroupStatus| Group {
        id: group.id.0,
        leader: group.leader,
        term: group.term,
        applied: group.applied,
        members: group.members.into_iter().map(member).collect(),
    };
    let node = |formats: NodeFormats| Node {
        node: formats.node,
        format_version_min: formats.range.map(|(min, _)| min.0),
        format_version_max: formats.range.map(|(_, max)| max.0),
    };
    let cluster = Cluster {
        node: status.node,
        format_version: status.version.0,
        nodes: status.nodes.into_iter().map(node).collect(),
        groups: status.groups.into_iter().map(group).collect(),
    };
    Ok(json::answer(StatusCode::OK, &cluster))
}

/// Adds a node: 202, since it catches up before it has a vote.
pub(crate) async fn add(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let AddBody { node, address } = json::body(&mut call).await?;
    json::check_range("/node", node, 1, NODE_MAX)?;
    let is_address = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_address || address.len() > ADDRESS_BYTES_MAX {
        let failure = Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_address",
            "an address is HOST:PORT",
        );
        return Err(failure.at("/address"));
    }
    change(&call, MemberChange::Add { node, address }).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Removes a node.
pub(crate) async fn remove(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let node = call.param("node").parse().ok();
    let node = node.filter(|node| (1..=NODE_MAX).contains(node));
    let node = node.ok_or_else(|| {
        Failure::bad_request("invalid_node", "a node is a whole number from 1").at("node")
    })?;
    change(&call, MemberChange::Remove { node }).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Hands the leadership over.
pub(crate) async fn transfer(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let TransferBody { node, group } = json::body(&mut call).await?;
    json::check_range("/node", node, 1, NODE_MAX)?;
    let group = group.map(GroupId);
    change(&call, MemberChange::Transfer { node, group }).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn change(call: &Call, change: MemberChange) -> Result<(), Failure> {
    Ok(call.gateway.ledger().change_members(change).await?)
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "node_not_found", detail),
            ChangeError::Conflict(_) => Self::new(StatusCode::CONFLICT, "cluster_conflict", detail),
            ChangeError::Unreachable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "node_unreachable", detail)
            }
            ChangeError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_quorum", detail)
                    .retry_after(RETRY_SECONDS)
            }
        }
    }
}
