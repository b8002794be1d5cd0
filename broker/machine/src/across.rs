//! A plan over several groups: what this group does itself, and what it accepts for others.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millrace_model::command::{CarriedTo, Delivery, Elsewhere, Park};
use millrace_model::{Fault, GroupId, PayloadRef, Refusal, Revision, Tables};

use crate::machine::Machine;
use crate::outbox::Outgoing;
use crate::publish::place;

/// The plan of one event, parted by groups.
pub(crate) struct Parted<'a> {
    /// Deliveries into queues of this group.
    pub(crate) deliveries: Cow<'a, [Delivery]>,
    /// Parks in lists of this group.
    pub(crate) parked: Cow<'a, [Park]>,
    /// What goes to other groups, with the ordinal of its payload.
    away: Vec<(GroupId, u32, CarriedTo)>,
}

impl<'a> Parted<'a> {
    pub(crate) fn new(
        deliveries: &'a [Delivery],
        parked: &'a [Park],
        elsewhere: &Elsewhere,
    ) -> Self {
        let mut parted = Self {
            deliveries: Cow::Borrowed(deliveries),
            parked: Cow::Borrowed(parked),
            away: Vec::new(),
        };
        if !elsewhere.is_empty() {
            parted.part(elsewhere);
        }
        parted
    }

    fn part(&mut self, elsewhere: &Elsewhere) {
        let away = &mut self.away;
        self.deliveries.to_mut().retain(|delivery| {
            let group = elsewhere.queue(delivery.queue);
            away.extend(group.map(|group| (group, delivery.payload, queue(delivery))));
            group.is_none()
        });
        self.parked.to_mut().retain(|park| {
            let group = elsewhere.subscription(park.subscription);
            away.extend(group.map(|group| (group, park.payload, list(park))));
            group.is_none()
        });
    }
}

/// A delivery into another group.
pub(crate) fn queue(delivery: &Delivery) -> CarriedTo {
    CarriedTo::Queue {
        queue: delivery.queue,
        delay_ms: delivery.delay_ms,
    }
}

fn list(park: &Park) -> CarriedTo {
    CarriedTo::Parked {
        subscription: park.subscription,
        code: park.code.clone(),
        detail: park.detail.clone(),
        plugin: park.plugin.clone(),
    }
}

impl<T: Tables> Machine<T> {
    /// Whether all of a plan fits: into queues and lists here, and on the way to other groups.
    pub(crate) fn fits(&self, plan: &Parted<'_>) -> Result<(), Refusal> {
        self.room(&plan.deliveries)?;
        self.parked.room(&plan.parked)?;
        let away = plan.away.iter().map(|(group, ..)| *group);
        let moved = plan.deliveries.iter();
        let moved = moved.filter_map(|delivery| self.moves.onward(delivery.queue));
        self.outboxes
            .room(away.chain(moved).collect::<BTreeSet<_>>())
    }

    /// Follows a plan that fits. The references are the caller's to count: one for each delivery and park.
    pub(crate) fn follow(
        &mut self,
        plan: &Parted<'_>,
        revision: Revision,
        places: &[PayloadRef],
    ) -> Result<(), Fault> {
        for delivery in plan.deliveries.iter() {
            self.deliver(delivery, place(places, delivery.payload)?);
        }
        for park in plan.parked.iter() {
            let payload = place(places, park.payload)?;
            self.parked
                .park(&mut self.tables, self.state.at, park, payload);
        }
        for (group, ordinal, to) in &plan.away {
            let outgoing = Outgoing {
                payload: place(places, *ordinal)?,
                revision,
                accepted_at: self.state.at,
                to: to.clone(),
            };
            self.outboxes.push(&mut self.tables, *group, &outgoing);
        }
        Ok(())
    }
}
