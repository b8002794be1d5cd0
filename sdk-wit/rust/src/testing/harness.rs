//! The harnesses: one a world.

use std::fmt;

use serde_json::Value;

use super::TestEvent;
use crate::export::{Instance, Setup};
use crate::{Failure, Filter, Output, Problem, Router, Transform, Wishes};

/// A configured plugin, with what the subscription declares.
struct Harness<P> {
    instance: Instance<P>,
    wishes: Wishes,
    destinations: Vec<String>,
}

impl<P> Harness<P> {
    fn new<C: serde::de::DeserializeOwned>(
        config: &Value,
        destinations: &[&str],
        configure: fn(C, &[String]) -> Result<P, Vec<Problem>>,
        wishes: fn(&P) -> Wishes,
    ) -> Result<Self, Vec<Problem>> {
        let destinations: Vec<String> =
            destinations.iter().map(|name| (*name).to_owned()).collect();
        let setup = Setup {
            config: config.to_string(),
            destinations: destinations.clone(),
        };
        let instance = Instance::new();
        let wishes = instance.configure(&setup, configure, wishes)?;
        Ok(Self {
            instance,
            wishes,
            destinations,
        })
    }

    fn run<T>(
        &self,
        batch: &[TestEvent],
        one: fn(&P, &crate::Event<'_>) -> Result<T, Failure>,
    ) -> Vec<Result<T, Failure>> {
        let handed: Vec<_> = batch
            .iter()
            .map(|event| event.handed(&self.wishes))
            .collect();
        self.instance.run(&handed, one)
    }

    /// As the broker does: an undeclared destination fails the event.
    fn check(&self, names: &[String]) -> Result<(), Failure> {
        match names.iter().find(|name| !self.destinations.contains(name)) {
            Some(name) => Err(Failure::reject(
                "unknown_destination",
                &format!("no destination {name:?} is declared"),
            )),
            None => Ok(()),
        }
    }
}

/// Not derived: the plugin itself need not be [`fmt::Debug`] for a test to unwrap a harness.
impl<P> fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("wishes", &self.wishes)
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}

/// Runs a [`Filter`].
pub struct FilterHarness<P>(Harness<P>);

impl<P> fmt::Debug for FilterHarness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<P: Filter> FilterHarness<P> {
    /// Configures the plugin for a subscription with a single destination.
    ///
    /// # Errors
    /// What the plugin finds wrong with the configuration.
    pub fn new(config: &Value) -> Result<Self, Vec<Problem>> {
        Harness::new(config, &["default"], P::configure, P::wishes).map(Self)
    }

    /// What the plugin asks to be handed of each event.
    #[must_use]
    pub fn wishes(&self) -> &Wishes {
        &self.0.wishes
    }

    /// Runs a batch: one answer for each event.
    #[must_use]
    pub fn matches(&self, batch: &[TestEvent]) -> Vec<Result<bool, Failure>> {
        self.0.run(batch, P::matches)
    }
}

/// Runs a [`Router`].
pub struct RouterHarness<P>(Harness<P>);

impl<P> fmt::Debug for RouterHarness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<P: Router> RouterHarness<P> {
    /// Configures the plugin for a subscription that declares `destinations`.
    ///
    /// # Errors
    /// What the plugin finds wrong with the configuration.
    pub fn new(config: &Value, destinations: &[&str]) -> Result<Self, Vec<Problem>> {
        Harness::new(config, destinations, P::configure, P::wishes).map(Self)
    }

    /// What the plugin asks to be handed of each event.
    #[must_use]
    pub fn wishes(&self) -> &Wishes {
        &self.0.wishes
    }

    /// Runs a batch: the destinations of each event.
    #[must_use]
    pub fn route(&self, batch: &[TestEvent]) -> Vec<Result<Vec<String>, Failure>> {
        let check = |result: Result<Vec<String>, Failure>| {
            result.and_then(|to| self.0.check(&to).map(|()| to))
        };
        self.0.run(batch, P::route).into_iter().map(check).collect()
    }
}

/// Runs a [`Transform`].
pub struct TransformHarness<P>(Harness<P>);

impl<P> fmt::Debug for TransformHarness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<P: Transform> TransformHarness<P> {
    /// Configures the plugin for a subscription that declares `destinations`.
    ///
    /// # Errors
    /// What the plugin finds wrong with the configuration.
    pub fn new(config: &Value, destinations: &[&str]) -> Result<Self, Vec<Problem>> {
        Harness::new(config, destinations, P::configure, P::wishes).map(Self)
    }

    /// What the plugin asks to be handed of each event.
    #[must_use]
    pub fn wishes(&self) -> &Wishes {
        &self.0.wishes
    }

    /// Runs a batch: what is delivered in place of each event.
    #[must_use]
    pub fn transform(&self, batch: &[TestEvent]) -> Vec<Result<Vec<Output>, Failure>> {
        let check = |result: Result<Vec<Output>, Failure>| {
            result.and_then(|outputs| {
                outputs
                    .iter()
                    .try_for_each(|output| self.0.check(&output.to))?;
                Ok(outputs)
            })
        };
        self.0
            .run(batch, P::transform)
            .into_iter()
            .map(check)
            .collect()
    }
}
