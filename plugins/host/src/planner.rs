//! [`Planner`]: the plans of one request in the making.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use futures::future::try_join_all;
use millrace_model::Name;
use millrace_model::command::{Delivery, Park};
use millrace_model::event::Event;
use millrace_model::limit::TOPIC_HOPS_MAX;
use millrace_model::router::{Explained, Plan, PlanError, PlanRequest, Rejection, Verdict as Word};
use millrace_model::subscription::OnFailure;
use serde_json::Value;

use crate::binding::Verdict;
use crate::contract::Output;
use crate::draft::{Draft, Traveller};
use crate::edit;
use crate::failure::Failure;
use crate::instance::Decision;
use crate::ready_route::{Ready, ReadyRoute, Routes};
use crate::shared::Shared;
use crate::targets::Target;

/// Plans all events of a request, topic by topic: those that go on to another topic are planned there with the next hop.
pub(crate) struct Planner<'p> {
    shared: &'p Arc<Shared>,
    routes: &'p Routes,
    request: &'p PlanRequest,
    drafts: Vec<Draft>,
    /// Who goes on to which topic with the next hop. Ordered, so that equal requests give equal plans.
    onward: BTreeMap<Name, Vec<Traveller>>,
}

/// Data of the events at one stop, parsed when the first filter asks.
type Parsed = [OnceLock<Option<Value>>];

/// What a plugin said of the events that its subscription took, by place in the stop, in order.
type Verdicts = Vec<(usize, Verdict)>;

impl<'p> Planner<'p> {
    pub(crate) fn new(
        shared: &'p Arc<Shared>,
        routes: &'p Routes,
        request: &'p PlanRequest,
    ) -> Self {
        let drafts = std::iter::repeat_with(Draft::default)
            .take(request.events.len())
            .collect();
        Self {
            shared,
            routes,
            request,
            drafts,
            onward: BTreeMap::new(),
        }
    }

    /// Plans all events.
    ///
    /// # Errors
    /// [`PlanError`] when no plan can be made for one of them now.
    pub(crate) async fn plan(mut self) -> Result<Vec<Plan>, PlanError> {
        let published = (0..self.request.events.len()).map(|index| Traveller {
            index,
            changed: None,
            payload: 0,
            delay_ms: self.request.delay_ms,
        });
        self.first_stop(published.collect()).await?;
        for hop in 1.. {
            let onward = std::mem::take(&mut self.onward);
            if onward.is_empty() {
                break;
            }
            for (topic, travellers) in onward {
                self.next_stop(hop, &topic, &travellers).await?;
            }
        }
        Ok(self.drafts.into_iter().map(Draft::finish).collect())
    }

    async fn first_stop(&mut self, travellers: Vec<Traveller>) -> Result<(), PlanError> {
        let request = self.request;
        let route = self
            .routes
            .get(self.shared, &request.route, &request.topology)?;
        let Some(only) = &request.only else {
            return self.stop(&route, &route.subscriptions, &travellers).await;
        };
        // A subscription that changed since the caller looked is planned as the caller knows it.
        match route.find(only) {
            Some(ready) => self.stop(&route, &[ready], &travellers).await,
            None => {
                let ready = Ready::new(self.shared, &request.route, only, &request.topology, None)?;
                self.stop(&route, &[&ready], &travellers).await
            }
        }
    }

    async fn next_stop(
        &mut self,
        hop: usize,
        topic: &Name,
        travellers: &[Traveller],
    ) -> Result<(), PlanError> {
        if hop > TOPIC_HOPS_MAX {
            // The catalog refuses longer chains and cycles, so the topics changed in between: plan again.
            return Err(PlanError::Unavailable(format!(
                "a chain of topics is longer than {TOPIC_HOPS_MAX}"
            )));
        }
        let Some(route) = self.request.topology.topics.get(topic) else {
            return Err(PlanError::Unavailable(format!(
                "the topic {topic} is not in the catalog"
            )));
        };
        let route = self
            .routes
            .get(self.shared, route, &self.request.topology)?;
        self.stop(&route, &route.subscriptions, travellers).await
    }

    /// All events that are at one topic: first the plugins, at the same time, then the decisions in order.
    async fn stop(
        &mut self,
        route: &ReadyRoute,
        ready: &[impl Borrow<Ready>],
        travellers: &[Traveller],
    ) -> Result<(), PlanError> {
        let request = self.request;
        let parsed: Vec<OnceLock<Option<Value>>> = std::iter::repeat_with(OnceLock::new)
            .take(travellers.len())
            .collect();
        let ready = || ready.iter().map(Borrow::borrow);
        let mut verdicts = BTreeMap::new();
        if ready().any(runs) {
            // Boxed: events that meet no plugin pay nothing for it.
            verdicts = Box::pin(run_all(request, ready(), travellers, &parsed)).await?;
        }
        for (at, ready) in ready().enumerate() {
            match verdicts.remove(&at) {
                Some(verdicts) => self.follow(route, ready, travellers, verdicts)?,
                None => self.forward(route, ready, travellers, &parsed)?,
            }
        }
        Ok(())
    }

