//! The expected "no": deterministic, with a stable code.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, Revision};

/// Why the machine refused a command, or one item of it. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such topic.
    #[error("there is no topic {0:?}")]
    TopicNotFound(String),
    /// No such subscription.
    #[error("there is no subscription {0:?}")]
    SubscriptionNotFound(String),
    /// No such queue.
    #[error("there is no queue {0:?}")]
    QueueNotFound(String),
    /// No such plugin version.
    #[error("there is no plugin {0:?}")]
    PluginNotFound(String),
    /// It exists with another immutable value.
    #[error("{0}")]
    AlreadyExists(String),
    /// Something else uses it.
    #[error("{0}")]
    InUse(String),
    /// `If-Match` or `If-None-Match` did not hold; carries the present version, if there is one.
    #[error("the precondition does not hold: read the present state and try again")]
    PreconditionFailed(Option<Revision>),
    /// The subscription would close a cycle of topics.
    #[error("the subscription would close a cycle of topics through {0:?}")]
    TopicCycle(String),
    /// The chain of topics would be too long.
    #[error("the subscription would make a chain of more than {0} topics")]
    TooManyHops(u64),
    /// A limit on the number of things is reached.
    #[error("the limit of {1} {0} is reached: delete some first")]
    LimitReached(String, u64),
    /// The plan was made against another revision of the topology than the group stands at: plan again.
    #[error("the catalog changed meanwhile: plan again")]
    StalePlan(Revision),
    /// The queue holds as many entries as it may.
    #[error("queue {0:?} is full: consume or purge, or raise max_entries")]
    QueueFull(String),
    /// The key was used with another request within its window.
    #[error("the Idempotency-Key was used with another request within its window: use a new key")]
    KeyReused,
    /// The receipt's lease has ended, or a newer one has begun.
    #[error("the lease of this receipt has ended: receive the message again")]
    ReceiptExpired,
    /// The receipt is not one of this queue.
    #[error("not a receipt of this queue: pass it as the receive gave it")]
    ReceiptInvalid,
    /// The parked list of a subscription is full.
    #[error("the parked list of a subscription is full: redrive it first")]
    ParkedFull,
    /// Entries cannot be redriven there.
    #[error("{0}")]
    CannotRedrive(String),
    /// Too much waits already to be carried to a group that takes nothing in.
    #[error(
        "too much waits to be carried to group {0}, which does not take it in: try again later"
    )]
    OutboxFull(GroupId),
    /// What is asked for is on its way to another group with its queue.
    #[error("queue {0:?} is on its way to another group: try again in a moment")]
    QueueMoving(String),
    /// It cannot be changed before a move is over.
    #[error("{0}")]
    MoveInProgress(String),
}

impl Refusal {
    /// The stable code (`API.md`, Conventions).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TopicNotFound(_) => "topic_not_found",
            Self::SubscriptionNotFound(_) => "subscription_not_found",
            Self::QueueNotFound(_) => "queue_not_found",
            Self::PluginNotFound(_) => "plugin_not_found",
            Self::AlreadyExists(_) => "already_exists",
            Self::InUse(_) => "in_use",
            Self::PreconditionFailed(_) => "precondition_failed",
            Self::TopicCycle(_) => "topic_cycle",
            Self::TooManyHops(_) => "too_many_hops",
            Self::LimitReached(..) => "limit_reached",
            Self::StalePlan(_) => "stale_version",
            Self::QueueFull(_) => "queue_full",
            Self::KeyReused => "idempotency_key_reused",
            Self::ReceiptExpired => "receipt_expired",
            Self::ReceiptInvalid => "receipt_invalid",
            Self::ParkedFull => "parked_full",
            Self::CannotRedrive(_) => "cannot_redrive",
            Self::OutboxFull(_) => "overloaded",
            Self::QueueMoving(_) => "queue_moving",
            Self::MoveInProgress(_) => "move_in_progress",
        }
    }
}
