//! Receives, acks, nacks, extends and forgets.

use std::time::Duration;

use millrace_model::catalog::Queue;
use millrace_model::command::{Extend, Nack, Receive, Settle};
use millrace_model::ledger::Message;
use millrace_model::receipt::Receipt;
use millrace_model::{Command, Ledger as _, Outcome, Proposal};
use millrace_store::simulation;
use millrace_tests::Fact;

use crate::client::{Client, below, name, pause, percent};
use crate::places::{DEAD, FOUR, QUEUES};
use crate::plant::Plant;
use crate::scene::Phase;

impl Client {
    pub(crate) async fn consume_all(self) {
        while self.phase() != Phase::Done {
            pause(100).await;
            let Some(topology) = self.topology() else {
                continue;
            };
            let queue = QUEUES[usize::try_from(below(QUEUES.len() as u64)).unwrap()];
            // Most dead letters are left to be redriven.
            if queue == DEAD && self.phase() == Phase::Load && percent(80) {
                continue;
            }
            let queue = &topology.queues[&name(queue)];
            let messages = self.receive(queue).await;
            if !messages.is_empty() {
                self.treat(queue, &messages).await;
            }
        }
    }

    async fn receive(&self, queue: &Queue) -> Vec<Message> {
        let receive = Receive {
            queue: queue.id,
            max: 1 + u32::try_from(below(16)).unwrap(),
            visibility_ms: Some(1_000 + below(4_000)),
            nonce: simulation::random(),
        };
        let asked_at = self.scene.history.tick();
        let wait = Duration::from_millis(below(500));
        let messages = match self.cluster.receive(queue.group, receive, wait).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(refusal)) => {
                self.scene.object(format!(
                    "a receive from {} is refused: {refusal}",
                    queue.name
                ));
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        for message in &messages {
            if message.lease.receipt.receive_count == 1 && self.scene.is_planted(Plant::Lost) {
                self.ack(queue, vec![message.lease.receipt]).await;
                continue;
            }
            self.scene
                .received(self.node, queue.name.as_str(), message, asked_at);
            self.plant_copy(queue, message).await;
        }
        messages
    }

    /// Leaves a dead letter where it was, if it is asked for. Without a key it may be in both.
    async fn plant_copy(&self, queue: &Queue, message: &Message) {
        let is_seen = queue.name.as_str() == DEAD && self.scene.is_once(&message.event);
        if is_seen && self.scene.is_planted(Plant::Copy) {
            let source = self.cluster.topology().queues[&name(FOUR)].id;
            let event = message.event.clone();
            self.send_planted(queue.group, source, event).await;
        }
    }

    async fn treat(&self, queue: &Queue, messages: &[Message]) {
        let receipts = messages.iter().map(|message| message.lease.receipt);
        let mut kept: Vec<_> = receipts.collect();
        if self.phase() != Phase::Drain {
            let careless = if queue.name.as_str() == FOUR { 35 } else { 15 };
            kept.retain(|_| !percent(careless));
            let returned = kept.extract_if(.., |_| percent(careless));
            self.nack(queue, returned.collect()).await;
            if percent(15) {
                self.extend(queue, kept.clone()).await;
                pause(500).await;
            }
        }
        let acked = if self.scene.is_planted(Plant::Back) {
            kept
        } else {
            self.ack(queue, kept).await
        };
        self.note_acked(queue, &acked);
    }

    /// Those of which the ack was confirmed.
    async fn ack(&self, queue: &Queue, mut receipts: Vec<Receipt>) -> Vec<Receipt> {
        if receipts.is_empty() {
            return receipts;
        }
        let ack = Command::Ack(Settle {
            queue: queue.id,
            receipts: receipts.clone(),
        });
        match self.cluster.commit(queue.group, Proposal::bare(ack)).await {
            Ok(Outcome::Settled(settled)) => {
                let failed = |at: usize| {
                    settled
                        .failed
                        .iter()
                        .any(|(other, _)| *other as usize == at)
                };
                let mut at = 0..;
                receipts.retain(|_| !at.next().is_some_and(failed));
                receipts
            }
            _ => Vec::new(),
        }
    }

    fn note_acked(&self, queue: &Queue, receipts: &[Receipt]) {
        let answered_at = self.scene.history.tick();
        for receipt in receipts {
            let (node, sequence, queue) = (self.node, receipt.sequence, &queue.name);
            self.scene
                .tell(format!("node {node}: acked {sequence} of {queue}"));
            self.scene.history.record(Fact::Acked {
                queue: queue.to_string(),
                sequence,
                answered_at,
            });
        }
    }

    async fn nack(&self, queue: &Queue, receipts: Vec<Receipt>) {
        if receipts.is_empty() {
            return;
        }
        let nack = Command::Nack(Nack {
            queue: queue.id,
            receipts,
            delay_ms: below(1_500),
        });
        let _ = self.cluster.commit(queue.group, Proposal::bare(nack)).await;
    }

    async fn extend(&self, queue: &Queue, receipts: Vec<Receipt>) {
        let extend = Command::Extend(Extend {
            queue: queue.id,
            receipts,
            visibility_ms: 2_000,
        });
        let _ = self
            .cluster
            .commit(queue.group, Proposal::bare(extend))
            .await;
    }
}
