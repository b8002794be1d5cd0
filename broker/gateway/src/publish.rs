//! `POST /v1/topics/{topic}/messages`: read, check, plan, commit, answer.

mod answer;
mod commit;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jsonschema::Validator;
use millrace_model::catalog::Topic;
use millrace_model::topic::SchemaMode;
use millrace_model::{Event, Problem};

use crate::Gateway;
use crate::body::Response;
use crate::call::Call;
use crate::intake::{self, Refused, Taken};
use crate::problem::Failure;
use crate::schema;

pub(crate) use answer::{PublishAnswer, of_queue, respond};
use commit::publish as commit;
pub(crate) use commit::{Receipt, wait};

/// Where each event of a request stands.
pub(crate) enum Slot {
    /// It goes on, as the n-th of those that do.
    Going(usize),
    /// It is refused.
    Refused(Refused),
}

/// The events of a request that go on.
pub(crate) struct Going {
    pub(crate) events: Arc<[Event]>,
    /// Their stored forms.
    pub(crate) stored: Vec<Bytes>,
}

/// Publishes events to a topic.
pub(crate) async fn publish(mut call: Call) -> Result<Response, Failure> {
    let explain = call.query()?.flag("explain");
    let gateway = call.gateway.clone();
    let topology = call.topology().await?;
    let topic = Arc::clone(&call.topic(&topology)?.topic);
    let place = ["/topics/", topic.name.as_str()].concat();
    let mut intake = intake::read(&mut call, &place, topic.topic.config.event_bytes_max()).await?;
    if let Some(schema) = gateway.schemas().of(&topology, &topic).await? {
        intake.events = checked(&gateway, &topic, schema, intake.events).await?;
    }
    let is_batch = intake.is_batch;
    let (slots, going) = sort(intake.events);
    let receipts = if going.stored.is_empty() {
        Vec::new()
    } else {
        commit(&gateway, &topic.name, &going, &intake.instructions, explain).await?
    };
    gateway.metrics().flow().published(&receipts);
    respond(&slots, &going, &receipts, is_batch, answer::of_topic)
}

/// Checks the data of events: here when that is quick, else where nobody waits for it.
async fn checked(
    gateway: &Gateway,
    topic: &Arc<Topic>,
    schema: Arc<Validator>,
    mut events: Vec<Result<Taken, Refused>>,
) -> Result<Vec<Result<Taken, Refused>>, Failure> {
    let data = |taken: &Taken| taken.event.data.bytes().len();
    let bytes: usize = events.iter().flatten().map(data).sum();
    if bytes <= schema::CHECKED_HERE_BYTES_MAX {
        check_schema(gateway, topic, &schema, &mut events);
        return Ok(events);
    }
    let (own, topic) = (gateway.clone(), Arc::clone(topic));
    let check = move || {
        check_schema(&own, &topic, &schema, &mut events);
        events
    };
    gateway.schemas().elsewhere(check).await
}

/// Refuses events whose data breaks the topic's schema, or counts and logs them where the topic only warns.
fn check_schema(
    gateway: &Gateway,
    topic: &Topic,
    schema: &Validator,
    events: &mut [Result<Taken, Refused>],
) {
    for slot in events {
        let Ok(taken) = slot else { continue };
        let problems = schema::data_problems(schema, &taken.event);
        let Some(Problem {
            pointer, detail, ..
        }) = problems.first()
        else {
            continue;
        };
        if topic.topic.config.schema_mode == SchemaMode::Warn {
            let (topic, event) = (&topic.name, &taken.event.id);
            tracing::warn!(%topic, event, pointer, detail, "data breaks the schema of its topic");
            gateway.metrics().flow().warned();
            continue;
        }
        let id = Some(std::mem::take(&mut taken.event.id));
        let failure = Failure::problems(StatusCode::UNPROCESSABLE_ENTITY, problems);
        *slot = Err(Refused { id, failure });
    }
}

/// Parts what goes on from what is refused, and remembers the order.
pub(crate) fn sort(events: Vec<Result<Taken, Refused>>) -> (Vec<Slot>, Going) {
    let mut going = Vec::with_capacity(events.len());
    let mut stored = Vec::with_capacity(events.len());
    let slot = |event| match event {
        Err(refused) => Slot::Refused(refused),
        Ok(Taken {
            event,
            stored: text,
        }) => {
            going.push(event);
            stored.push(text);
            Slot::Going(stored.len() - 1)
        }
    };
    let slots = events.into_iter().map(slot).collect();
    let events = going.into();
    (slots, Going { events, stored })
}
