//! `POST /v1/queues/{queue}/messages`.

use std::sync::Arc;

use millrace_model::catalog::Queue;
use millrace_model::command::{Deduplication, Send};
use millrace_model::outcome::Accepted;
use millrace_model::{Command, Outcome, Proposal, Refusal};

use crate::Gateway;
use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::intake::{self, Instructions};
use crate::problem::Failure;
use crate::publish::{Going, Receipt, of_queue, respond, sort};

/// Sends events to a queue.
pub(crate) async fn send(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let gateway = call.gateway.clone();
    let topology = call.topology().await?;
    let queue = Arc::clone(call.queue(&topology)?);
    let place = format!("/queues/{}", queue.name);
    let intake = intake::read(&mut call, &place, queue.queue.config.event_bytes_max()).await?;
    let (slots, going) = sort(intake.events);
    let results = if going.stored.is_empty() {
        Vec::new()
    } else {
        commit(&gateway, &queue, &going, &intake.instructions).await?
    };
    if results.len() != going.stored.len() {
        return Err(Refusal::KeyReused.into());
    }
    let receipt = |result: Result<Accepted, Refusal>| Receipt {
        result: result.map_err(Failure::from),
        explained: Vec::new(),
        parked: 0,
    };
    let receipts: Vec<_> = results.into_iter().map(receipt).collect();
    gateway.metrics().flow().sent(&receipts);
    respond(&slots, &going, &receipts, intake.is_batch, of_queue)
}

async fn commit(
    gateway: &Gateway,
    queue: &Queue,
    going: &Going,
    instructions: &Instructions,
) -> Result<Vec<Result<Accepted, Refusal>>, Failure> {
    let window_ms = queue.queue.config.deduplication_seconds * 1_000;
    let key = instructions.deduplication.filter(|_| window_ms > 0);
    let command = Command::Send(Send {
        queue: queue.id,
        deduplication: key.map(|key| Deduplication { key, window_ms }),
        delay_ms: instructions.delay_ms,
    });
    let payloads = going.stored.clone();
    match gateway
        .commit(queue.group, Proposal { command, payloads })
        .await?
    {
        Outcome::Accepted(results) => Ok(results),
        other => Err(unexpected(&other)),
    }
}
