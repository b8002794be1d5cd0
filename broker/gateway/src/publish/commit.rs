//! Plans events and commits them with their plans, again as often as the catalog changes in between.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use millrace_model::catalog::{Route, Topology};
use millrace_model::command::{Deduplication, Publish, Routed};
use millrace_model::outcome::Accepted;
use millrace_model::router::{Explained, Plan, PlanRequest, Rejection};
use millrace_model::{Name, Outcome, Proposal, Refusal, limit};

use super::Going;
use crate::Gateway;
use crate::across;
use crate::gateway::unexpected;
use crate::intake::Instructions;
use crate::problem::{Failure, causes};

/// What came of one event.
pub(crate) struct Receipt {
    pub(crate) result: Result<Accepted, Failure>,
    /// What each subscription did, if that was asked.
    pub(crate) explained: Vec<Explained>,
    /// How many parked lists it went to.
    pub(crate) parked: usize,
}

/// Publishes `going` to `topic`: one receipt an event.
///
/// # Errors
/// When nothing of it was accepted, or it is not known.
pub(crate) async fn publish(
    gateway: &Gateway,
    topic: &Name,
    going: &Going,
    instructions: &Instructions,
    explain: bool,
) -> Result<Vec<Receipt>, Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let topology = gateway.ledger().topology();
        let route = topology.topics.get(topic).cloned();
        let route = route.ok_or_else(|| Refusal::TopicNotFound(topic.to_string()))?;
        let request = request(gateway, &topology, &route, going, instructions, explain);
        let plans = gateway.planner().plan(request).await?;
        if plans.len() != going.events.len() {
            return Err(Failure::internal("there is not one plan for each event"));
        }
        let (proposal, fates) = planned(&topology, &route, going, instructions, plans);
        if proposal.payloads.is_empty() {
            return receipts(fates, Vec::new());
        }
        match gateway.ledger().commit(route.topic.group, proposal).await? {
            Outcome::Accepted(results) => return receipts(fates, results),
            Outcome::Refused(Refusal::StalePlan(_)) if attempt < limit::PLAN_ATTEMPTS_MAX => {
                wait(attempt).await;
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            other => return Err(unexpected(&other)),
        }
    }
}

/// Gives the catalog's news time to arrive here: 1, 2, 4 … milliseconds.
pub(crate) async fn wait(attempt: usize) {
    let ms = 1 << attempt.min(limit::PLAN_ATTEMPTS_MAX).saturating_sub(1);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn request(
    gateway: &Gateway,
    topology: &Arc<Topology>,
    route: &Arc<Route>,
    going: &Going,
    instructions: &Instructions,
    explain: bool,
) -> PlanRequest {
    PlanRequest {
        topology: Arc::clone(topology),
        route: Arc::clone(route),
        only: None,
        events: Arc::clone(&going.events),
        accepted_at: gateway.clock().now(),
        delay_ms: instructions.delay_ms,
        explain,
    }
}

/// What the plan leaves to say about an event.
struct Fate {
    rejection: Option<Rejection>,
    explained: Vec<Explained>,
    parked: usize,
}

/// The events with their plans, ready to be committed.
fn planned(
    topology: &Topology,
    route: &Route,
    going: &Going,
    instructions: &Instructions,
    plans: Vec<Plan>,
) -> (Proposal, Vec<Fate>) {
    let mut events = Vec::with_capacity(plans.len());
    let mut payloads = Vec::with_capacity(plans.len());
    let mut fates = Vec::with_capacity(plans.len());
    for (plan, stored) in plans.into_iter().zip(&going.stored) {
        let is_rejected = plan.rejection.is_some();
        fates.push(Fate {
            rejection: plan.rejection,
            explained: plan.explained,
            parked: plan.parked.len(),
        });
        if is_rejected {
            continue;
        }
        payloads.push(stored.clone());
        events.push(Routed {
            payloads: 1 + u32::try_from(plan.bodies.len()).expect("bounded by the deliveries"),
            deliveries: plan.deliveries,
            parked: plan.parked,
        });
        payloads.extend(plan.bodies);
    }
    let deduplication = instructions.deduplication.map(|key| Deduplication {
        key,
        window_ms: limit::TOPIC_DEDUPLICATION_MS,
    });
    let publish = Publish {
        topic: route.topic.id,
        revision: topology.revision,
        deduplication,
        events,
    };
    let command = across::publish(topology, route.topic.group, publish);
    (Proposal { command, payloads }, fates)
}

/// Puts the results of those that were committed among those that were not.
fn receipts(
    fates: Vec<Fate>,
    results: Vec<Result<Accepted, Refusal>>,
) -> Result<Vec<Receipt>, Failure> {
    let committed = fates.iter().filter(|fate| fate.rejection.is_none()).count();
    if committed != results.len() {
        // A key that was used before, with events of which the plugins took others then.
        return Err(Refusal::KeyReused.into());
    }
    let mut results = results.into_iter();
    let receipt = |fate: Fate| Receipt {
        result: match fate.rejection {
            Some(rejection) => Err(rejected(&rejection)),
            None => results.next().map_or_else(
                || Err(Failure::internal("an event has no result")),
                |result| result.map_err(Failure::from),
            ),
        },
        explained: fate.explained,
        parked: fate.parked,
    };
    Ok(fates.into_iter().map(receipt).collect())
}

/// 422, or 503 when the plugin says that the event may succeed later.
fn rejected(rejection: &Rejection) -> Failure {
    let Rejection {
        subscription,
        code,
        detail,
        may_succeed,
    } = rejection;
    let sentence = format!("subscription {subscription} refuses the event: {code}: {detail}");
    if *may_succeed {
        return causes::deferred_by_plugin(sentence);
    }
    Failure::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "rejected_by_plugin",
        sentence,
    )
}
