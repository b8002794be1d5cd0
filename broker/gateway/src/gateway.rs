//! What the door is made of.

use std::fmt;
use std::sync::Arc;

use millrace_model::command::CatalogCommand;
use millrace_model::{Command, Outcome};
use millrace_model::{GroupId, Ledger, Proposal, Refusal, Router};
use tokio::sync::watch;

use crate::admission::{Room, Rooms};
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::entropy::Entropy;
use crate::metrics::Metrics;
use crate::problem::Failure;
use crate::schema::Schemas;

/// The door of one node, shared by all of its connections. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

/// The parts of the door. Nothing here is locked on the way of an event.
struct Parts {
    ledger: Arc<dyn Ledger>,
    planner: Arc<dyn Router>,
    clock: Clock,
    entropy: Entropy,
    config: GatewayConfig,
    metrics: Metrics,
    schemas: Schemas,
    rooms: Rooms,
    /// Set to true once, when the node stops: long polls answer then.
    stopping: watch::Sender<bool>,
}

impl Gateway {
    /// A door in front of `ledger`, with `planner` to ask where events go.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        planner: Arc<dyn Router>,
        clock: Clock,
        entropy: Entropy,
        config: GatewayConfig,
    ) -> Self {
        let rooms = Rooms {
            requests: Room::new(config.requests_in_flight_max),
            bytes: Room::new(config.body_bytes_in_flight_max),
        };
        Self(Arc::new(Parts {
            ledger,
            planner,
            clock,
            entropy,
            config,
            metrics: Metrics::new(),
            schemas: Schemas::default(),
            rooms,
            stopping: watch::Sender::new(false),
        }))
    }

    /// Makes long polls answer at once, now and from now on. Called when the node stops.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Ready when [`Gateway::stop`] has been called.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // The sender lives as long as the gateway, which this borrows.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    pub(crate) fn ledger(&self) -> &dyn Ledger {
        &*self.0.ledger
    }

    pub(crate) fn planner(&self) -> &dyn Router {
        &*self.0.planner
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.0.schemas
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    /// Commits a command; a refusal of the whole stands beside what it may have come to.
    ///
    /// # Errors
    /// When the group cannot do it now.
    pub(crate) async fn try_commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> Result<Result<Outcome, Refusal>, Failure> {
        Ok(match self.ledger().commit(group, proposal).await? {
            Outcome::Refused(refusal) => Err(refusal),
            outcome => Ok(outcome),
        })
    }

    /// Commits a command; a refusal of the whole is a failure.
    ///
    /// # Errors
    /// What became of it, as HTTP has it.
    pub(crate) async fn commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> Result<Outcome, Failure> {
        Ok(self.try_commit(group, proposal).await??)
    }

    /// Commits a change of the catalog.
    ///
    /// # Errors
    /// As [`Gateway::commit`].
    pub(crate) async fn change(&self, command: CatalogCommand) -> Result<Outcome, Failure> {
        let proposal = Proposal::bare(Command::Catalog(command));
        self.commit(GroupId::META, proposal).await
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// An outcome that does not fit its command: a bug in another room, told as one.
pub(crate) fn unexpected(outcome: &Outcome) -> Failure {
    Failure::internal(&format!("unexpected outcome: {outcome:?}"))
}
