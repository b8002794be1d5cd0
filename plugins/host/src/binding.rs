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

/// Failed calls of one plan after which bad events are no longer told from good ones, and events that are tried again.
const ISOLATION_CALLS_MAX: u32 = 512;

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
        let mut verdicts = Vec::with_capacity(events.len());
        match self.run_in_turn(events, accepted_at, &mut verdicts).await {
            Ok(()) => {}
            // It cannot even be started: whatever is left fails with that.
            Err(NotReady::Failed(failure)) => {
                verdicts.resize_with(events.len(), || Err(failure.clone()));
            }
            Err(NotReady::Now(error)) => return Err(error),
        }
        self.try_again(events, accepted_at, &mut verdicts).await;
        assert_eq!(verdicts.len(), events.len(), "one verdict for each event");
        self.count(&verdicts);
        Ok(verdicts)
    }

    async fn run_in_turn(
        &self,
        events: &[&Event],
        accepted_at: Timestamp,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), NotReady> {
        let mut instance = match self.shared.idle.take(self.number) {
            Some(idle) => idle,
            None => self.fresh().await?,
        };
        let mut calls = self.calls(events, instance.wants_body());
        let mut isolation = Isolation::new(self.shared.sandbox.limits.isolation_time_max);
        while let Some(call) = calls.pop() {
            let was_fresh = instance.is_fresh();
            let failure = match self.call(&mut instance, call, accepted_at).await? {
                Ok(results) => {
                    verdicts.extend(results);
                    continue;
                }
                Err(failure) => failure,
            };
            isolation.spend(instance.ran());
            if call.len() == 1 && !was_fresh {
                // What earlier batches left in the instance may be to blame: the verdict is a fresh one's.
                calls.push(call);
            } else if call.len() > 1 && isolation.goes_on() {
                let (first, second) = call.split_at(call.len() / 2);
                calls.extend([second, first]);
            } else {
                verdicts.extend(call.iter().map(|_| Err(failure.clone())));
            }
            if calls.is_empty() {
                return Ok(());
            }
            instance = self.fresh().await?;
        }
        if instance.keeps() {
            self.shared.idle.put(self.number, instance);
        }
        Ok(())
    }

    /// Gives each event that its plugin would have tried again to it once more: alone, in a new instance. What it answers then
    /// holds. A third time, or a pause, would change nothing, since a plugin has no clock and `accepted_at` stays.
    async fn try_again(&self, events: &[&Event], accepted_at: Timestamp, verdicts: &mut [Verdict]) {
        let mut isolation = Isolation::new(self.shared.sandbox.limits.isolation_time_max);
        for (event, verdict) in events.iter().zip(verdicts) {
            if !matches!(verdict, Err(failure) if failure.may_succeed) || !isolation.goes_on() {
                continue;
            }
            // Without an instance, or without an answer, what the plugin said the first time holds.
            let Ok(mut instance) = self.fresh().await else {
                return;
            };
            let again = self.call(&mut instance, &[event], accepted_at).await;
            self.stats.tried_again();
            isolation.spend(instance.ran());
            match again {
                Ok(Ok(mut results)) => *verdict = results.swap_remove(0),
                Ok(Err(failure)) => *verdict = Err(failure),
                Err(_) => return,
            }
        }
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

    /// One call. After the inner error, which is the plugin's failure, the instance is spent.
    async fn call(
        &self,
        instance: &mut Configured,
        events: &[&Event],
        accepted_at: Timestamp,
    ) -> Result<Result<Vec<Verdict>, Failure>, NotReady> {
        let began = Instant::now();
        let result = instance.run(events, accepted_at).await;
        self.stats.ran(events.len(), began.elapsed());
        match result {
            Ok(verdicts) => Ok(Ok(verdicts)),
            Err(CallError::Failed(failure)) => Ok(Err(failure)),
            Err(CallError::Busy) => Err(NotReady::Now(PlanError::Overloaded)),
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

    /// A new instance, configured.
    async fn fresh(&self) -> Result<Configured, NotReady> {
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

    fn count(&self, verdicts: &[Verdict]) {
        verdicts
            .iter()
            .filter_map(|verdict| verdict.as_ref().err())
            .for_each(|failure| self.stats.failed(&failure.code));
    }
}

/// How much of a plan's allowance for running events again is used: to tell bad ones from good ones, or since a plugin asks for it.
struct Isolation {
    time_left: Duration,
    calls_left: u32,
}

impl Isolation {
    fn new(time_left: Duration) -> Self {
        Self {
            time_left,
            calls_left: ISOLATION_CALLS_MAX,
        }
    }

    /// A call failed after running for `time`.
    fn spend(&mut self, time: Duration) {
        self.time_left = self.time_left.saturating_sub(time);
        self.calls_left = self.calls_left.saturating_sub(1);
    }

    fn goes_on(&self) -> bool {
        self.calls_left > 0 && !self.time_left.is_zero()
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