    /// A subscription whose plugin ran.
    fn follow(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        travellers: &[Traveller],
        verdicts: Verdicts,
    ) -> Result<(), PlanError> {
        let mut verdicts = verdicts.into_iter().peekable();
        for (at, traveller) in travellers.iter().enumerate() {
            match verdicts.next_if(|(place, _)| *place == at) {
                None => self.note(route, ready, traveller, Word::Filtered, &[], None),
                Some((_, verdict)) => self.decide(route, ready, traveller, verdict)?,
            }
        }
        Ok(())
    }

    /// A subscription without a plugin, or one that is paused.
    fn forward(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        travellers: &[Traveller],
        parsed: &Parsed,
    ) -> Result<(), PlanError> {
        for (traveller, parsed) in travellers.iter().zip(parsed) {
            if !takes(ready, traveller.event(&self.request.events), parsed) {
                self.note(route, ready, traveller, Word::Filtered, &[], None);
            } else if ready.subscription.subscription.config.paused {
                let paused = Failure::new("paused", "the subscription is paused");
                self.park(route, ready, traveller, paused);
            } else {
                self.send(route, ready, traveller, &ready.targets.all())?;
            }
        }
        Ok(())
    }

    fn decide(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        traveller: &Traveller,
        verdict: Verdict,
    ) -> Result<(), PlanError> {
        match verdict {
            Ok(Decision::Keep(true)) => self.send(route, ready, traveller, &ready.targets.all()),
            Ok(Decision::To(names)) if !names.is_empty() => match ready.targets.named(&names) {
                Ok(targets) => self.send(route, ready, traveller, &targets),
                Err(failure) => self.fail(route, ready, traveller, failure),
            },
            Ok(Decision::Outputs(outputs)) if !outputs.is_empty() => {
                self.send_outputs(route, ready, traveller, outputs)
            }
            Ok(_) => {
                self.note(
                    route,
                    ready,
                    traveller,
                    Word::Dropped,
                    &[],
                    Some("the plugin dropped it"),
                );
                Ok(())
            }
            Err(failure) => self.fail(route, ready, traveller, failure),
        }
    }

    fn send(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        traveller: &Traveller,
        targets: &[&Target],
    ) -> Result<(), PlanError> {
        for target in targets {
            self.hand_over(traveller, target)?;
        }
        self.note(route, ready, traveller, Word::Delivered, targets, None);
        Ok(())
    }

    /// All outputs of one event, or none of them.
    fn send_outputs(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        traveller: &Traveller,
        outputs: Vec<Output>,
    ) -> Result<(), PlanError> {
        let event = traveller.event(&self.request.events);
        let prepared = outputs
            .into_iter()
            .enumerate()
            .map(|(ordinal, output)| prepare(ready, event, output, ordinal));
        let prepared = match prepared.collect::<Result<Vec<_>, Failure>>() {
            Ok(prepared) => prepared,
            Err(failure) => return self.fail(route, ready, traveller, failure),
        };
        let mut all = Vec::new();
        for output in prepared {
            let traveller = self.change(traveller, output.changed, output.delay_ms);
            for target in &output.targets {
                self.hand_over(&traveller, target)?;
            }
            all.extend(output.targets);
        }
        self.note(route, ready, traveller, Word::Delivered, &all, None);
        Ok(())
    }

    /// The traveller in its new form, if it has one.
    fn change(
        &mut self,
        traveller: &Traveller,
        changed: Option<(Event, bytes::Bytes)>,
        delay_ms: Option<u64>,
    ) -> Traveller {
        let mut traveller = Traveller {
            delay_ms: delay_ms.or(traveller.delay_ms),
            ..traveller.clone()
        };
        if let Some((event, stored)) = changed {
            traveller.payload = self.drafts[traveller.index].body(stored);
            traveller.changed = Some(Arc::new(event));
        }
        traveller
    }

    fn hand_over(&mut self, traveller: &Traveller, target: &Target) -> Result<(), PlanError> {
        match target {
            Target::Queue(queue, _) => self.drafts[traveller.index].deliver(Delivery {
                queue: *queue,
                payload: traveller.payload,
                delay_ms: traveller.delay_ms,
            }),
            Target::Topic(topic) => {
                self.onward
                    .entry(topic.clone())
                    .or_default()
                    .push(traveller.clone());
                Ok(())
            }
            Target::Missing(queue) => Err(PlanError::Unavailable(format!(
                "the queue {queue} is not in the catalog"
            ))),
        }
    }

    /// What the subscription wants done with an event that its plugin failed on.
    fn fail(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        traveller: &Traveller,
        failure: Failure,
    ) -> Result<(), PlanError> {
        let on_failure = ready.subscription.subscription.config.on_failure;
        match on_failure {
            OnFailure::Skip => {
                let reason = format!("{}: {}", failure.code, failure.detail);
                self.note(route, ready, traveller, Word::Dropped, &[], Some(&reason));
            }
            // Nobody is there to refuse to: a parked event stays parked.
            OnFailure::Reject if self.request.only.is_none() => {
                self.reject(route, ready, traveller, failure);
            }
            OnFailure::Park | OnFailure::Reject => self.park(route, ready, traveller, failure),
        }
        Ok(())
    }

