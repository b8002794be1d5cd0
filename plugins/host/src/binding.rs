//! [`Binding`]: a plugin version with a configuration, as one subscription uses it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::PluginVersion;
use millrace_model::event::Event;
use millrace_model::router::PlanError;
use millrace_model::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::compiler::CompileError;
use crate::configured::Configured;
use crate::contract::{Problem, Setup};
use crate::failure::{CallError, Failure};
use crate::instance::Decision;
use crate::shared::Shared;
use crate::stats::Stats;

/// What one event got: a decision, or why the plugin failed on it.
pub(crate) type Verdict = Result<Decision, Failure>;

/// One binding. It bounds how many of its calls run and wait at a time: a plugin that never returns uses up its own turns
/// and nobody else's.
pub(crate) struct Binding {
    shared: Arc<Shared>,
    number: u64,
    version: Arc<PluginVersion>,
    /// `name@version`.
    pub(crate) plugin: String,
    /// The plugin with its subscription, for the log.
    label: Arc<str>,
    config: String,
    destinations: Vec<String>,
    /// Calls that may run.
    turns: Semaphore,
    /// Calls that may run or wait.
    room: Semaphore,
    stats: Arc<Stats>,
}

/// Why a binding has no instance to run.
enum NotReady {
    /// The plugin's doing: its events fail with this.
    Failed(Failure),
    /// The node's: no plan can be made now.
    Now(PlanError),
}

