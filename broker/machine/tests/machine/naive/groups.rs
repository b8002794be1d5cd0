//! What goes to other groups and comes from them, as lists.

use millrace_model::command::{
    CarriedTo, Deliver, Delivered, Delivery, Elsewhere, Park, RedriveAcross,
};
use millrace_model::{GroupId, Outcome, PayloadRef, Refusal, SubscriptionId, Timestamp};

use super::queue::State;
use super::{Naive, missing};

/// What waits for one other group.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// How much was dropped already.
    pub(super) done: u64,
    pub(super) waiting: Vec<Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) payload: PayloadRef,
    pub(crate) accepted_at: Timestamp,
    pub(crate) to: CarriedTo,
}

impl Naive {
    /// Takes out of a plan what goes elsewhere, and lets it wait.
    pub(super) fn hand_on(
        &mut self,
        (deliveries, parks): (&[Delivery], &[Park]),
        elsewhere: &Elsewhere,
        places: &[PayloadRef],
    ) -> (Vec<Delivery>, Vec<Park>) {
        let (mut here, mut parked) = (vec![], vec![]);
        for delivery in deliveries {
            let to = CarriedTo::Queue {
                queue: delivery.queue,
                delay_ms: delivery.delay_ms,
            };
            match elsewhere.queue(delivery.queue) {
                Some(group) => self.wait(group, places[delivery.payload as usize], to),
                None => here.push(*delivery),
            }
        }
        for park in parks {
            let to = CarriedTo::Parked {
                subscription: park.subscription,
                code: park.code.clone(),
                detail: park.detail.clone(),
                plugin: park.plugin.clone(),
            };
            match elsewhere.subscription(park.subscription) {
                Some(group) => self.wait(group, places[park.payload as usize], to),
                None => parked.push(park.clone()),
            }
        }
        (here, parked)
    }

    fn wait(&mut self, group: GroupId, payload: PayloadRef, to: CarriedTo) {
        let accepted_at = self.at;
        let outbox = self.outboxes.entry(group).or_default();
        outbox.waiting.push(Waiting {
            payload,
            accepted_at,
            to,
        });
    }

    pub(super) fn redrive_across(&mut self, across: &RedriveAcross) -> Outcome {
        let redrive = across.redrive;
        if !self.queues.contains_key(&redrive.queue) {
            return missing(redrive.queue);
        }
        if across.revision < self.revision {
            return Outcome::Refused(Refusal::StalePlan(self.revision));
        }
        let mut moved = 0;
        for entry in self.queues[&redrive.queue].entries.clone() {
            if moved == redrive.max || !matches!(entry.state, State::Ready) {
                continue;
            }
            let Some(queue) = redrive.to else { continue };
            let to = CarriedTo::Queue {
                queue,
                delay_ms: Some(0),
            };
            self.wait(across.group, entry.payload, to);
            let queue = self.queues.get_mut(&redrive.queue).unwrap();
            queue.entries.retain(|own| own.sequence != entry.sequence);
            moved += 1;
        }
        Outcome::Redriven(u64::from(moved))
    }

    pub(super) fn deliver(&mut self, deliver: &Deliver, places: &[PayloadRef]) -> Outcome {
        if deliver.revision > self.revision {
            return Outcome::Refused(Refusal::StalePlan(self.revision));
        }
        let mut last = self.inboxes.get(&deliver.source).copied().unwrap_or(0);
        for (sequence, carried) in (deliver.first..).zip(&deliver.items) {
            if sequence != last + 1 {
                continue;
            }
            last = sequence;
            let payload = places[carried.payload as usize];
            let at = carried.accepted_at.min(self.at);
            match &carried.to {
                CarriedTo::Queue { queue, delay_ms } => {
                    let now = self.at;
                    if let Some(queue) = self.queues.get_mut(queue) {
                        queue.append_carried(at, now, payload, *delay_ms);
                    }
                }
                CarriedTo::Parked {
                    subscription,
                    code,
                    detail,
                    plugin,
                } if !self.gone.contains(subscription) => {
                    let park = Park {
                        subscription: *subscription,
                        payload: 0,
                        code: code.clone(),
                        detail: detail.clone(),
                        plugin: plugin.clone(),
                    };
                    let now = std::mem::replace(&mut self.at, at);
                    self.park(&park, payload);
                    self.at = now;
                }
                CarriedTo::Parked { .. } => {}
            }
        }
        self.inboxes.insert(deliver.source, last);
        Outcome::Carried(last)
    }

    pub(super) fn delivered(&mut self, delivered: &Delivered) -> Outcome {
        let Some(outbox) = self.outboxes.get_mut(&delivered.to) else {
            return Outcome::Carried(0);
        };
        while outbox.done < delivered.upto && !outbox.waiting.is_empty() {
            outbox.done += 1;
            outbox.waiting.remove(0);
        }
        Outcome::Carried(outbox.done)
    }

    /// What waits for a group, with the sequence of the first.
    pub(crate) fn waiting(&self, group: GroupId) -> (u64, Vec<Waiting>) {
        let outbox = self.outboxes.get(&group).cloned().unwrap_or_default();
        (outbox.done + 1, outbox.waiting)
    }

    pub(super) fn gone(&mut self, id: SubscriptionId) {
        self.gone.insert(id);
    }
}
