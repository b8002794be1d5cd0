//! The answer to a publish or send: one result an event, in order.

use std::borrow::Cow;

use http::StatusCode;
use millrace_model::outcome::Accepted;
use millrace_model::router::Explained;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Going, Receipt, Slot};
use crate::body::Response;
use crate::json;
use crate::problem::{Failure, ProblemDocument};

/// The answer to a publish.
#[derive(Serialize, ToSchema)]
pub(crate) struct PublishAnswer<'a> {
    /// One result an event, in order.
    messages: Vec<MessageResult<'a>>,
}

/// What came of one event: its sequence, or why it was refused.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageResult<'a> {
    /// The event's id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<&'a str>,
    /// Its number in the topic or queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sequence: Option<u64>,
    /// How many entries it became; only for topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    deliveries: Option<u32>,
    /// What each subscription did; only with `?explain=true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    subscriptions: Vec<SubscriptionResult<'a>>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<ProblemDocument<'a>>,
}

/// What one subscription did with one event.
#[derive(Serialize, ToSchema)]
pub(crate) struct SubscriptionResult<'a> {
    /// The topic, where it is not the one published to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    topic: Option<&'a str>,
    /// The subscription.
    name: &'a str,
    /// `delivered`, `filtered`, `dropped`, `parked` or `rejected`.
    outcome: &'static str,
    /// The queues and topics that it went to.
    to: &'a [String],
    /// The plugin version that ran, as `name@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plugin: Option<&'a str>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<Cow<'a, str>>,
}

impl<'a> MessageResult<'a> {
    fn refused(id: Option<&'a str>, failure: &'a Failure) -> Self {
        Self {
            id,
            sequence: None,
            deliveries: None,
            subscriptions: Vec::new(),
            error: Some(failure.document()),
        }
    }

    fn of(id: &'a str, receipt: &'a Receipt, accepted: Show) -> Self {
        let subscriptions = receipt.explained.iter().map(subscription).collect();
        match &receipt.result {
            Err(failure) => Self {
                subscriptions,
                ..Self::refused(Some(id), failure)
            },
            Ok(result) => Self {
                subscriptions,
                ..accepted(id, *result)
            },
        }
    }
}

/// How an accepted event is shown.
type Show = for<'a> fn(&'a str, Accepted) -> MessageResult<'a>;

/// An event of a topic.
pub(crate) fn of_topic(id: &str, accepted: Accepted) -> MessageResult<'_> {
    MessageResult {
        deliveries: Some(accepted.deliveries),
        ..of_queue(id, accepted)
    }
}

/// An event of a queue.
pub(crate) fn of_queue(id: &str, accepted: Accepted) -> MessageResult<'_> {
    MessageResult {
        id: Some(id),
        sequence: Some(accepted.sequence),
        deliveries: None,
        subscriptions: Vec::new(),
        error: None,
    }
}

fn subscription(explained: &Explained) -> SubscriptionResult<'_> {
    SubscriptionResult {
        topic: explained.topic.as_deref(),
        name: &explained.name,
        outcome: explained.outcome.as_str(),
        to: &explained.to,
        plugin: explained.plugin.as_deref(),
        reason: explained.reason.as_deref().map(Cow::Borrowed),
    }
}

/// A problem that holds for all events of a batch, with the result of each beside it.
#[derive(Serialize)]
struct RefusedBatch<'a> {
    #[serde(flatten)]
    problem: ProblemDocument<'a>,
    messages: &'a [MessageResult<'a>],
}

/// The answer: 200 when any event was accepted, else the first problem's status.
///
/// # Errors
/// The problem of a single event.
pub(crate) fn respond(
    slots: &[Slot],
    going: &Going,
    receipts: &[Receipt],
    is_batch: bool,
    show: Show,
) -> Result<Response, Failure> {
    let failure = |slot| match slot {
        &Slot::Going(at) => receipts[at].result.as_ref().err(),
        Slot::Refused(refused) => Some(&refused.failure),
    };
    let first_failure = slots.iter().find_map(failure);
    if let (false, Some(failure)) = (is_batch, first_failure) {
        return Err(failure.clone());
    }
    let message = |slot| match slot {
        &Slot::Going(at) => MessageResult::of(&going.events[at].id, &receipts[at], show),
        Slot::Refused(refused) => MessageResult::refused(refused.id.as_deref(), &refused.failure),
    };
    let messages: Vec<_> = slots.iter().map(message).collect();
    let any_accepted = slots.iter().any(|slot| failure(slot).is_none());
    match first_failure {
        Some(failure) if !any_accepted => Ok(refused_batch(failure, &messages)),
        _ => Ok(json::answer(StatusCode::OK, &PublishAnswer { messages })),
    }
}

fn refused_batch(failure: &Failure, messages: &[MessageResult<'_>]) -> Response {
    let problem = failure.document();
    let document = serde_json::to_vec(&RefusedBatch { problem, messages });
    failure.response_with(document.expect("answers have string keys only"))
}
