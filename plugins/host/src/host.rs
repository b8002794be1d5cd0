//! [`Host`]: the sandbox as the rest of the broker sees it.

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::plugin::PluginVersion;
use millrace_model::router::{
    ConfigureError, Inspection, InvalidComponent, Plan, PlanError, PlanRequest,
};
use millrace_model::subscription::PluginBinding;
use millrace_model::{BoxFuture, Fault, Problem, Router};

use crate::binding::Binding;
use crate::compiled;
use crate::compiler::CompileError;
use crate::components::Components;
use crate::contract;
use crate::inspect::{InspectError, inspect};
use crate::limits::Limits;
use crate::planner::Planner;
use crate::ready_route::Routes;
use crate::sandbox::Sandbox;
use crate::shared::Shared;

/// Runs filters and plugins; see the crate's documentation. Cheap to share behind an [`Arc`].
pub struct Host {
    shared: Arc<Shared>,
    routes: Routes,
}

impl Host {
    /// A host with these limits, which gets components that it has not compiled yet from `components`.
    ///
    /// # Errors
    /// A [`Fault`] when this machine cannot run WebAssembly: no memory can be mapped, or no thread started.
    pub fn new(limits: Limits, components: Arc<dyn Components>) -> Result<Self, Fault> {
        let sandbox = Sandbox::new(limits)
            .map_err(|error| Fault::new("starting the plugin host", format!("{error:#}")))?;
        Ok(Self {
            shared: Arc::new(Shared::new(sandbox, components)),
            routes: Routes::default(),
        })
    }

    async fn inspect_component(&self, component: Bytes) -> Result<Inspection, InvalidComponent> {
        let limit = self.shared.sandbox.limits.component_bytes_max as u64;
        let bytes = component.len() as u64;
        if bytes > limit {
            return Err(InvalidComponent::TooLarge { bytes, limit });
        }
        let digest = compiled::digest(&component);
        let compiled =
            self.shared
                .compile(&digest, component)
                .await
                .map_err(|error| match error {
                    CompileError::Overloaded => InvalidComponent::Overloaded,
                    CompileError::Invalid(why) | CompileError::Unavailable(why) => {
                        InvalidComponent::Invalid(why)
                    }
                })?;
        inspect(&self.shared.sandbox, &compiled, digest)
            .await
            .map_err(|error| match error {
                InspectError::Busy => InvalidComponent::Overloaded,
                InspectError::Invalid(why) => InvalidComponent::Invalid(why),
            })
    }

    /// Hands a configuration to a plugin version as it would be when routing, for a subscription that declares
    /// `destinations`. An empty list means that they are not known: a plugin then checks nothing against them.
    ///
    /// # Errors
    /// [`ConfigureError`]: what the plugin has against it, with JSON Pointers into the configuration.
    pub async fn try_configuration(
        &self,
        version: Arc<PluginVersion>,
        binding: PluginBinding,
        destinations: Vec<String>,
    ) -> Result<(), ConfigureError> {
        let config = binding.config.0.to_string();
        let binding = Binding::new(
            &self.shared,
            version,
            config,
            destinations,
            "(trying its configuration)",
        );
        match binding.try_out().await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(problems))) => Err(ConfigureError::Refused(
                problems.into_iter().map(problem).collect(),
            )),
            Ok(Err(failure)) => Err(ConfigureError::Failed(failure.detail)),
            Err(error) => Err(ConfigureError::Unavailable(error.to_string())),
        }
    }
}

/// A pointer that is none would mislead more than none at all.
fn problem(said: contract::Problem) -> Problem {
    let pointer = if said.pointer.starts_with('/') {
        said.pointer
    } else {
        String::new()
    };
    Problem::new(pointer, "refused_by_plugin", said.message)
}

impl Router for Host {
    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, Result<Vec<Plan>, PlanError>> {
        Box::pin(async move {
            Planner::new(&self.shared, &self.routes, &request)
                .plan()
                .await
        })
    }

    fn inspect(&self, component: Bytes) -> BoxFuture<'_, Result<Inspection, InvalidComponent>> {
        Box::pin(self.inspect_component(component))
    }

    fn configure(
        &self,
        version: Arc<PluginVersion>,
        binding: PluginBinding,
        destinations: Vec<String>,
    ) -> BoxFuture<'_, Result<(), ConfigureError>> {
        Box::pin(self.try_configuration(version, binding, destinations))
    }

    fn metrics(&self) -> String {
        self.shared.registry.text()
    }
}
