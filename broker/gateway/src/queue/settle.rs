//! `POST /v1/queues/{queue}/ack`, `…/nack` and `…/extend`: what consumers do with their leases.

use std::borrow::Cow;

use http::StatusCode;
use millrace_model::command::{Extend, Nack, Settle};
use millrace_model::outcome::Settled;
use millrace_model::{Command, Outcome, Proposal, QueueId, Receipt, Refusal, limit};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::located::{MOVE_MAX, located, moving};
use super::receive::check_visibility;
use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::json;
use crate::problem::Failure;
use crate::publish::wait;

/// A receipt as it was sent, borrowed from the body.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(value_type = String)]
pub(crate) struct ReceiptText<'a>(#[serde(borrow)] Cow<'a, str>);

/// The body of an ack.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckBody<'a> {
    /// The receipts.
    #[serde(borrow)]
    #[schema(max_items = 1_000)]
    receipts: Vec<ReceiptText<'a>>,
}

/// The body of a nack.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NackBody<'a> {
    /// The receipts.
    #[serde(borrow)]
    #[schema(max_items = 1_000)]
    receipts: Vec<ReceiptText<'a>>,
    /// How long the messages stay away, in seconds.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    delay_seconds: u64,
}

/// The body of an extend.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody<'a> {
    /// The receipts.
    #[serde(borrow)]
    #[schema(max_items = 1_000)]
    receipts: Vec<ReceiptText<'a>>,
    /// The new length of the leases, from now, in seconds; 0 ends them.
    #[schema(minimum = 0, maximum = 43_200)]
    visibility_seconds: u32,
}

/// A receipt that was not settled.
#[derive(Serialize, ToSchema)]
pub(crate) struct FailedReceipt<'a> {
    /// The receipt, as it was sent.
    receipt: &'a str,
    /// `receipt_expired` or `receipt_invalid`; `queue_moving` when the message is still on its way to another group: try
    /// again.
    code: &'static str,
}

/// The answer to an ack.
#[derive(Serialize, ToSchema)]
pub(crate) struct AckAnswer<'a> {
    /// How many messages are done.
    acked: u32,
    /// The other receipts.
    failed: Vec<FailedReceipt<'a>>,
}

/// The answer to a nack.
#[derive(Serialize, ToSchema)]
pub(crate) struct NackAnswer<'a> {
    /// How many messages went back.
    nacked: u32,
    /// The other receipts.
    failed: Vec<FailedReceipt<'a>>,
}

/// The answer to an extend.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExtendAnswer<'a> {
    /// How many leases were set anew.
    extended: u32,
    /// The other receipts.
    failed: Vec<FailedReceipt<'a>>,
}

/// Ends leases: the messages are done.
pub(crate) async fn ack(mut call: Call) -> Result<Response, Failure> {
    let text = json::read(&mut call).await?;
    let body: AckBody<'_> = json::parse(&text)?;
    let command = |queue, receipts| Command::Ack(Settle { queue, receipts });
    let (acked, failed) = settle(&call, &body.receipts, command).await?;
    call.gateway.metrics().flow().acked(acked);
    Ok(json::answer(StatusCode::OK, &AckAnswer { acked, failed }))
}

/// Ends leases: the messages are ready again, now or later.
pub(crate) async fn nack(mut call: Call) -> Result<Response, Failure> {
    let text = json::read(&mut call).await?;
    let body: NackBody<'_> = json::parse(&text)?;
    json::check_range(
        "/delay_seconds",
        body.delay_seconds,
        0,
        limit::DURATION_SECONDS_MAX,
    )?;
    let delay_ms = body.delay_seconds * 1_000;
    let command = |queue, receipts| {
        Command::Nack(Nack {
            queue,
            receipts,
            delay_ms,
        })
    };
    let (nacked, failed) = settle(&call, &body.receipts, command).await?;
    Ok(json::answer(StatusCode::OK, &NackAnswer { nacked, failed }))
}

