//! Receives, acks, nacks, extends and forgets.

use std::cell::Cell;
use std::time::Duration;

use millrace_model::command::{Extend, Nack, Receive, Settle};
use millrace_model::ledger::Message;
use millrace_model::receipt::Receipt;
use millrace_model::{Command, Ledger as _, Refusal};
use millrace_store::simulation;
use millrace_tests::Fact;
use tokio::time::Instant;

use crate::client::{Client, below, pause, percent};
use crate::places::{DEAD, FOUR, QUEUES};
use crate::plant::Plant;
use crate::scene::Phase;

impl Client {
    pub(crate) async fn consume_all(self) {
        while self.phase() != Phase::Done {
            pause(100).await;
            if self.topology().is_none() {
                continue;
            }
            let queue = QUEUES[usize::try_from(below(QUEUES.len() as u64)).unwrap()];
            // Most dead letters are left to be redriven.
            if queue == DEAD && self.phase() == Phase::Load && percent(80) {
                continue;
            }
            let messages = self.receive(queue).await;
            if !messages.is_empty() {
                self.treat(queue, &messages).await;
            }
        }
    }

    async fn receive(&self, queue: &str) -> Vec<Message> {
        let (max, visibility_ms) = (below(16), 1_000 + below(4_000));
        let (nonce, wait) = (simulation::random(), Duration::from_millis(below(500)));
        let (asked_at, begun) = (Cell::new(0), Instant::now());
        let answered = self.located(queue, |_, queue| {
            let receive = Receive {
                queue: queue.id,
                max: 1 + u32::try_from(max).unwrap(),
                visibility_ms: Some(visibility_ms),
                nonce,
            };
            asked_at.set(self.scene.history.tick());
            let wait = wait.saturating_sub(begun.elapsed());
            self.cluster.receive(queue.group, receive, wait)
        });
        match answered.await {
            Ok(Ok(messages)) => {
                self.note_received(queue, &messages, asked_at.get()).await;
                messages
            }
            // Somebody cannot be reached for longer than a request waits.
            Ok(Err(Refusal::QueueMoving(_))) | Err(_) => Vec::new(),
            Ok(Err(refusal)) => {
                let what = format!("a receive from {queue} is refused: {refusal}");
                self.scene.object(what);
                Vec::new()
            }
        }
    }

    async fn note_received(&self, queue: &str, messages: &[Message], asked_at: u64) {
        for message in messages {
            if message.lease.receipt.receive_count == 1 && self.scene.is_planted(Plant::Lost) {
                self.ack(queue, vec![message.lease.receipt]).await;
                continue;
            }
            self.scene.received(self.node, queue, message, asked_at);
            self.plant_copy(queue, message).await;
        }
    }

    /// Leaves a dead letter where it was, if it is asked for. Without a key it may be in both.
    async fn plant_copy(&self, queue: &str, message: &Message) {
        let is_once = queue == DEAD && self.scene.is_once(&message.event);
        if is_once && self.scene.is_planted(Plant::Copy) {
            self.send_planted(FOUR, message.event.clone()).await;
        }
    }

    async fn treat(&self, queue: &str, messages: &[Message]) {
        let receipts = messages.iter().map(|message| message.lease.receipt);
        let mut kept: Vec<_> = receipts.collect();
        if self.phase() != Phase::Drain {
            let careless = if queue == FOUR { 35 } else { 15 };
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
    async fn ack(&self, queue: &str, receipts: Vec<Receipt>) -> Vec<Receipt> {
        let command = |queue, receipts| Command::Ack(Settle { queue, receipts });
        self.settle(queue, receipts, command).await
    }

    fn note_acked(&self, queue: &str, receipts: &[Receipt]) {
        let answered_at = self.scene.history.tick();
        for receipt in receipts {
            let (node, sequence) = (self.node, receipt.sequence);
            self.scene
                .tell(format!("node {node}: acked {sequence} of {queue}"));
            self.scene.history.record(Fact::Acked {
                queue: queue.to_string(),
                sequence,
                answered_at,
            });
        }
    }

    async fn nack(&self, queue: &str, receipts: Vec<Receipt>) {
        let delay_ms = below(1_500);
        let command = |queue, receipts| {
            Command::Nack(Nack {
                queue,
                receipts,
                delay_ms,
            })
        };
        self.settle(queue, receipts, command).await;
    }

    async fn extend(&self, queue: &str, receipts: Vec<Receipt>) {
        let command = |queue, receipts| {
            Command::Extend(Extend {
                queue,
                receipts,
                visibility_ms: 2_000,
            })
        };
        self.settle(queue, receipts, command).await;
    }
}
