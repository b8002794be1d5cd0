//! What time does, and what is seen from outside.

use std::collections::BTreeMap;

use millrace_model::query::{ParkedEvent, Peeked};
use millrace_model::queue::QueueCounters;
use millrace_model::{Outcome, QueueId, SubscriptionId, Timestamp};

use super::Naive;
use super::queue::{Entry, Queue, State};

impl Naive {
    /// Everything that is due, the queue whose work is due first being first. How much work that was is not
    /// told: it is bounded in the machine alone.
    pub(super) fn tick(&mut self) -> Outcome {
        while let Some((due, id)) = self.first_due()
            && due <= self.at
        {
            self.end_leases(id);
            let at = self.at;
            let queue = self.queues.get_mut(&id).unwrap();
            for entry in &mut queue.entries {
                if matches!(entry.state, State::Delayed(due) if due <= at) {
                    entry.state = State::Ready;
                }
            }
            let ms = queue
                .config
                .retention_seconds
                .map_or(u64::MAX, |it| it * 1_000);
            while !queue.entries.is_empty() && queue.oldest.plus_ms(ms) <= at {
                queue.oldest = queue.entries[0].enqueued_at;
                if queue.oldest.plus_ms(ms) <= at {
                    queue.entries.remove(0);
                }
            }
        }
        Outcome::Ticked { work: 0 }
    }

    fn end_leases(&mut self, id: QueueId) {
        let entries = self.queues[&id].entries.iter();
        let mut ended: Vec<_> = entries
            .filter_map(|entry| match entry.state {
                State::Leased { until, .. } if until <= self.at => Some((until, entry.sequence)),
                _ => None,
            })
            .collect();
        ended.sort_unstable();
        for (_, sequence) in ended {
            self.end_lease(id, sequence, None);
        }
    }

    fn first_due(&self) -> Option<(Timestamp, QueueId)> {
        let queues = self.queues.iter();
        queues
            .filter_map(|(id, queue)| Some((queue.due()?, *id)))
            .min()
    }

    /// Every queue as a peek shows it.
    pub(crate) fn peek(&self) -> BTreeMap<QueueId, Vec<Peeked>> {
        let shown = |queue: &Queue| queue.entries.iter().map(Entry::peek).collect();
        let queues = self.queues.iter();
        queues.map(|(id, queue)| (*id, shown(queue))).collect()
    }

    pub(crate) fn counters(&self, id: QueueId) -> QueueCounters {
        let entries = &self.queues[&id].entries;
        let count = |wanted: fn(&State) -> bool| {
            entries.iter().filter(|entry| wanted(&entry.state)).count() as u64
        };
        let mut ready = entries
            .iter()
            .filter(|entry| matches!(entry.state, State::Ready));
        QueueCounters {
            ready: count(|state| matches!(state, State::Ready)),
            leased: count(|state| matches!(state, State::Leased { .. })),
            delayed: count(|state| matches!(state, State::Delayed(_))),
            rewindable: 0,
            oldest_ready_age_seconds: ready
                .next()
                .map(|entry| self.at.since(entry.enqueued_at) / 1_000),
            bytes: entries
                .iter()
                .map(|entry| u64::from(entry.payload.len))
                .sum(),
        }
    }

    pub(crate) fn parked(&self, id: SubscriptionId) -> Vec<ParkedEvent> {
        self.parked
            .get(&id)
            .map_or(vec![], |(_, events)| events.clone())
    }

    /// How often each log entry is referred to.
    pub(crate) fn references(&self) -> BTreeMap<u64, u64> {
        let entries = self.queues.values().flat_map(|queue| &queue.entries);
        let entries = entries.map(|entry| entry.payload.index);
        let parked = self.parked.values().flat_map(|(_, events)| events);
        let mut references = BTreeMap::new();
        let waiting = self.outboxes.values().flat_map(|outbox| &outbox.waiting);
        let waiting = waiting.map(|waiting| waiting.payload.index);
        let parked = parked.map(|event| event.payload.index);
        for index in entries.chain(parked).chain(waiting) {
            *references.entry(index).or_default() += 1;
        }
        references
    }
}
