//! What must hold of each message that comes, and what the history is told of it.

use millrace_model::ledger::Message;
use millrace_tests::{Fact, History};

use crate::places::{AGAIN, DEAD, FOUR, RECEIVES_MAX};
use crate::plant::Plant;
use crate::scene::{Front, Scene};

impl Scene {
    /// Notes a message that came from `queue` at node `node`, by a receive that began at `asked_at`.
    pub(crate) fn received(&self, node: u64, queue: &str, message: &Message, asked_at: u64) {
        self.check_lease(queue, message);
        self.check_dead_letter(queue, message);
        self.check_order(queue, message, asked_at);
        self.check_number(queue, message);
        let id = id(&message.event);
        let sequence = message.lease.receipt.sequence;
        self.tell(format!(
            "node {node}: received {id} as {sequence} of {queue}"
        ));
        self.history.record(Fact::Delivered {
            queue: queue.to_owned(),
            id: id.clone(),
            sequence,
            digest: History::digest(&message.event),
            asked_at,
        });
        let left: &[&str] = match queue {
            DEAD => &[FOUR],
            AGAIN => &[FOUR, DEAD],
            _ => &[],
        };
        let answered_at = self.history.tick();
        for from in left {
            self.history.record(Fact::Moved {
                id: id.clone(),
                from: (*from).to_owned(),
                answered_at,
            });
        }
    }

    /// What was received first is not overtaken: it is received once more before what has come behind it, or after a delay.
    fn check_order(&self, queue: &str, message: &Message, asked_at: u64) {
        let receipt = message.lease.receipt;
        let mut sequence = receipt.sequence;
        if receipt.receive_count > 1 {
            return;
        }
        let published = self.published.borrow();
        let event = published.get(&id(&message.event));
        let is_delayed = event.is_none_or(|event| event.delay_ms.is_some());
        drop(published);
        let mut fronts = self.fronts.borrow_mut();
        let fronts = fronts.entry(queue.to_owned()).or_default();
        let before = fronts.iter().filter(|front| front.answered_at < asked_at);
        let front = before.map(|front| front.sequence).max().unwrap_or(0);
        if front > 0 && !is_delayed && self.is_planted(Plant::Order) {
            sequence = 0;
        }
        fronts.push(Front {
            sequence,
            answered_at: self.history.tick(),
        });
        if sequence < front && !is_delayed {
            self.object(format!(
                "overtaken: entry {sequence} of {queue} is received behind {front}"
            ));
        }
    }

    /// A number of a queue belongs to one event, wherever the queue goes.
    fn check_number(&self, queue: &str, message: &Message) {
        let (id, sequence) = (id(&message.event), message.lease.receipt.sequence);
        let mut entries = self.entries.borrow_mut();
        let entry = (queue.to_owned(), sequence);
        let first = entries.entry(entry).or_insert_with(|| id.clone()).clone();
        drop(entries);
        if first != id {
            self.object(format!(
                "one number for two events: {sequence} of {queue} is {first} and {id}"
            ));
        }
    }

    /// What was sent came with the number that it was accepted with: in words, what did not.
    pub(crate) fn other_numbers(&self) -> Vec<String> {
        let published = self.published.borrow();
        let mut other = u64::from(self.plant.get() == Some(Plant::Number));
        let mut wrong = Vec::new();
        for ((queue, came_as), id) in self.entries.borrow().iter() {
            let event = published.get(id).filter(|event| event.queues == [queue]);
            let accepted_as = event
                .filter(|event| event.is_sent())
                .and_then(|it| it.sequence);
            let Some(accepted_as) = accepted_as.map(|it| it + std::mem::take(&mut other)) else {
                continue;
            };
            if accepted_as != *came_as {
                wrong.push(format!(
                    "another number: {id} is accepted as {accepted_as} of {queue} and comes as {came_as}"
                ));
            }
        }
        wrong
    }

    /// Whether each queue may take an event once only.
    pub(crate) fn is_once(&self, event: &[u8]) -> bool {
        let published = self.published.borrow();
        published.get(&id(event)).is_some_and(|event| event.once)
    }

    /// A lease belongs to one receive.
    fn check_lease(&self, queue: &str, message: &Message) {
        let receipt = message.lease.receipt;
        let (sequence, count) = (receipt.sequence, receipt.receive_count);
        let lease = (queue.to_owned(), sequence, count);
        let mut leases = self.leases.borrow_mut();
        let is_new = leases.insert(lease) && !self.is_planted(Plant::Lease);
        drop(leases);
        if !is_new {
            self.object(format!(
                "one lease to two receives: number {count} of entry {sequence} of {queue}"
            ));
        }
    }

    /// Dead letters say so, and what is due to be one is received no more.
    fn check_dead_letter(&self, queue: &str, message: &Message) {
        let receipt = message.lease.receipt;
        let (sequence, count) = (receipt.sequence, receipt.receive_count);
        if queue == FOUR {
            let is_planted = self.is_planted(Plant::Often);
            if count > if is_planted { 0 } else { RECEIVES_MAX } {
                self.object(format!(
                    "received too often: entry {sequence} of {queue}, {count} times"
                ));
            }
        }
        let source = message.lease.dead_letter_source.as_deref();
        if source != (queue == DEAD).then_some(FOUR) {
            self.object(format!(
                "entry {sequence} of {queue} says that it is a dead letter of {source:?}"
            ));
        }
    }
}

/// The id of an event, which is its first word.
fn id(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    text.split(' ').next().unwrap_or_default().to_owned()
}