/// Sets the end of leases anew.
pub(crate) async fn extend(mut call: Call) -> Result<Response, Failure> {
    let text = json::read(&mut call).await?;
    let body: ExtendBody<'_> = json::parse(&text)?;
    check_visibility(body.visibility_seconds)?;
    let visibility_ms = u64::from(body.visibility_seconds) * 1_000;
    let command = |queue, receipts| {
        Command::Extend(Extend {
            queue,
            receipts,
            visibility_ms,
        })
    };
    let (extended, failed) = settle(&call, &body.receipts, command).await?;
    Ok(json::answer(
        StatusCode::OK,
        &ExtendAnswer { extended, failed },
    ))
}

async fn settle<'a>(
    call: &Call,
    texts: &'a [ReceiptText<'a>],
    command: impl Fn(QueueId, Vec<Receipt>) -> Command,
) -> Result<(u32, Vec<FailedReceipt<'a>>), Failure> {
    call.query()?;
    if texts.len() > limit::RECEIVE_MESSAGES_MAX as usize {
        let detail = format!(
            "a request may have {} receipts",
            limit::RECEIVE_MESSAGES_MAX
        );
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Failure::new(status, "batch_too_large", detail).at("/receipts"));
    }
    let mut failed = Vec::new();
    let mut open = Vec::with_capacity(texts.len());
    for (ordinal, text) in texts.iter().enumerate() {
        match text.0.parse() {
            Ok(receipt) => open.push((ordinal, receipt)),
            Err(_) => failed.push((ordinal, Refusal::ReceiptInvalid)),
        }
    }
    let done = if open.is_empty() {
        // The queue must be there all the same.
        call.queue(&*call.topology().await?)?;
        0
    } else {
        settle_all(call, open, &command, &mut failed).await?
    };
    failed.sort_unstable_by_key(|(ordinal, _)| *ordinal);
    let shown = failed.iter().map(|(ordinal, refusal)| FailedReceipt {
        receipt: &texts[*ordinal].0,
        code: refusal.code(),
    });
    Ok((done, shown.collect()))
}

/// Settles receipts; those whose entries are still on their way to another group again, for a while. Gives how many were
/// settled; the others fail.
async fn settle_all(
    call: &Call,
    mut open: Vec<(usize, Receipt)>,
    command: &impl Fn(QueueId, Vec<Receipt>) -> Command,
    failed: &mut Vec<(usize, Refusal)>,
) -> Result<u32, Failure> {
    let until = Instant::now() + MOVE_MAX;
    let (mut done, mut attempt) = (0, 0);
    loop {
        let settled = match settle_once(call, &open, command).await {
            Ok(settled) => settled,
            // Some of it is done, which must be told.
            Err(_) if attempt > 0 => {
                failed.extend(open.iter().map(|(ordinal, _)| (*ordinal, moving(call))));
                return Ok(done);
            }
            Err(failure) => return Err(failure),
        };
        done += settled.done;
        let refused = settled.failed.into_iter();
        let refused = refused.map(|(at, refusal)| (open[at as usize], refusal));
        let is_last = Instant::now() >= until;
        let (again, over): (Vec<_>, Vec<_>) = refused
            .partition(|(_, refusal)| matches!(refusal, Refusal::QueueMoving(_)) && !is_last);
        failed.extend(over.into_iter().map(|((ordinal, _), why)| (ordinal, why)));
        if again.is_empty() {
            return Ok(done);
        }
        open = again.into_iter().map(|(receipt, _)| receipt).collect();
        attempt += 1;
        wait(attempt).await;
    }
}

async fn settle_once(
    call: &Call,
    open: &[(usize, Receipt)],
    command: &impl Fn(QueueId, Vec<Receipt>) -> Command,
) -> Result<Settled, Failure> {
    let gateway = &call.gateway;
    let outcome = located(call, |_, queue| async move {
        let receipts = open.iter().map(|(_, receipt)| *receipt).collect();
        let proposal = Proposal::bare(command(queue.id, receipts));
        gateway.try_commit(queue.group, proposal).await
    });
    match outcome.await? {
        Outcome::Settled(settled) => Ok(settled),
        other => Err(unexpected(&other)),
    }
}
