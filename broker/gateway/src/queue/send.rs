//! `POST /v1/queues/{queue}/messages`.

use std::sync::Arc;

use millrace_model::catalog::{Moving, Queue};
use millrace_model::command::{Deduplication, Send};
use millrace_model::outcome::Accepted;
use millrace_model::{
    Answer, Command, DeduplicationKey, Outcome, Proposal, Query as Question, QueueId, Refusal,
};

use super::located::located;
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
    let place = ["/queues/", queue.name.as_str()].concat();
    let intake = intake::read(&mut call, &place, queue.queue.config.event_bytes_max()).await?;
    let (slots, going) = sort(intake.events);
    let results = if going.stored.is_empty() {
        Vec::new()
    } else {
        let (going, instructions) = (&going, &intake.instructions);
        located(&call, |_, queue| {
            commit(&gateway, queue, going, instructions)
        })
        .await?
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
    queue: Arc<Queue>,
    going: &Going,
    instructions: &Instructions,
) -> Result<Result<Vec<Result<Accepted, Refusal>>, Refusal>, Failure> {
    let window_ms = queue.queue.config.deduplication_seconds * 1_000;
    let key = instructions.deduplication.filter(|_| window_ms > 0);
    let leaves = queue.moving.filter(|moving| moving.leaves);
    if let Some((moving, key)) = leaves.zip(key) {
        match remembered(gateway, queue.id, moving, key).await? {
            Ok(None) => {}
            Ok(Some(results)) => return Ok(Ok(results)),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let command = Command::Send(Send {
        queue: queue.id,
        deduplication: key.map(|key| Deduplication { key, window_ms }),
        delay_ms: instructions.delay_ms,
    });
    let payloads = going.stored.clone();
    let proposal = Proposal { command, payloads };
    match gateway.try_commit(queue.group, proposal).await? {
        Ok(Outcome::Accepted(results)) => Ok(Ok(results)),
        Ok(other) => Err(unexpected(&other)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// What a request with the same key came to in the group that the queue leaves: its keys are handed over last.
async fn remembered(
    gateway: &Gateway,
    queue: QueueId,
    moving: Moving,
    key: DeduplicationKey,
) -> Result<Result<Option<Vec<Result<Accepted, Refusal>>>, Refusal>, Failure> {
    let question = Question::Remembered { queue, key };
    match gateway.ledger().query(moving.from, question).await? {
        Answer::Remembered(results) => Ok(Ok(results)),
        Answer::Refused(refusal) => Ok(Err(refusal)),
        _ => Err(Failure::internal("a key was answered with something else")),
    }
}
