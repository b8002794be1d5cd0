//! `POST /v1/queues/{queue}/receive`: leases messages, waiting for the first if asked to.

use std::io::Write as _;
use std::time::Duration;

use http::StatusCode;
use millrace_model::command::Receive;
use millrace_model::ledger::Message;
use millrace_model::{GroupId, Refusal, limit};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::located::located;
use crate::Gateway;
use crate::body::Response;
use crate::call::Call;
use crate::problem::Failure;
use crate::{json, rfc3339};

/// The body of a receive.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReceiveBody {
    /// Most messages.
    #[schema(minimum = 1, maximum = 1_000)]
    max: u32,
    /// How long to wait for the first, in seconds; the queue's when absent.
    #[schema(minimum = 0, maximum = 30)]
    wait_seconds: Option<u32>,
    /// Length of the leases, in seconds; the queue's when absent.
    #[schema(minimum = 0, maximum = 43_200)]
    visibility_seconds: Option<u32>,
}

impl Default for ReceiveBody {
    fn default() -> Self {
        Self {
            max: 1,
            wait_seconds: None,
            visibility_seconds: None,
        }
    }
}

/// The answer to a receive. It is put together from the stored events as they are; this shows its form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents text that is written by hand")]
pub(crate) struct ReceiveAnswer {
    /// The messages; none when nothing came in time.
    messages: Vec<ReceivedMessage>,
}

/// A leased message.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents text that is written by hand")]
pub(crate) struct ReceivedMessage {
    /// The right to settle it, until the lease ends.
    receipt: String,
    /// How often it was received, this time included.
    receive_count: u32,
    /// Its number in the queue.
    sequence: u64,
    /// When it came into the queue.
    #[schema(format = DateTime)]
    enqueued_at: String,
    /// When it was received first.
    #[schema(format = DateTime)]
    first_received_at: String,
    /// When the lease ends.
    #[schema(format = DateTime)]
    visible_at: String,
    /// The queue that it is a dead letter of.
    #[schema(required = false, nullable = false)]
    dead_letter_source: Option<String>,
    /// The event.
    event: crate::openapi::CloudEvent,
}

/// Bytes of a message's text beside its event: names, receipt and times.
const FRAME_BYTES: usize = 256;

/// Leases messages.
pub(crate) async fn receive(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let asked: ReceiveBody = json::parse(&json::read(&mut call).await?)?;
    asked.check()?;
    let gateway = &call.gateway;
    let nonce = gateway.entropy().number();
    let begun = Instant::now();
    let messages = located(&call, |topology, queue| {
        // A long poll must not keep an old catalog alive.
        drop(topology);
        let wait = asked
            .wait_seconds
            .unwrap_or(queue.queue.config.wait_seconds);
        let receive = Receive {
            queue: queue.id,
            max: asked.max,
            visibility_ms: asked
                .visibility_seconds
                .map(|seconds| u64::from(seconds) * 1_000),
            nonce,
        };
        let wait = Duration::from_secs(wait.into()).saturating_sub(begun.elapsed());
        lease(gateway, queue.group, receive, wait)
    });
    let messages = messages.await?;
    gateway.metrics().flow().received(messages.len());
    Ok(json::raw(StatusCode::OK, write(&messages)))
}

/// Leases from a queue in a group, waiting for the first while the node runs.
async fn lease(
    gateway: &Gateway,
    group: GroupId,
    receive: Receive,
    wait: Duration,
) -> Result<Result<Vec<Message>, Refusal>, Failure> {
    let messages = gateway.ledger().receive(group, receive, wait);
    Ok(if wait.is_zero() {
        messages.await?
    } else {
        tokio::select! {
            messages = messages => messages?,
            () = gateway.stopped() => Ok(Vec::new()),
        }
    })
}

impl ReceiveBody {
    fn check(&self) -> Result<(), Failure> {
        let (max, wait) = (limit::RECEIVE_MESSAGES_MAX, limit::WAIT_SECONDS_MAX);
        json::check_range("/max", self.max.into(), 1, max.into())?;
        let wait_seconds = self.wait_seconds.unwrap_or(0);
        json::check_range("/wait_seconds", wait_seconds.into(), 0, wait.into())?;
        check_visibility(self.visibility_seconds.unwrap_or(0))
    }
}

/// Refuses leases that are too long.
///
/// # Errors
/// 422 `out_of_range`.
pub(super) fn check_visibility(seconds: u32) -> Result<(), Failure> {
    let most = limit::VISIBILITY_SECONDS_MAX;
    json::check_range("/visibility_seconds", seconds.into(), 0, most.into())
}

/// The text of the answer: stored events go out as they are, unread.
fn write(messages: &[Message]) -> Vec<u8> {
    let bytes: usize = messages
        .iter()
        .map(|message| message.event.len() + FRAME_BYTES)
        .sum();
    let mut text = Vec::with_capacity(bytes + FRAME_BYTES);
    text.extend_from_slice(b"{\"messages\":[");
    for (at, message) in messages.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        write_message(&mut text, message);
    }
    text.extend_from_slice(b"]}");
    text
}

fn write_message(text: &mut Vec<u8>, message: &Message) {
    let lease = &message.lease;
    let receipt = lease.receipt;
    write!(
        text,
        "{{\"receipt\":\"{receipt}\",\"receive_count\":{},\"sequence\":{},\"enqueued_at\":\"",
        receipt.receive_count, receipt.sequence
    )
    .expect("memory takes every write");
    rfc3339::write(text, lease.enqueued_at);
    text.extend_from_slice(b"\",\"first_received_at\":\"");
    rfc3339::write(text, lease.first_received_at);
    text.extend_from_slice(b"\",\"visible_at\":\"");
    rfc3339::write(text, lease.visible_at);
    if let Some(source) = &lease.dead_letter_source {
        // A queue's name needs no escapes.
        text.extend_from_slice(b"\",\"dead_letter_source\":\"");
        text.extend_from_slice(source.as_bytes());
    }
    text.extend_from_slice(b"\",\"event\":");
    text.extend_from_slice(&message.event);
    text.push(b'}');
}
