//! Acceptance: events of a topic, each with its plan, and events for one queue.

use std::collections::BTreeMap;

use millrace_model::command::{Delivery, Elsewhere, Publish, Routed, Send};
use millrace_model::outcome::Accepted;
use millrace_model::{Fault, Outcome, PayloadRef, QueueId, Refusal, Revision, Tables};

use crate::across::{self, Parted};
use crate::deduplication::{Deduplications, Scope};
use crate::machine::Machine;
use crate::queue::Arrival;

impl<T: Tables> Machine<T> {
    /// Accepts events of a topic. The plans must have been made against what this group knows.
    pub(crate) fn publish(
        &mut self,
        publish: &Publish,
        elsewhere: &Elsewhere,
        places: &[PayloadRef],
    ) -> Result<Outcome, Fault> {
        let scope = Scope::Topic(publish.topic);
        if let Some(asked) = &publish.deduplication
            && let Some(outcome) =
                Deduplications::recall(&self.tables, self.state.at, scope, asked)?
        {
            return Ok(outcome);
        }
        let deliveries = publish.events.iter().flat_map(|event| &event.deliveries);
        if let Some(refusal) = self.stale(publish.revision, deliveries, elsewhere) {
            return Ok(Outcome::Refused(refusal));
        }
        let mut accepted = Vec::with_capacity(publish.events.len());
        let mut rest = places;
        for event in &publish.events {
            let own = take_payloads(&mut rest, event.payloads)?;
            accepted.push(self.accept(publish, event, elsewhere, own)?);
        }
        if let Some(asked) = &publish.deduplication {
            self.deduplications
                .remember(&mut self.tables, &self.state, scope, asked, &accepted)?;
        }
        Ok(Outcome::Accepted(accepted))
    }

