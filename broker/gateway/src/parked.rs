//! The parked list of a subscription: events that its plugin failed on, and their second chance.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use millrace_model::catalog::{Route, Subscription, Topology};
use millrace_model::command::{Park, Unpark, Unparked};
use millrace_model::query::ParkedEvent;
use millrace_model::router::{Plan, PlanRequest};
use millrace_model::{
    Answer, Event, GroupId, Outcome, PayloadRef, Proposal, Query as Question, Refusal,
    SubscriptionId, limit,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::Gateway;
use crate::across;
use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::page::{self, Page};
use crate::problem::Failure;
use crate::publish::wait;
use crate::{json, rfc3339};

/// A parked event as answers show it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ParkedView<'a> {
    /// Its number in the parked list.
    sequence: u64,
    /// When it was parked.
    #[schema(format = DateTime)]
    parked_at: String,
    /// Stable code of the reason.
    code: &'a str,
    /// The reason, for people.
    reason: &'a str,
    /// The plugin version that failed, as `name@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plugin: Option<&'a str>,
    /// The event.
    #[schema(value_type = crate::openapi::CloudEvent)]
    event: &'a RawValue,
}

/// The body of a redrive of parked events.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ParkedRedriveBody {
    /// Most events.
    #[schema(minimum = 1, maximum = 1_000)]
    max: u32,
}

impl Default for ParkedRedriveBody {
    fn default() -> Self {
        Self {
            max: limit::REDRIVE_MESSAGES_MAX,
        }
    }
}

/// The answer to a redrive of parked events.
#[derive(Serialize, ToSchema)]
pub(crate) struct ParkedRedriveAnswer {
    /// How many left the parked list.
    redriven: u64,
    /// How many were parked again.
    parked: u64,
}

/// Lists parked events, oldest first.
pub(crate) async fn list(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let topology = call.fresh().await?;
    let route = call.topic(&topology)?;
    let (group, subscription) = (route.topic.group, call.subscription(route)?.id);
    let (after, limit) = (query.number("after"), query.limit());
    let (events, is_cut) = read(&call.gateway, group, subscription, after, limit).await?;
    let last = events.last().map(|(parked, _)| parked.sequence.to_string());
    let next = last.filter(|_| is_cut || events.len() >= limit as usize);
    let items: Result<Vec<_>, _> = events
        .iter()
        .map(|(parked, event)| show(parked, event))
        .collect();
    Ok(json::answer(
        StatusCode::OK,
        &Page {
            items: items?,
            next,
        },
    ))
}

fn show<'a>(parked: &'a ParkedEvent, event: &'a [u8]) -> Result<ParkedView<'a>, Failure> {
    Ok(ParkedView {
        sequence: parked.sequence,
        parked_at: rfc3339::text(parked.parked_at),
        code: &parked.code,
        reason: &parked.detail,
        plugin: parked.plugin.as_deref(),
        event: page::stored(event)?,
    })
}

/// Parked events with their stored forms, and whether the page was cut for its size.
async fn read(
    gateway: &Gateway,
    group: GroupId,
    subscription: SubscriptionId,
    after: Option<u64>,
    limit: u32,
) -> Result<(Vec<(ParkedEvent, Bytes)>, bool), Failure> {
    let question = Question::Parked {
        subscription,
        after,
        limit,
    };
    let mut parked = match gateway.ledger().query(group, question).await? {
        Answer::Parked(parked) => parked,
        Answer::Refused(refusal) => return Err(refusal.into()),
        _ => {
            return Err(Failure::internal(
                "a parked list was answered with something else",
            ));
        }
    };
    let is_cut = page::cut(&mut parked, |event| event.payload);
    let places: Vec<PayloadRef> = parked.iter().map(|event| event.payload).collect();
    let events = gateway.ledger().payloads(group, places).await?;
    Ok((parked.into_iter().zip(events).collect(), is_cut))
}

/// Plans parked events anew and delivers them, oldest first.
pub(crate) async fn redrive(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let body: ParkedRedriveBody = json::body(&mut call).await?;
    json::check_range(
        "/max",
        body.max.into(),
        1,
        limit::REDRIVE_MESSAGES_MAX.into(),
    )?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let topology = call.fresh().await?;
        let route = call.topic(&topology)?;
        let subscription = call.subscription(route)?;
        let proposal = plan(&call.gateway, &topology, route, subscription, body.max).await?;
        match call
            .gateway
            .ledger()
            .commit(route.topic.group, proposal)
            .await?
        {
            Outcome::Unparked(done) => {
                let (redriven, parked) = (done.redriven, done.parked);
                let answer = ParkedRedriveAnswer { redriven, parked };
                return Ok(json::answer(StatusCode::OK, &answer));
            }
            Outcome::Refused(Refusal::StalePlan(_)) if attempt < limit::PLAN_ATTEMPTS_MAX => {
                wait(attempt).await;
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            other => return Err(unexpected(&other)),
        }
    }
}

/// The command that delivers what is parked by new plans.
async fn plan(
    gateway: &Gateway,
    topology: &Arc<Topology>,
    route: &Arc<Route>,
    subscription: &Arc<Subscription>,
    max: u32,
) -> Result<Proposal, Failure> {
    let (found, _) = read(gateway, route.topic.group, subscription.id, None, max).await?;
    let events = found.iter().map(|(_, text)| Event::from_json(text.clone()));
    let events = events.collect::<Result<Vec<_>, _>>();
    let events = events.map_err(|_| Failure::internal("a stored event is not a CloudEvent"))?;
    let request = PlanRequest {
        topology: Arc::clone(topology),
        route: Arc::clone(route),
        only: Some(Arc::clone(subscription)),
        events: events.into(),
        accepted_at: gateway.clock().now(),
        delay_ms: None,
        explain: false,
    };
    let plans = if found.is_empty() {
        Vec::new()
    } else {
        gateway.planner().plan(request).await?
    };
    if plans.len() != found.len() {
        return Err(Failure::internal("there is not one plan for each event"));
    }
    let mut payloads = Vec::new();
    let planned = plans.into_iter().zip(&found).map(|(plan, (parked, _))| {
        let (event, bodies) = unparked(parked.sequence, plan, subscription.id);
        payloads.extend(bodies);
        event
    });
    let unpark = Unpark {
        subscription: subscription.id,
        revision: topology.revision,
        events: planned.collect(),
    };
    let command = across::unpark(topology, route.topic.group, unpark);
    Ok(Proposal { command, payloads })
}

/// What the new plan makes of one event. One that the plugin refuses stays where it is: there is no
/// publisher to tell.
fn unparked(sequence: u64, plan: Plan, subscription: SubscriptionId) -> (Unparked, Vec<Bytes>) {
    if let Some(rejection) = plan.rejection {
        let park = Park {
            subscription,
            payload: 0,
            code: "rejected".to_owned(),
            detail: format!("{}: {}", rejection.code, rejection.detail),
            plugin: None,
        };
        let event = Unparked {
            sequence,
            payloads: 0,
            deliveries: Vec::new(),
            parked: vec![park],
        };
        return (event, Vec::new());
    }
    let event = Unparked {
        sequence,
        payloads: u32::try_from(plan.bodies.len()).expect("bounded by the deliveries"),
        deliveries: plan.deliveries,
        parked: plan.parked,
    };
    (event, plan.bodies)
}
