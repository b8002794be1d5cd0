//! The rules once more, as simply as they can be told: lists that are searched from end to end. What the
//! machine does is compared with this.

mod groups;
mod look;
mod queue;

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::command::{
    Adopt, Change, Deduplication, Delivery, Elsewhere, Extend, Nack, Park, Publish, Receive,
    Redrive, Send, Settle, Unpark,
};
use millrace_model::outcome::{Accepted, Lease, Settled, Unparked};
use millrace_model::query::ParkedEvent;
use millrace_model::{
    Command, GroupId, Outcome, PayloadRef, QueueId, Receipt, Refusal, Revision, SubscriptionId,
    Timestamp, TopicId, limit,
};

pub(crate) use groups::Waiting;
use queue::{Queue, State};

#[derive(Clone, Debug)]
struct Remembered {
    queue: Option<QueueId>,
    topic: Option<TopicId>,
    asked: Deduplication,
    expires: Timestamp,
    outcome: Vec<Result<Accepted, Refusal>>,
}

/// A data group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    at: Timestamp,
    revision: Revision,
    queues: BTreeMap<QueueId, Queue>,
    topics: BTreeMap<TopicId, u64>,
    remembered: Vec<Remembered>,
    parked: BTreeMap<SubscriptionId, (u64, Vec<ParkedEvent>)>,
    outboxes: BTreeMap<GroupId, groups::Outbox>,
    inboxes: BTreeMap<GroupId, u64>,
    gone: BTreeSet<SubscriptionId>,
}

impl Naive {
    /// Applies one command.
    pub(crate) fn run(
        &mut self,
        at: Timestamp,
        command: &Command,
        places: &[PayloadRef],
    ) -> Outcome {
        self.at = self.at.max(at);
        match command {
            Command::Catalog(_) => panic!("data groups have no catalog"),
            Command::Adopt(adopt) => self.adopt(adopt),
            Command::Publish(publish) => self.publish(publish, &Elsewhere::default(), places),
            Command::PublishAcross(it) => self.publish(&it.publish, &it.elsewhere, places),
            Command::Send(send) => self.send(send, places),
            Command::Receive(receive) => self.receive(receive),
            Command::Ack(ack) => self.ack(ack),
            Command::Nack(nack) => self.nack(nack),
            Command::Extend(extend) => self.extend(extend),
            Command::Purge(queue) => match self.queues.get_mut(queue) {
                Some(queue) => Outcome::Purged(std::mem::take(&mut queue.entries).len() as u64),
                None => missing(*queue),
            },
            Command::Redrive(redrive) => self.redrive(redrive),
            Command::Unpark(unpark) => self.unpark(unpark, &Elsewhere::default(), places),
            Command::UnparkAcross(it) => self.unpark(&it.unpark, &it.elsewhere, places),
            Command::RedriveAcross(across) => self.redrive_across(across),
            Command::Deliver(deliver) => self.deliver(deliver, places),
            Command::Delivered(delivered) => self.delivered(delivered),
            Command::Tick => self.tick(),
            Command::TakeOver(_) => panic!("the model knows nothing of moves"),
        }
    }