    /// Why plans cannot be followed: they are older than what this group adopted, or name a queue that it
    /// does not know yet.
    pub(crate) fn stale<'a>(
        &self,
        revision: Revision,
        mut deliveries: impl Iterator<Item = &'a Delivery>,
        elsewhere: &Elsewhere,
    ) -> Option<Refusal> {
        let is_known = |id| {
            self.queues.get(id).is_some()
                || elsewhere.queue(id).is_some()
                || self.moves.onward(id).is_some()
        };
        let stale = revision < self.state.revision
            || elsewhere.groups().contains(&self.group)
            || deliveries.any(|delivery| !is_known(delivery.queue));
        stale.then_some(Refusal::StalePlan(self.state.revision))
    }

    /// Accepts one event with all its deliveries and parks, or nothing of it.
    fn accept(
        &mut self,
        publish: &Publish,
        event: &Routed,
        elsewhere: &Elsewhere,
        places: &[PayloadRef],
    ) -> Result<Result<Accepted, Refusal>, Fault> {
        let plan = Parted::new(&event.deliveries, &event.parked, elsewhere);
        if let Err(refusal) = self.fits(&plan) {
            return Ok(Err(refusal));
        }
        self.follow(&plan, publish.revision, places)?;
        self.retain_all(event, places)?;
        Ok(Ok(Accepted {
            sequence: self.topics.next(publish.topic),
            deliveries: count(event.deliveries.len()),
        }))
    }

    /// Counts the references of an event: neighbours to the same payload, which is nearly all of a fan-out, at once.
    fn retain_all(&mut self, event: &Routed, places: &[PayloadRef]) -> Result<(), Fault> {
        let delivered = event.deliveries.iter().map(|delivery| delivery.payload);
        let parked = event.parked.iter().map(|park| park.payload);
        let mut ordinals = delivered.chain(parked).peekable();
        while let Some(ordinal) = ordinals.next() {
            let mut references = 1;
            while ordinals.next_if_eq(&ordinal).is_some() {
                references += 1;
            }
            self.tables.retain(place(places, ordinal)?, references);
        }
        Ok(())
    }

    /// Whether all of `deliveries` fit into their queues. One that is sent on was acknowledged by then: it fits.
    pub(crate) fn room(&self, deliveries: &[Delivery]) -> Result<(), Refusal> {
        let all = deliveries.len() as u64;
        let fits = |delivery: &Delivery| {
            let queue = self.queues.get(delivery.queue);
            queue.is_some_and(|queue| queue.room() >= all)
        };
        if deliveries.iter().all(fits) {
            return Ok(());
        }
        let mut more = BTreeMap::<QueueId, u64>::new();
        for delivery in deliveries {
            let more = more.entry(delivery.queue).or_default();
            *more += 1;
            match self.queues.get(delivery.queue) {
                Some(queue) if queue.room() >= *more => {}
                Some(queue) => return Err(queue.full()),
                None if self.moves.onward(delivery.queue).is_some() => {}
                None => return Err(Refusal::StalePlan(self.state.revision)),
            }
        }
        Ok(())
    }

    /// Appends one delivery to its queue, which is known and has room, or sends it on to where the queue went.
    pub(crate) fn deliver(&mut self, delivery: &Delivery, payload: PayloadRef) {
        let Some(queue) = self.queues.touch(delivery.queue) else {
            let onward = self.moves.onward(delivery.queue);
            let to = onward.expect("a plan with an unknown queue was refused");
            return self.send_on(to, payload, self.state.at, across::queue(delivery));
        };
        let arrival = Arrival {
            payload,
            delay_ms: delivery.delay_ms,
            source: None,
            accepted_at: None,
        };
        queue.append(&mut self.tables, self.state.at, arrival);
    }

    /// Accepts events for one queue, a payload each.
    pub(crate) fn send(&mut self, send: &Send, places: &[PayloadRef]) -> Result<Outcome, Fault> {
        if self.queues.get(send.queue).is_none() {
            return Ok(self.refuse_queue(send.queue));
        }
        let scope = Scope::Queue(send.queue);
        if let Some(asked) = &send.deduplication
            && let Some(outcome) =
                Deduplications::recall(&self.tables, self.state.at, scope, asked)?
        {
            return Ok(outcome);
        }
        let accepted: Vec<_> = places
            .iter()
            .map(|place| self.send_one(send, *place))
            .collect();
        if let Some(asked) = &send.deduplication {
            self.deduplications
                .remember(&mut self.tables, &self.state, scope, asked, &accepted)?;
        }
        Ok(Outcome::Accepted(accepted))
    }

    fn send_one(&mut self, send: &Send, payload: PayloadRef) -> Result<Accepted, Refusal> {
        let queue = self.queues.touch(send.queue);
        let queue = queue.expect("a send to an unknown queue was refused");
        if queue.room() == 0 {
            return Err(queue.full());
        }
        let arrival = Arrival {
            payload,
            delay_ms: send.delay_ms,
            source: None,
            accepted_at: None,
        };
        let sequence = queue.append(&mut self.tables, self.state.at, arrival);
        self.tables.retain(payload, 1);
        Ok(Accepted {
            sequence,
            deliveries: 1,
        })
    }
}

/// Takes the next `count` payloads.
pub(crate) fn take_payloads<'a>(
    rest: &mut &'a [PayloadRef],
    count: u32,
) -> Result<&'a [PayloadRef], Fault> {
    let taken = rest.split_off(..count as usize);
    taken.ok_or_else(|| Fault::new("apply a plan", "it names more payloads than came with it"))
}

/// The payload of an ordinal.
pub(crate) fn place(places: &[PayloadRef], ordinal: u32) -> Result<PayloadRef, Fault> {
    let place = places.get(ordinal as usize);
    place
        .copied()
        .ok_or_else(|| Fault::new("apply a plan", "it names a payload that is not there"))
}

/// A count of things of one event, which limits keep small.
pub(crate) fn count(things: usize) -> u32 {
    u32::try_from(things).expect("limits keep the deliveries of an event few")
}