impl Binding {
    /// A binding that loads its component when it is first used.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        version: Arc<PluginVersion>,
        config: String,
        destinations: Vec<String>,
        subscriber: &str,
    ) -> Self {
        let limits = &shared.sandbox.limits;
        let plugin = format!("{}@{}", version.name, version.version);
        Self {
            number: shared.number(),
            label: format!("{plugin} {subscriber}").into(),
            turns: Semaphore::new(limits.binding_runs_max),
            room: Semaphore::new(limits.binding_runs_max + limits.binding_waiting_max),
            stats: shared.registry.stats(&plugin),
            shared: Arc::clone(shared),
            plugin,
            version,
            config,
            destinations,
        }
    }

    /// Runs the plugin on all events, in calls of bounded size: one verdict for each event. When a call fails as a whole,
    /// its halves are run again, so that one bad event fails alone.
    ///
    /// # Errors
    /// [`PlanError`] when there is no turn, no instance or no component now.
    pub(crate) async fn run(
        &self,
        events: &[&Event],
        accepted_at: Timestamp,
    ) -> Result<Vec<Verdict>, PlanError> {
        let _room = self.room.try_acquire().map_err(|_| PlanError::Overloaded)?;
        let _turn = self.turn().await?;
        let mut instance = match self.ready().await {
            Ok(instance) => Some(instance),
            Err(NotReady::Failed(failure)) => return Ok(self.all_fail(events.len(), &failure)),
            Err(NotReady::Now(error)) => return Err(error),
        };
        let wants_body = instance.as_ref().is_some_and(Configured::wants_body);
        let mut calls: Vec<&[&Event]> = self.calls(events, wants_body);
        let mut verdicts = Vec::with_capacity(events.len());
        let mut isolation = Duration::ZERO;
        while let Some(call) = calls.pop() {
            let began = Instant::now();
            let failure = match self.call(&mut instance, call, accepted_at).await? {
                Ok(results) => {
                    verdicts.extend(results);
                    continue;
                }
                Err(failure) => failure,
            };
            isolation += began.elapsed();
            if call.len() > 1 && isolation < self.shared.sandbox.limits.isolation_time_max {
                let (first, second) = call.split_at(call.len() / 2);
                calls.extend([second, first]);
            } else {
                verdicts.extend(self.all_fail(call.len(), &failure));
            }
        }
        if let Some(instance) = instance.filter(Configured::keeps) {
            self.shared.idle.put(self.number, instance);
        }
        debug_assert_eq!(verdicts.len(), events.len(), "one verdict for each event");
        self.count(&verdicts);
        Ok(verdicts)
    }

    /// Instantiates and configures once, as a run would.
    ///
    /// # Errors
    /// The outer one as [`Binding::run`]; the inner ones are the plugin's: problems, or a failure.
    pub(crate) async fn try_out(
        &self,
    ) -> Result<Result<Result<(), Vec<Problem>>, Failure>, PlanError> {
        let _room = self.room.try_acquire().map_err(|_| PlanError::Overloaded)?;
        let _turn = self.turn().await?;
        match self.configured().await {
            Ok(answer) => Ok(Ok(answer.map(|_| ()))),
            Err(NotReady::Failed(failure)) => Ok(Err(failure)),
            Err(NotReady::Now(error)) => Err(error),
        }
    }

    /// One call. The instance survives if the call succeeds, and is made anew for the next one if not.
    async fn call(
        &self,
        instance: &mut Option<Configured>,
        events: &[&Event],
        accepted_at: Timestamp,
    ) -> Result<Result<Vec<Verdict>, Failure>, PlanError> {
        let mut running = match instance.take() {
            Some(instance) => instance,
            None => match self.ready().await {
                Ok(instance) => instance,
                Err(NotReady::Failed(failure)) => return Ok(Err(failure)),
                Err(NotReady::Now(error)) => return Err(error),
            },
        };
        let began = Instant::now();
        let result = running.run(events, accepted_at).await;
        self.stats.ran(events.len(), began.elapsed());
        match result {
            Ok(verdicts) => {
                *instance = Some(running);
                Ok(Ok(verdicts))
            }
            Err(CallError::Failed(failure)) => Ok(Err(failure)),
            Err(CallError::Busy) => Err(PlanError::Overloaded),
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, PlanError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let waiting = tokio::time::timeout(
            self.shared.sandbox.limits.binding_wait_max,
            self.turns.acquire(),
        );
        waiting
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(PlanError::Overloaded)
    }

    /// An instance that is configured: an idle one, or a new one.
    async fn ready(&self) -> Result<Configured, NotReady> {
        if let Some(idle) = self.shared.idle.take(self.number) {
            return Ok(idle);
        }
        self.configured().await?.map_err(|problems| {
            let first = problems.first().map_or_else(String::new, |one| {
                format!("{}: {}", one.pointer, one.message)
            });
            let detail = format!("the plugin refuses its configuration: {first}");
            NotReady::Failed(Failure::new("plugin_refuses_configuration", detail))
        })
    }

    async fn configured(&self) -> Result<Result<Configured, Vec<Problem>>, NotReady> {
        let compiled = self
            .shared
            .load(&self.version.digest)
            .await
            .map_err(|error| {
                NotReady::Now(match error {
                    CompileError::Overloaded => PlanError::Overloaded,
                    CompileError::Invalid(why) | CompileError::Unavailable(why) => {
                        PlanError::Unavailable(format!("{}: {why}", self.plugin))
                    }
                })
            })?;
        let instance = self.shared.instance(&compiled, &self.label).await?;
        let setup = Setup {
            config: &self.config,
            destinations: &self.destinations,
        };
        Ok(Configured::new(instance, setup).await?)
    }

    /// Splits the events into calls, last first: so many events, so many bytes of data, but at least one event each.
    fn calls<'e, 'v>(&self, events: &'e [&'v Event], wants_body: bool) -> Vec<&'e [&'v Event]> {
        let limits = &self.shared.sandbox.limits;
        let mut calls = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, event) in events.iter().enumerate() {
            let more = if wants_body {
                event.data.bytes().len()
            } else {
                0
            };
            if at > start
                && (at - start == limits.batch_events_max || bytes + more > limits.batch_bytes_max)
            {
                calls.push(&events[start..at]);
                (start, bytes) = (at, 0);
            }
            bytes += more;
        }
        if start < events.len() {
            calls.push(&events[start..]);
        }
        calls.reverse();
        calls
    }

    fn all_fail(&self, count: usize, failure: &Failure) -> Vec<Verdict> {
        std::iter::repeat_with(|| Err(failure.clone()))
            .take(count)
            .collect()
    }

    fn count(&self, verdicts: &[Verdict]) {
        verdicts
            .iter()
            .filter_map(|verdict| verdict.as_ref().err())
            .for_each(|failure| self.stats.failed(&failure.code));
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.shared.idle.forget(self.number);
    }
}

impl From<CallError> for NotReady {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(failure) => Self::Failed(failure),
            CallError::Busy => Self::Now(PlanError::Overloaded),
        }
    }
}
