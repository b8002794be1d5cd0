//! [`Draft`]: the plan of one event in the making.

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::command::{Delivery, Park};
use millrace_model::event::Event;
use millrace_model::limit::EVENT_DELIVERIES_MAX;
use millrace_model::router::{Explained, Plan, PlanError, Rejection};

/// An event on its way: as published, or as a plugin changed it.
#[derive(Clone, Debug)]
pub(crate) struct Traveller {
    /// Which event of the request.
    pub(crate) index: usize,
    /// The changed form, if it was changed.
    pub(crate) changed: Option<Arc<Event>>,
    /// Which payload of the plan it is.
    pub(crate) payload: u32,
    /// Delay of its deliveries, in milliseconds.
    pub(crate) delay_ms: Option<u64>,
}

impl Traveller {
    /// The event in its present form.
    pub(crate) fn event<'e>(&'e self, events: &'e [Event]) -> &'e Event {
        self.changed.as_deref().unwrap_or(&events[self.index])
    }
}

/// The plan of one event in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    plan: Plan,
}

impl Draft {
    /// Adds a changed form of the event; the result is its number.
    pub(crate) fn body(&mut self, stored: Bytes) -> u32 {
        self.plan.bodies.push(stored);
        u32::try_from(self.plan.bodies.len())
            .expect("outputs of a call are bounded in bytes, so their number is, too")
    }

    /// Adds a delivery.
    ///
    /// # Errors
    /// [`PlanError::TooManyDeliveries`] when the event has as many as one may have.
    pub(crate) fn deliver(&mut self, delivery: Delivery) -> Result<(), PlanError> {
        if self.plan.deliveries.len() >= EVENT_DELIVERIES_MAX {
            return Err(PlanError::TooManyDeliveries(EVENT_DELIVERIES_MAX));
        }
        self.plan.deliveries.push(delivery);
        Ok(())
    }

    /// Parks the event.
    pub(crate) fn park(&mut self, park: Park) {
        self.plan.parked.push(park);
    }

    /// Refuses the event as a whole; the first refusal is the one that is told.
    pub(crate) fn reject(&mut self, rejection: Rejection) {
        self.plan.rejection.get_or_insert(rejection);
    }

    /// Notes what a subscription did.
    pub(crate) fn explain(&mut self, explained: Explained) {
        self.plan.explained.push(explained);
    }

    /// The plan: a refused event has nothing but the refusal, and no body travels that nobody gets.
    pub(crate) fn finish(self) -> Plan {
        let Self { mut plan } = self;
        if plan.rejection.is_some() {
            return Plan {
                rejection: plan.rejection,
                explained: plan.explained,
                ..Plan::default()
            };
        }
        if !plan.bodies.is_empty() {
            drop_unused(&mut plan);
        }
        plan
    }
}

/// Bodies made for a topic whose subscriptions then took nothing are not stored.
fn drop_unused(plan: &mut Plan) {
    let mut used = vec![false; plan.bodies.len() + 1];
    let numbers = plan
        .deliveries
        .iter()
        .map(|one| one.payload)
        .chain(plan.parked.iter().map(|one| one.payload));
    numbers.for_each(|number| used[number as usize] = true);
    used[0] = true;
    let mut next = 0;
    let renumbered: Vec<u32> = used
        .iter()
        .map(|used| {
            let number = next;
            next += u32::from(*used);
            number
        })
        .collect();
    plan.deliveries
        .iter_mut()
        .for_each(|one| one.payload = renumbered[one.payload as usize]);
    plan.parked
        .iter_mut()
        .for_each(|one| one.payload = renumbered[one.payload as usize]);
    let mut number = 0;
    plan.bodies.retain(|_| {
        number += 1;
        used[number]
    });
}

#[cfg(test)]
mod tests {
    use millrace_model::QueueId;

    use super::*;

    fn delivery(payload: u32) -> Delivery {
        Delivery {
            queue: QueueId(1),
            payload,
            delay_ms: None,
        }
    }

    #[test]
    fn unused_bodies_go_and_the_others_are_numbered_anew() -> Result<(), PlanError> {
        let mut draft = Draft::default();
        for body in ["one", "two", "three"] {
            draft.body(body.into());
        }
        draft.deliver(delivery(3))?;
        draft.deliver(delivery(0))?;
        draft.deliver(delivery(1))?;
        let plan = draft.finish();
        assert_eq!(plan.bodies, [Bytes::from("one"), Bytes::from("three")]);
        assert_eq!(plan.deliveries, [delivery(2), delivery(0), delivery(1)]);
        Ok(())
    }

    #[test]
    fn a_refused_event_has_nothing_but_the_refusal() -> Result<(), PlanError> {
        let mut draft = Draft::default();
        let body = draft.body("changed".into());
        draft.deliver(delivery(body))?;
        let rejection = |code: &str| Rejection {
            subscription: "s".into(),
            code: code.into(),
            detail: String::new(),
            may_succeed: false,
        };
        draft.reject(rejection("first"));
        draft.reject(rejection("second"));
        assert_eq!(
            draft.finish(),
            Plan {
                rejection: Some(rejection("first")),
                ..Plan::default()
            }
        );
        Ok(())
    }
}
