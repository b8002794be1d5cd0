//! `POST /v1/cluster/move`: a queue moves to another data group, with all that dead letters tie to it.

use std::sync::Arc;

use http::StatusCode;
use millrace_model::catalog::Queue;
use millrace_model::command::CatalogCommand;
use millrace_model::{
    Answer, Feature, GroupId, Ledger, Name, Query as Question, Refusal, Topology,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::Response;
use crate::call::Call;
use crate::json;
use crate::problem::Failure;

/// A queue and where it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveBody {
    /// The queue.
    queue: Name,
    /// The data group, from 1.
    #[schema(minimum = 1)]
    group: u32,
}

/// How a move stands. The same request again asks for it.
#[derive(Serialize, ToSchema)]
pub(crate) struct MoveAnswer<'a> {
    /// The queue.
    queue: &'a Name,
    /// The group that it moves to, or is in.
    group: u32,
    /// Whether it is still on the way.
    is_moving: bool,
    /// Where it comes from, while it moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    from: Option<u32>,
    /// All queues that move with it, itself included; dead letters tie them together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    queues: Vec<&'a Name>,
    /// How many of their entries are not there yet; `null` when that cannot be told now.
    entries_left: Option<u64>,
}

/// A move as the queue shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct MoveView {
    /// The group that it comes from.
    from: u32,
    /// The group that it goes to.
    to: u32,
    /// How many of its entries are not handed over yet; absent in lists, `null` when that cannot be told now.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_left: Option<Option<u64>>,
}

impl MoveView {
    /// The move of a queue, if it moves.
    pub(crate) fn of(queue: &Queue) -> Option<Self> {
        let moving = queue.moving?;
        Some(Self {
            from: moving.from.0,
            to: moving.to.0,
            entries_left: None,
        })
    }

    /// The same, with what is left.
    pub(crate) async fn counted(ledger: &dyn Ledger, queue: &Queue) -> Option<Self> {
        let mut view = Self::of(queue)?;
        view.entries_left = Some(entries_left(ledger, queue).await);
        Some(view)
    }
}

/// Moves a queue: 202 while it is on the way, 200 when it is there.
pub(crate) async fn start(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let MoveBody { queue, group } = json::body(&mut call).await?;
    let to = GroupId(group);
    let mut topology = call.fresh().await?;
    let present = find(&topology, &queue)?;
    if present.target() != to {
        check(&call, &topology, to)?;
        let name = queue.clone();
        let command = CatalogCommand::MoveQueue { name, to };
        call.gateway.change(command).await?;
        topology = call.fresh().await?;
    }
    let queue = find(&topology, &queue)?;
    let answer = answer(&call, &topology, queue).await;
    let status = if answer.is_moving {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok(json::answer(status, &answer))
}

fn find<'a>(topology: &'a Topology, name: &Name) -> Result<&'a Arc<Queue>, Failure> {
    let queue = topology.queues.get(name);
    queue.ok_or_else(|| Refusal::QueueNotFound(name.to_string()).into())
}

/// Whether queues can move here, and to that group.
fn check(call: &Call, topology: &Topology, to: GroupId) -> Result<(), Failure> {
    let groups = call.gateway.ledger().data_groups();
    if groups.len() < 2 {
        let detail = "there is one data group, so a queue has nowhere to go: a cluster that is created with --groups 2 or more has several";
        return Err(Failure::new(StatusCode::CONFLICT, "single_group", detail));
    }
    if !groups.contains(&to) {
        let detail = format!(
            "there is no data group {to}: they are 1 to {}",
            groups.len()
        );
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Failure::new(status, "unknown_group", detail).at("/group"));
    }
    if !topology.has(Feature::QueueMoves) {
        let needed = Feature::QueueMoves.since();
        let detail = format!(
            "not all nodes know how to move queues (format {needed}; the cluster writes format {}): finish the upgrade, see `millrace cluster status`",
            topology.version
        );
        return Err(Failure::new(StatusCode::CONFLICT, "upgrade_first", detail));
    }
    Ok(())
}

async fn answer<'a>(call: &Call, topology: &'a Topology, queue: &'a Queue) -> MoveAnswer<'a> {
    let together = topology.queues.values();
    let together = together.filter(|it| it.moving.is_some() && it.moving == queue.moving);
    let together: Vec<_> = together.collect();
    let mut left = Some(0_u64);
    for queue in &together {
        let more = entries_left(call.gateway.ledger(), queue).await;
        left = left.zip(more).map(|(left, more)| left + more);
    }
    MoveAnswer {
        queue: &queue.name,
        group: queue.target().0,
        is_moving: queue.moving.is_some(),
        from: queue.moving.map(|moving| moving.from.0),
        queues: together.iter().map(|queue| &queue.name).collect(),
        entries_left: left,
    }
}

/// How many entries of a queue are not where it moves to, if that can be told.
async fn entries_left(ledger: &dyn Ledger, queue: &Queue) -> Option<u64> {
    if queue.moving.is_some_and(|moving| !moving.leaves) {
        let counters = Question::Counters(queue.id);
        return match ledger.query(queue.group, counters).await {
            Ok(Answer::Counters(it)) => Some(it.ready + it.leased + it.delayed),
            _ => None,
        };
    }
    // Before the new group has begun with it, all are where they were.
    for group in [queue.group, queue.delivered_to()] {
        let left = ledger.query(group, Question::Moving(queue.id)).await;
        if let Ok(Answer::Moving(left)) = left {
            return Some(left);
        }
    }
    None
}
