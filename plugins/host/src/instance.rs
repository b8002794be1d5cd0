//! [`Instance`]: one instance of a component, called within its limits.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::plugin::World;
use wasmtime::Store;
use wasmtime::component::{self, ComponentNamedList, Func, Lift, Lower};

use crate::compiled::{Compiled, entry};
use crate::contract::{self, Description, Event, Output, Problem, Setup, Wishes};
use crate::failure::{CallError, Failure};
use crate::guest::Guest;
use crate::sandbox::Sandbox;

/// Ticks of the clock before the first yield: the first one may come at once.
const FIRST_SLICE_TICKS: u64 = 2;

/// What a plugin decided for one event.
#[derive(Debug)]
pub(crate) enum Decision {
    /// A filter's yes or no.
    Keep(bool),
    /// A router's destinations.
    To(Vec<String>),
    /// A transform's outputs.
    Outputs(Vec<Output>),
}

/// A live instance. After a failed call it must be dropped: it cannot be entered again.
pub(crate) struct Instance {
    sandbox: Arc<Sandbox>,
    store: Store<Guest>,
    instance: component::Instance,
    world: World,
    run: Func,
    batches: u32,
}

impl Instance {
    /// Instantiates `compiled`; its start functions run within the limits, too.
    ///
    /// # Errors
    /// [`CallError`] when it fails or no instance is free.
    pub(crate) async fn start(
        sandbox: &Arc<Sandbox>,
        compiled: &Compiled,
        label: Arc<str>,
    ) -> Result<Self, CallError> {
        let mut store = sandbox.store(label);
        let started = {
            let _running = sandbox.clock.run();
            allow(
                &mut store,
                sandbox.limits.start_time_max,
                sandbox.limits.fuel_max,
            )?;
            compiled.pre.instantiate_async(&mut store).await
        };
        store.data_mut().end();
        let instance =
            started.map_err(|error| CallError::sort(&error, store.data().memory_refused()))?;
        let run = function(&mut store, instance, entry(compiled.world))?;
        Ok(Self {
            sandbox: Arc::clone(sandbox),
            store,
            instance,
            world: compiled.world,
            run,
            batches: 0,
        })
    }

    /// Asks the plugin what it is.
    ///
    /// # Errors
    /// [`CallError`] when the call fails.
    pub(crate) async fn describe(&mut self) -> Result<Description, CallError> {
        let describe = function(&mut self.store, self.instance, "describe")?;
        let (description,) = self
            .call(describe, self.sandbox.limits.start_time_max, ())
            .await?;
        Ok(description)
    }

    /// Hands over the configuration. The inner error is the plugin's "no".
    ///
    /// # Errors
    /// [`CallError`] when the call fails.
    pub(crate) async fn configure(
        &mut self,
        setup: Setup<'_>,
    ) -> Result<Result<Wishes, Vec<Problem>>, CallError> {
        let configure = function(&mut self.store, self.instance, "configure")?;
        let (answer,) = self
            .call(configure, self.sandbox.limits.start_time_max, (setup,))
            .await?;
        Ok(answer)
    }

    /// Runs a batch: one result for each event.
    ///
    /// # Errors
    /// [`CallError`] when the call fails as a whole.
    pub(crate) async fn run(
        &mut self,
        batch: &[Event<'_>],
    ) -> Result<Vec<Result<Decision, Failure>>, CallError> {
        self.batches += 1;
        let time = self.sandbox.limits.run_time_max;
        let results: Vec<Result<Decision, Failure>> = match self.world {
            World::Filter => decisions(self.call(self.run, time, (batch,)).await?, Decision::Keep),
            World::Router => decisions(self.call(self.run, time, (batch,)).await?, Decision::To),
            World::Transform => decisions(
                self.call(self.run, time, (batch,)).await?,
                Decision::Outputs,
            ),
        };
        if results.len() != batch.len() {
            let detail = format!(
                "the plugin gave {} results for {} events",
                results.len(),
                batch.len()
            );
            return Err(CallError::Failed(Failure::contract(detail)));
        }
        Ok(results)
    }

    /// Whether it has not run a batch yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.batches == 0
    }

    /// How long the last call ran, in whole ticks of the clock: waiting is left out.
    pub(crate) fn ran(&self) -> Duration {
        self.store.data().ran()
    }

    /// Whether it may be kept for later batches: not too old, and not grown large.
    pub(crate) fn keeps(&self) -> bool {
        let limits = &self.sandbox.limits;
        self.batches < limits.instance_batches_max
            && self.store.data().memory_bytes() <= limits.idle_memory_bytes_max
    }

    async fn call<P, R>(
        &mut self,
        function: Func,
        time: Duration,
        params: P,
    ) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let result = {
            let _running = self.sandbox.clock.run();
            allow(&mut self.store, time, self.sandbox.limits.fuel_max)?;
            match function.typed::<P, R>(&self.store) {
                Ok(function) => function.call_async(&mut self.store, params).await,
                Err(error) => Err(error),
            }
        };
        self.store.data_mut().end();
        result.map_err(|error| CallError::sort(&error, self.store.data().memory_refused()))
    }
}

/// Grants one call its time and its fuel.
fn allow(store: &mut Store<Guest>, time: Duration, fuel: u64) -> Result<(), CallError> {
    store.data_mut().begin(time);
    store.set_epoch_deadline(FIRST_SLICE_TICKS);
    store
        .set_fuel(fuel)
        .map_err(|error| CallError::sort(&error, false))
}

fn function(
    store: &mut Store<Guest>,
    instance: component::Instance,
    name: &str,
) -> Result<Func, CallError> {
    let found = instance.get_func(store, name);
    found.ok_or_else(|| CallError::Failed(Failure::contract(format!("{name} is not a function"))))
}

fn decisions<T>(
    (results,): (Vec<Result<T, contract::Failure>>,),
    decision: fn(T) -> Decision,
) -> Vec<Result<Decision, Failure>> {
    results
        .into_iter()
        .map(|result| result.map(decision).map_err(Failure::of_plugin))
        .collect()
}
