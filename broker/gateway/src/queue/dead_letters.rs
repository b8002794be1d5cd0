//! `POST /v1/queues/{queue}/redrive` and `…/purge`.

use http::StatusCode;
use millrace_model::catalog::Queue;
use millrace_model::command::{Redrive, RedriveAcross};
use millrace_model::{Command, Name, Outcome, Proposal, Refusal, Topology, limit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::located::located;
use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::json;
use crate::problem::Failure;

/// The body of a redrive.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedriveBody {
    /// Where to, in place of the queues that the dead letters came from.
    to: Option<Name>,
    /// Most messages.
    #[schema(minimum = 1, maximum = 1_000)]
    max: u32,
}

impl Default for RedriveBody {
    fn default() -> Self {
        Self {
            to: None,
            max: limit::REDRIVE_MESSAGES_MAX,
        }
    }
}

/// A body without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// The answer to a redrive.
#[derive(Serialize, ToSchema)]
pub(crate) struct MovedAnswer {
    /// How many messages were moved.
    moved: u64,
}

/// The answer to a purge.
#[derive(Serialize, ToSchema)]
pub(crate) struct PurgedAnswer {
    /// How many messages were dropped.
    purged: u64,
}

/// Moves dead letters back.
pub(crate) async fn redrive(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let body: RedriveBody = json::body(&mut call).await?;
    json::check_range(
        "/max",
        body.max.into(),
        1,
        limit::REDRIVE_MESSAGES_MAX.into(),
    )?;
    call.fresh().await?;
    let (gateway, body) = (&call.gateway, &body);
    let outcome = located(&call, |topology, queue| async move {
        let command = command(&topology, &queue, body)?;
        gateway
            .try_commit(queue.group, Proposal::bare(command))
            .await
    });
    match outcome.await? {
        Outcome::Redriven(moved) => Ok(json::answer(StatusCode::OK, &MovedAnswer { moved })),
        other => Err(unexpected(&other)),
    }
}

fn command(topology: &Topology, queue: &Queue, body: &RedriveBody) -> Result<Command, Failure> {
    let to = body
        .to
        .as_ref()
        .map(|name| match topology.queues.get(name) {
            Some(queue) => Ok(queue),
            None => Err(Refusal::QueueNotFound(name.to_string())),
        });
    let to = to.transpose()?;
    let redrive = Redrive {
        queue: queue.id,
        to: to.map(|to| to.id),
        max: body.max,
    };
    let Some(to) = to.filter(|to| to.group != queue.group) else {
        return Ok(Command::Redrive(redrive));
    };
    // As deliveries do: to where a queue that moves comes from, which sends it on; or is sent on from here.
    let group = Some(to.delivered_to()).filter(|group| *group != queue.group);
    Ok(Command::RedriveAcross(RedriveAcross {
        redrive,
        group: group.unwrap_or(to.group),
        revision: topology.revision,
    }))
}

/// Drops everything in a queue.
pub(crate) async fn purge(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let NoFields {} = json::body(&mut call).await?;
    let gateway = &call.gateway;
    let outcome = located(&call, |_, queue| async move {
        let proposal = Proposal::bare(Command::Purge(queue.id));
        gateway.try_commit(queue.group, proposal).await
    });
    match outcome.await? {
        Outcome::Purged(purged) => Ok(json::answer(StatusCode::OK, &PurgedAnswer { purged })),
        other => Err(unexpected(&other)),
    }
}
