//! What the other rooms say, as HTTP has it. Nothing else chooses a status for them.

use http::StatusCode;
use millrace_model::router::{ConfigureError, InvalidComponent, PlanError};
use millrace_model::{Problem, Refusal, Unavailable};

use super::Failure;

/// When a client that was turned away should come back, in seconds.
const RETRY_SECONDS: u32 = 1;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::new(status(&refusal), refusal.code(), refusal.to_string());
        match refusal {
            Refusal::StalePlan(_) => failure.coded("not_ready").retry_after(RETRY_SECONDS),
            Refusal::QueueFull(_)
            | Refusal::ParkedFull
            | Refusal::OutboxFull(_)
            | Refusal::QueueMoving(_) => failure.retry_after(RETRY_SECONDS),
            _ => failure,
        }
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::TopicNotFound(_)
        | Refusal::SubscriptionNotFound(_)
        | Refusal::QueueNotFound(_)
        | Refusal::PluginNotFound(_) => StatusCode::NOT_FOUND,
        Refusal::AlreadyExists(_)
        | Refusal::InUse(_)
        | Refusal::LimitReached(..)
        | Refusal::MoveInProgress(_) => StatusCode::CONFLICT,
        Refusal::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
        Refusal::TopicCycle(_)
        | Refusal::TooManyHops(_)
        | Refusal::KeyReused
        | Refusal::CannotRedrive(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::QueueFull(_) | Refusal::ParkedFull | Refusal::OutboxFull(_) => {
            StatusCode::TOO_MANY_REQUESTS
        }
        // The catalog changed at every attempt to plan.
        Refusal::StalePlan(_) | Refusal::QueueMoving(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::ReceiptExpired => StatusCode::GONE,
        Refusal::ReceiptInvalid => StatusCode::BAD_REQUEST,
    }
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        let (status, code) = match &unavailable {
            Unavailable::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
            Unavailable::NoQuorum => (StatusCode::SERVICE_UNAVAILABLE, "no_quorum"),
            Unavailable::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Unavailable::OutcomeUnknown => (StatusCode::GATEWAY_TIMEOUT, "outcome_unknown"),
            Unavailable::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
            Unavailable::Fault(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage_fault"),
        };
        let failure = Self::new(status, code, unavailable.to_string());
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                failure.retry_after(RETRY_SECONDS)
            }
            _ => failure,
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let detail = error.to_string();
        match error {
            PlanError::Overloaded => overloaded(detail),
            PlanError::Unavailable(_) => plugin_unavailable(detail),
            PlanError::TooManyDeliveries(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_many_deliveries",
                detail,
            ),
        }
    }
}

impl From<InvalidComponent> for Failure {
    fn from(error: InvalidComponent) -> Self {
        let detail = error.to_string();
        match error {
            InvalidComponent::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "component_too_large", detail)
            }
            InvalidComponent::Invalid(_) => invalid_component(detail),
            InvalidComponent::Overloaded => overloaded(detail),
        }
    }
}

impl From<ConfigureError> for Failure {
    fn from(error: ConfigureError) -> Self {
        let detail = error.to_string();
        let code = "plugin_refused_config";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            ConfigureError::Refused(problems) if problems.is_empty() => {
                Self::new(status, code, detail).at(CONFIG)
            }
            ConfigureError::Refused(problems) => {
                Self::problems(status, in_config(problems)).coded(code)
            }
            ConfigureError::Failed(_) => Self::new(status, code, detail).at(CONFIG),
            ConfigureError::Unavailable(_) => plugin_unavailable(detail),
        }
    }
}

/// Where a plugin's configuration stands in a subscription.
const CONFIG: &str = "/plugin/config";

/// Problems of a plugin's configuration, as problems of the subscription.
pub(crate) fn in_config(problems: Vec<Problem>) -> Vec<Problem> {
    let into = |mut problem: Problem| {
        problem.pointer.insert_str(0, CONFIG);
        problem
    };
    problems.into_iter().map(into).collect()
}

/// 429: this node does as much as it may.
pub(crate) fn overloaded(detail: impl Into<String>) -> Failure {
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", detail).retry_after(RETRY_SECONDS)
}

/// 422: the bytes are not a plugin.
pub(crate) fn invalid_component(detail: impl Into<String>) -> Failure {
    Failure::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_component",
        detail,
    )
}

/// 503: a plugin says that the event may succeed later.
pub(crate) fn deferred_by_plugin(detail: String) -> Failure {
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "deferred_by_plugin",
        detail,
    )
    .retry_after(RETRY_SECONDS)
}

fn plugin_unavailable(detail: String) -> Failure {
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "plugin_unavailable",
        detail,
    )
    .retry_after(RETRY_SECONDS)
}
