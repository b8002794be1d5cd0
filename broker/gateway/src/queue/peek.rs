//! `GET /v1/queues/{queue}/messages`: looks at entries without leasing them.

use http::StatusCode;
use millrace_model::query::{EntryState, Peeked, States};
use millrace_model::{Answer, PayloadRef, Query as Question};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::located::located;
use crate::body::Response;
use crate::call::Call;
use crate::page::{self, Page};
use crate::problem::Failure;
use crate::query::{AFTER_SEQUENCE, Kind, LIMIT, Param};
use crate::{json, rfc3339};

/// The parameters of a peek.
pub(crate) const PEEK: &[Param] = &[
    Param {
        name: "state",
        kind: Kind::Words(&["ready", "delayed", "leased"]),
        about: "Only entries in these states, with commas; all when absent.",
    },
    LIMIT,
    AFTER_SEQUENCE,
];

/// An entry as peek shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeekedMessage<'a> {
    /// Its number in the queue.
    sequence: u64,
    /// `ready`, `delayed` or `leased`.
    state: &'static str,
    /// When it came into the queue.
    #[schema(format = DateTime)]
    enqueued_at: String,
    /// How often it was received.
    receive_count: u32,
    /// When it was received first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    first_received_at: Option<String>,
    /// When its lease or delay ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    visible_at: Option<String>,
    /// The queue that it is a dead letter of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dead_letter_source: Option<&'a str>,
    /// The event.
    #[schema(value_type = crate::openapi::CloudEvent)]
    event: &'a RawValue,
}

/// Shows entries.
pub(crate) async fn peek(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let wanted = query
        .get("state")
        .map(|text| text.split(',').collect::<Vec<_>>());
    let wants = |state| wanted.as_ref().is_none_or(|states| states.contains(&state));
    let ledger = call.gateway.ledger();
    let states = States {
        ready: wants("ready"),
        delayed: wants("delayed"),
        leased: wants("leased"),
    };
    let (after, limit) = (query.number("after"), query.limit());
    let (queue, mut entries) = located(&call, |_, queue| async move {
        let question = Question::Peek {
            queue: queue.id,
            states,
            after,
            limit,
        };
        Ok(match ledger.query(queue.group, question).await? {
            Answer::Peeked(entries) => Ok((queue, entries)),
            Answer::Refused(refusal) => Err(refusal),
            _ => return Err(Failure::internal("a peek was answered with something else")),
        })
    })
    .await?;
    let is_full = entries.len() >= limit as usize;
    let is_cut = page::cut(&mut entries, |entry| entry.payload);
    let next = entries
        .last()
        .filter(|_| is_full || is_cut)
        .map(|entry| entry.sequence.to_string());
    let places: Vec<PayloadRef> = entries.iter().map(|entry| entry.payload).collect();
    let events = ledger.payloads(queue.group, places).await?;
    let shown = entries
        .iter()
        .zip(&events)
        .map(|(entry, event)| show(entry, event));
    let items = shown.collect::<Result<Vec<_>, _>>()?;
    Ok(json::answer(StatusCode::OK, &Page { items, next }))
}

fn show<'a>(entry: &'a Peeked, event: &'a [u8]) -> Result<PeekedMessage<'a>, Failure> {
    Ok(PeekedMessage {
        sequence: entry.sequence,
        state: match entry.state {
            EntryState::Ready => "ready",
            EntryState::Delayed => "delayed",
            EntryState::Leased => "leased",
        },
        enqueued_at: rfc3339::text(entry.enqueued_at),
        receive_count: entry.receive_count,
        first_received_at: entry.first_received_at.map(rfc3339::text),
        visible_at: entry.visible_at.map(rfc3339::text),
        dead_letter_source: entry.dead_letter_source.as_deref(),
        event: page::stored(event)?,
    })
}