    fn reject(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        traveller: &Traveller,
        failure: Failure,
    ) {
        self.note(
            route,
            ready,
            traveller,
            Word::Rejected,
            &[],
            Some(&failure.detail),
        );
        self.drafts[traveller.index].reject(Rejection {
            subscription: ready.subscription.name.to_string(),
            code: failure.code,
            detail: failure.detail,
            may_succeed: failure.may_succeed,
        });
    }

    fn park(&mut self, route: &ReadyRoute, ready: &Ready, traveller: &Traveller, failure: Failure) {
        let reason = format!("{}: {}", failure.code, failure.detail);
        self.note(route, ready, traveller, Word::Parked, &[], Some(&reason));
        self.drafts[traveller.index].park(Park {
            subscription: ready.subscription.id,
            payload: traveller.payload,
            code: failure.code,
            detail: failure.detail,
            plugin: plugin(ready),
        });
    }

    fn note(
        &mut self,
        route: &ReadyRoute,
        ready: &Ready,
        traveller: &Traveller,
        outcome: Word,
        to: &[&Target],
        reason: Option<&str>,
    ) {
        if !self.request.explain {
            return;
        }
        let elsewhere = route.topic != self.request.route.topic.name;
        self.drafts[traveller.index].explain(Explained {
            topic: elsewhere.then(|| route.topic.to_string()),
            name: ready.subscription.name.to_string(),
            outcome,
            to: to.iter().map(|target| target.name().to_string()).collect(),
            plugin: plugin(ready).filter(|_| outcome != Word::Filtered),
            reason: reason.map(str::to_owned),
        });
    }
}

/// An output that is known to be good.
struct Prepared<'r> {
    targets: Vec<&'r Target>,
    changed: Option<(Event, bytes::Bytes)>,
    delay_ms: Option<u64>,
}

fn prepare<'r>(
    ready: &'r Ready,
    event: &Event,
    output: Output,
    ordinal: usize,
) -> Result<Prepared<'r>, Failure> {
    let targets = if output.to.is_empty() {
        ready.targets.all()
    } else {
        ready.targets.named(&output.to)?
    };
    let delay_ms = output.delay_ms;
    if delay_ms.is_some_and(|ms| ms > millrace_model::limit::DURATION_SECONDS_MAX * 1000) {
        return Err(Failure::contract(
            "the plugin delays an event for more than a hundred years",
        ));
    }
    let changed = if edit::changes(&output, ordinal) {
        let event = edit::edited(event, output, ordinal)?;
        let stored = edit::stored(&event)?;
        Some((event, stored))
    } else {
        None
    };
    Ok(Prepared {
        targets,
        changed,
        delay_ms,
    })
}

fn runs(ready: &Ready) -> bool {
    ready.binding.is_some() && !ready.subscription.subscription.config.paused
}

fn plugin(ready: &Ready) -> Option<String> {
    ready.binding.as_ref().map(|binding| binding.plugin.clone())
}

/// Runs the plugins of all subscriptions that have one, at the same time; what each said, by its place.
async fn run_all<'r>(
    request: &PlanRequest,
    ready: impl Iterator<Item = &'r Ready>,
    travellers: &[Traveller],
    parsed: &Parsed,
) -> Result<BTreeMap<usize, Verdicts>, PlanError> {
    let runs = ready
        .enumerate()
        .filter(|(_, ready)| runs(ready))
        .map(async |(at, ready)| {
            Ok::<_, PlanError>((at, run(request, ready, travellers, parsed).await?))
        });
    Ok(try_join_all(runs).await?.into_iter().collect())
}

/// Runs the plugin of one subscription on the events that its filter takes.
async fn run(
    request: &PlanRequest,
    ready: &Ready,
    travellers: &[Traveller],
    parsed: &Parsed,
) -> Result<Verdicts, PlanError> {
    let events = travellers
        .iter()
        .map(|traveller| traveller.event(&request.events));
    let taken = events
        .enumerate()
        .filter(|(at, event)| takes(ready, event, &parsed[*at]));
    let (places, events): (Vec<usize>, Vec<&Event>) = taken.unzip();
    let Some(binding) = ready.binding.as_ref().filter(|_| !events.is_empty()) else {
        return Ok(Verdicts::new());
    };
    let verdicts = binding.run(&events, request.accepted_at).await?;
    Ok(places.into_iter().zip(verdicts).collect())
}

fn takes(ready: &Ready, event: &Event, parsed: &OnceLock<Option<Value>>) -> bool {
    let Some(filter) = &ready.filter else {
        return true;
    };
    let data = if filter.needs_data() {
        parsed.get_or_init(|| event.json_data()).as_ref()
    } else {
        None
    };
    filter.takes_parsed(event, data)
}
