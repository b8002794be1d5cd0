//! The seam between the door and the sandbox: what filters and plugins decide for events.

use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::{Route, Subscription, Topology};
use crate::command::{Delivery, Park};
use crate::event::Event;
use crate::ledger::BoxFuture;
use crate::plugin::{Description, PluginVersion};
use crate::problem::Problem;
use crate::subscription::PluginBinding;
use crate::time::Timestamp;

/// Decides where events go. Implemented by `plugins/host`; asked by the gateway; runs above Raft, never in it.
pub trait Router: Send + Sync + 'static {
    /// Plans each event of the request, in order: one [`Plan`] an event.
    ///
    /// # Errors
    /// [`PlanError`] when no plan can be made now for any of them; nothing was decided then.
    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, Result<Vec<Plan>, PlanError>>;

    /// Compiles a component and asks it what it is, in a sandbox. Bounded in time and memory.
    ///
    /// # Errors
    /// [`InvalidComponent`] says what is wrong with it.
    fn inspect(&self, component: Bytes) -> BoxFuture<'_, Result<Inspection, InvalidComponent>>;

    /// Hands `binding`'s configuration to the plugin version that it names, as it would be when routing for a
    /// subscription that declares `destinations` ([`crate::subscription::Destinations::names`]).
    ///
    /// # Errors
    /// [`ConfigureError`]: what the plugin has against it, with JSON Pointers into the configuration.
    fn configure(
        &self,
        version: Arc<PluginVersion>,
        binding: PluginBinding,
        destinations: Vec<String>,
    ) -> BoxFuture<'_, Result<(), ConfigureError>>;

    /// Lines of Prometheus text about plugins: runs, failures, CPU. Empty when there is nothing to say.
    fn metrics(&self) -> String;
}

/// Events of one topic to be planned.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The catalog to plan against.
    pub topology: Arc<Topology>,
    /// The topic with its subscriptions.
    pub route: Arc<Route>,
    /// Plan for this subscription alone: a redrive of parked events.
    pub only: Option<Arc<Subscription>>,
    /// The events.
    pub events: Arc<[Event]>,
    /// When the broker accepted them.
    pub accepted_at: Timestamp,
    /// The publisher's delay, in milliseconds, for all deliveries that a plugin gives none.
    pub delay_ms: Option<u64>,
    /// Whether the plans say what each subscription did ([`Plan::explained`]).
    pub explain: bool,
}

/// What filters and plugins decided for one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Where it goes. `payload` 0 is the event as published, `n` is `bodies[n - 1]`.
    pub deliveries: Vec<Delivery>,
    /// Changed forms of the event, as stored ([`Event::stored`]).
    pub bodies: Vec<Bytes>,
    /// Where it is parked.
    pub parked: Vec<Park>,
    /// Set when a subscription's plugin refused the publish itself: nothing of the event is accepted.
    pub rejection: Option<Rejection>,
    /// What each subscription did, in order; empty unless asked for.
    pub explained: Vec<Explained>,
}

/// A plugin's refusal of a publish (`on_failure: reject`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The subscription.
    pub subscription: String,
    /// The plugin's code.
    pub code: String,
    /// The plugin's sentence.
    pub detail: String,
    /// Whether the plugin says that the event may succeed later (`failure.retry`).
    pub may_succeed: bool,
}

/// What one subscription did with one event (`?explain=true`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The topic, where it is not the one published to.
    pub topic: Option<String>,
    /// The subscription.
    pub name: String,
    /// `delivered`, `filtered`, `dropped`, `parked` or `rejected`.
    pub outcome: Verdict,
    /// Names of the queues and topics that it went to.
    pub to: Vec<String>,
    /// The plugin version that ran, as `name@version`.
    pub plugin: Option<String>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// The outcome of one subscription for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Delivered,
    /// The filter does not take it.
    Filtered,
    /// The plugin dropped it.
    Dropped,
    /// It waits in the parked list.
    Parked,
    /// The publish was refused.
    Rejected,
}

impl Verdict {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Dropped => "dropped",
            Self::Parked => "parked",
            Self::Rejected => "rejected",
        }
    }
}

/// Why no plan could be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PlanError {
    /// Too many events wait for this topic's plugins: 429.
    #[error("the plugins of the topic are busy: try again later")]
    Overloaded,
    /// The component of a bound plugin cannot be had right now: 503.
    #[error("a plugin cannot be loaded: {0}")]
    Unavailable(String),
    /// One event would become more deliveries than one entry may hold: 422.
    #[error("the event would have more than {0} deliveries")]
    TooManyDeliveries(usize),
}

/// What an inspection found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// `sha256:` and the hex digest of the bytes.
    pub digest: String,
    /// The name that the component gives itself.
    pub name: String,
    /// The version that the component gives itself.
    pub version: String,
    /// What it says of itself.
    pub description: Description,
}

/// Why a component is refused: 422 `invalid_component`, 413 or 429.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidComponent {
    /// It is too large: 413 `component_too_large`.
    #[error("a component may have {limit} bytes, this one has {bytes}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It is not a component, imports what it may not, or fails to describe itself.
    #[error("{0}")]
    Invalid(String),
    /// Too many components wait for the compiler: 429.
    #[error("the compiler is busy: try again later")]
    Overloaded,
}

/// Why a configuration could not be handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// The plugin refuses it; pointers are into the plugin's configuration.
    #[error("the plugin refuses its configuration")]
    Refused(Vec<Problem>),
    /// The plugin failed while it read it.
    #[error("the plugin failed while it read its configuration: {0}")]
    Failed(String),
    /// Busy, or the component cannot be had right now.
    #[error("the plugin cannot be loaded: {0}")]
    Unavailable(String),
}