    fn adopt(&mut self, adopt: &Adopt) -> Outcome {
        if adopt.revision > self.revision {
            self.revision = adopt.revision;
            adopt.changes.iter().for_each(|change| self.change(change));
        }
        Outcome::Adopted(self.revision)
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Queue {
                id,
                name,
                config,
                dead_letter,
            } => {
                let queue = self.queues.entry(*id).or_insert_with(|| Queue {
                    name: name.to_string(),
                    config: config.clone(),
                    dead_letter: None,
                    next: 1,
                    oldest: Timestamp(0),
                    entries: vec![],
                });
                queue.config = config.clone();
                queue.dead_letter = *dead_letter;
            }
            Change::QueueDeleted { id } => drop(self.queues.remove(id)),
            Change::TopicDeleted { id } => drop(self.topics.remove(id)),
            Change::SubscriptionGone { id } => self.gone(*id),
            Change::SubscriptionDeleted { id } => drop(self.parked.remove(id)),
            Change::QueueLeaves { .. }
            | Change::QueueAwaited { .. }
            | Change::QueueStays { .. }
            | Change::QueueLeft { .. } => panic!("the model knows nothing of moves"),
        }
    }

    fn recall(
        &self,
        topic: Option<TopicId>,
        queue: Option<QueueId>,
        asked: Option<&Deduplication>,
    ) -> Option<Outcome> {
        let asked = asked?;
        let seen = self.remembered.iter().find(|seen| {
            (seen.topic, seen.queue) == (topic, queue)
                && seen.asked.key.key == asked.key.key
                && self.at < seen.expires
        })?;
        Some(if seen.asked.key.request == asked.key.request {
            Outcome::Accepted(seen.outcome.clone())
        } else {
            Outcome::Refused(Refusal::KeyReused)
        })
    }

    fn remember(
        &mut self,
        topic: Option<TopicId>,
        queue: Option<QueueId>,
        asked: Option<&Deduplication>,
        outcome: &[Result<Accepted, Refusal>],
    ) {
        if let Some(asked) = asked
            && outcome.iter().any(Result::is_ok)
        {
            self.remembered.push(Remembered {
                queue,
                topic,
                asked: *asked,
                expires: self.at.plus_ms(asked.window_ms),
                outcome: outcome.to_vec(),
            });
        }
    }

    fn stale<'a>(
        &self,
        revision: Revision,
        mut deliveries: impl Iterator<Item = &'a Delivery>,
        elsewhere: &Elsewhere,
    ) -> bool {
        let known = |id| self.queues.contains_key(&id) || elsewhere.queue(id).is_some();
        revision < self.revision || deliveries.any(|delivery| !known(delivery.queue))
    }

    fn publish(
        &mut self,
        publish: &Publish,
        elsewhere: &Elsewhere,
        places: &[PayloadRef],
    ) -> Outcome {
        let (topic, asked) = (Some(publish.topic), publish.deduplication.as_ref());
        if let Some(outcome) = self.recall(topic, None, asked) {
            return outcome;
        }
        let deliveries = publish.events.iter().flat_map(|event| &event.deliveries);
        if self.stale(publish.revision, deliveries, elsewhere) {
            return Outcome::Refused(Refusal::StalePlan(self.revision));
        }
        let (mut results, mut from) = (vec![], 0);
        for event in &publish.events {
            let own = &places[from..from + event.payloads as usize];
            from += event.payloads as usize;
            let result = self
                .follow((&event.deliveries, &event.parked), elsewhere, own)
                .map(|()| {
                    let sequence = self.topics.entry(publish.topic).or_default();
                    *sequence += 1;
                    Accepted {
                        sequence: *sequence,
                        deliveries: event.deliveries.len() as u32,
                    }
                });
            results.push(result);
        }
        self.remember(topic, None, asked, &results);
        Outcome::Accepted(results)
    }

    /// Follows one plan on a copy, and keeps the copy if everything fitted.
    fn follow(
        &mut self,
        plan: (&[Delivery], &[Park]),
        elsewhere: &Elsewhere,
        places: &[PayloadRef],
    ) -> Result<(), Refusal> {
        let mut after = self.clone();
        let (deliveries, parks) = after.hand_on(plan, elsewhere, places);
        for delivery in deliveries {
            let queue = after.queues.get_mut(&delivery.queue).unwrap();
            let payload = places[delivery.payload as usize];
            queue.append(self.at, payload, delivery.delay_ms, None)?;
        }
        for park in parks {
            after.park(&park, places[park.payload as usize]);
        }
        *self = after;
        Ok(())
    }

    fn park(&mut self, park: &Park, payload: PayloadRef) {
        let (last, events) = self.parked.entry(park.subscription).or_default();
        *last += 1;
        events.push(ParkedEvent {
            sequence: *last,
            parked_at: self.at,
            code: park.code.clone(),
            detail: park.detail.clone(),
            plugin: park.plugin.clone(),
            payload,
        });
    }

    fn send(&mut self, send: &Send, places: &[PayloadRef]) -> Outcome {
        let (at, asked) = (self.at, send.deduplication.as_ref());
        if !self.queues.contains_key(&send.queue) {
            return missing(send.queue);
        }
        if let Some(outcome) = self.recall(None, Some(send.queue), asked) {
            return outcome;
        }
        let queue = self.queues.get_mut(&send.queue).unwrap();
        let results: Vec<_> = places
            .iter()
            .map(|place| {
                let sequence = queue.append(at, *place, send.delay_ms, None)?;
                Ok(Accepted {
                    sequence,
                    deliveries: 1,
                })
            })
            .collect();
        self.remember(None, Some(send.queue), asked, &results);
        Outcome::Accepted(results)
    }

    fn receive(&mut self, receive: &Receive) -> Outcome {
        let at = self.at;
        let Some(queue) = self.queues.get_mut(&receive.queue) else {
            return missing(receive.queue);
        };
        let visibility = u64::from(queue.config.visibility_seconds) * 1_000;
        let until = at.plus_ms(receive.visibility_ms.unwrap_or(visibility));
        let ready = queue.entries.iter_mut();
        let ready = ready.filter(|entry| matches!(entry.state, State::Ready));
        let most = receive.max.min(limit::RECEIVE_MESSAGES_MAX) as usize;
        let leases = ready.take(most).map(|entry| {
            entry.receive_count += 1;
            entry.state = State::Leased {
                nonce: receive.nonce,
                until,
            };
            Lease {
                receipt: Receipt {
                    queue: receive.queue,
                    sequence: entry.sequence,
                    receive_count: entry.receive_count,
                    nonce: receive.nonce,
                },
                enqueued_at: entry.enqueued_at,
                first_received_at: *entry.first_received_at.get_or_insert(at),
                visible_at: until,
                dead_letter_source: entry.source.as_ref().map(|(_, name)| name.clone()),
                payload: entry.payload,
            }
        });
        Outcome::Received(leases.collect())
    }

    /// Does `each` to the leased entry of every receipt that holds.
    fn settle(
        &mut self,
        queue: QueueId,
        receipts: &[Receipt],
        mut each: impl FnMut(&mut Self, u64),
    ) -> Outcome {
        if !self.queues.contains_key(&queue) {
            return missing(queue);
        }
        let mut settled = Settled::default();
        for (ordinal, receipt) in receipts.iter().enumerate() {
            let holds = self.queues[&queue].entries.iter().any(|entry| {
                entry.sequence == receipt.sequence
                    && entry.receive_count == receipt.receive_count
                    && matches!(entry.state, State::Leased { nonce, until }
                        if nonce == receipt.nonce && self.at < until)
            });
            if receipt.queue != queue {
                settled
                    .failed
                    .push((ordinal as u32, Refusal::ReceiptInvalid));
            } else if !holds {
                settled
                    .failed
                    .push((ordinal as u32, Refusal::ReceiptExpired));
            } else {
                each(self, receipt.sequence);
                settled.done += 1;
            }
        }
        Outcome::Settled(settled)
    }

    fn ack(&mut self, ack: &Settle) -> Outcome {
        self.settle(ack.queue, &ack.receipts, |group, sequence| {
            let queue = group.queues.get_mut(&ack.queue).unwrap();
            queue.entries.retain(|entry| entry.sequence != sequence);
        })
    }

    fn nack(&mut self, nack: &Nack) -> Outcome {
        self.settle(nack.queue, &nack.receipts, |group, sequence| {
            let due = (nack.delay_ms > 0).then(|| group.at.plus_ms(nack.delay_ms));
            group.end_lease(nack.queue, sequence, due);
        })
    }

    fn extend(&mut self, extend: &Extend) -> Outcome {
        self.settle(extend.queue, &extend.receipts, |group, sequence| {
            if extend.visibility_ms == 0 {
                return group.end_lease(extend.queue, sequence, None);
            }
            let later = group.at.plus_ms(extend.visibility_ms);
            let queue = group.queues.get_mut(&extend.queue).unwrap();
            if let State::Leased { until, .. } = &mut queue.entry(sequence).state {
                *until = later;
            }
        })
    }

    /// A lease ends without an ack.
    fn end_lease(&mut self, id: QueueId, sequence: u64, due: Option<Timestamp>) {
        let queue = self.queues.get_mut(&id).unwrap();
        let most = queue
            .config
            .dead_letter
            .as_ref()
            .map(|rule| rule.max_receives);
        let (to, name) = (queue.dead_letter, queue.name.clone());
        let entry = queue.entry(sequence);
        if let (Some(most), Some(to)) = (most, to)
            && entry.receive_count >= most
        {
            let payload = entry.payload;
            queue.entries.retain(|entry| entry.sequence != sequence);
            let (to, source) = if self.queues.contains_key(&to) {
                (to, Some((id, name)))
            } else {
                (id, None)
            };
            let target = self.queues.get_mut(&to).unwrap();
            target.append_anyway(self.at, payload, 0, source);
        } else {
            entry.state = due.map_or(State::Ready, State::Delayed);
        }
    }

    fn redrive(&mut self, redrive: &Redrive) -> Outcome {
        for id in [Some(redrive.queue), redrive.to].into_iter().flatten() {
            if !self.queues.contains_key(&id) {
                return missing(id);
            }
        }
        if redrive.to == Some(redrive.queue) {
            let reason = "a queue cannot be redriven into itself: name another queue";
            return Outcome::Refused(Refusal::CannotRedrive(reason.to_owned()));
        }
        let mut moved = 0;
        for entry in self.queues[&redrive.queue].entries.clone() {
            let source = entry.source.as_ref().map(|(queue, _)| *queue);
            let ready = matches!(entry.state, State::Ready);
            let Some(to) = redrive.to.or(source) else {
                continue;
            };
            if !ready || moved == redrive.max || to == redrive.queue {
                continue;
            }
            let at = self.at;
            let target = self.queues.get_mut(&to);
            let done = target.map(|target| target.append(at, entry.payload, Some(0), None));
            if let Some(Ok(_)) = done {
                let queue = self.queues.get_mut(&redrive.queue).unwrap();
                queue.entries.retain(|own| own.sequence != entry.sequence);
                moved += 1;
            }
        }
        Outcome::Redriven(u64::from(moved))
    }

    fn unpark(&mut self, unpark: &Unpark, elsewhere: &Elsewhere, places: &[PayloadRef]) -> Outcome {
        let deliveries = unpark.events.iter().flat_map(|event| &event.deliveries);
        if self.stale(unpark.revision, deliveries, elsewhere) {
            return Outcome::Refused(Refusal::StalePlan(self.revision));
        }
        let (mut outcome, mut from) = (Unparked::default(), 0);
        for event in &unpark.events {
            let mut own = places[from..from + event.payloads as usize].to_vec();
            from += event.payloads as usize;
            let list = self.parked.get(&unpark.subscription);
            let found = list.and_then(|(_, events)| {
                let mut events = events.iter();
                events
                    .find(|parked| parked.sequence == event.sequence)
                    .cloned()
            });
            let Some(mut parked) = found else {
                continue;
            };
            own.insert(0, parked.payload);
            let mut parks = event.parked.clone();
            let stays = parks
                .iter()
                .position(|park| park.subscription == unpark.subscription)
                .map(|at| parks.remove(at));
            let plan = (&event.deliveries[..], &parks[..]);
            let followed = self.follow(plan, elsewhere, &own);
            if followed.is_err() {
                outcome.parked += 1;
                continue;
            }
            let (_, events) = self.parked.get_mut(&unpark.subscription).unwrap();
            let at = events.iter().position(|own| own.sequence == event.sequence);
            let at = at.unwrap();
            if let Some(park) = stays {
                parked.payload = own[park.payload as usize];
                (parked.code, parked.detail, parked.plugin) = (park.code, park.detail, park.plugin);
                events[at] = parked;
                outcome.parked += 1;
            } else {
                events.remove(at);
                outcome.redriven += 1;
            }
        }
        Outcome::Unparked(outcome)
    }
}

fn missing(queue: QueueId) -> Outcome {
    Outcome::Refused(Refusal::QueueNotFound(queue.to_string()))
}
