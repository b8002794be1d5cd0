//! `POST /v1/queues/{queue}/redrive` and `…/purge`.

use http::StatusCode;
use millrace_model::command::{Redrive, RedriveAcross};
use millrace_model::{Command, Name, Outcome, Proposal, Refusal, limit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    let topology = call.fresh().await?;
    let queue = call.queue(&topology)?;
    let to = body.to.map(|name| match topology.queues.get(&name) {
        Some(queue) => Ok(queue),
        None => Err(Refusal::QueueNotFound(name.to_string())),
    });
    let to = to.transpose()?;
    let redrive = Redrive {
        queue: queue.id,
        to: to.map(|to| to.id),
        max: body.max,
    };
    let command = match to.filter(|to| to.group != queue.group) {
        Some(to) => Command::RedriveAcross(RedriveAcross {
            redrive,
            group: to.group,
            revision: topology.revision,
        }),
        None => Command::Redrive(redrive),
    };
    match call
        .gateway
        .commit(queue.group, Proposal::bare(command))
        .await?
    {
        Outcome::Redriven(moved) => Ok(json::answer(StatusCode::OK, &MovedAnswer { moved })),
        other => Err(unexpected(&other)),
    }
}

/// Drops everything in a queue.
pub(crate) async fn purge(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let NoFields {} = json::body(&mut call).await?;
    let topology = call.topology().await?;
    let queue = call.queue(&topology)?;
    let proposal = Proposal::bare(Command::Purge(queue.id));
    match call.gateway.commit(queue.group, proposal).await? {
        Outcome::Purged(purged) => Ok(json::answer(StatusCode::OK, &PurgedAnswer { purged })),
        other => Err(unexpected(&other)),
    }
}
