//! Receives, acks, nacks, extends and forgets.

use std::time::Duration;

use millrace_model::command::{Extend, Nack, Receive, Settle};
use millrace_model::ledger::Message;
use millrace_model::{Command, GroupId, Ledger as _, Outcome, Proposal, QueueId};
use millrace_store::simulation;
use millrace_tests::{Fact, History};

use crate::client::{Client, below, name, pause, percent};
use crate::plant::Plant;
use crate::scene::{Phase, QUEUES};

impl Client {
    pub(crate) async fn consume_all(self) {
        while self.phase() != Phase::Done {
            pause(100).await;
            let Some(topology) = self.topology() else {
                continue;
            };
            let queue_name = QUEUES[usize::try_from(below(3)).unwrap()];
            let queue = &topology.queues[&name(queue_name)];
            let messages = self.receive(queue_name, queue.group, queue.id).await;
            for message in messages {
                self.treat(queue_name, queue.group, &message).await;
            }
        }
    }

    async fn receive(&self, name: &str, group: GroupId, queue: QueueId) -> Vec<Message> {
        let receive = Receive {
            queue,
            max: 1 + u32::try_from(below(8)).unwrap(),
            visibility_ms: Some(1_000 + below(4_000)),
            nonce: simulation::random(),
        };
        let asked_at = self.scene.history.tick();
        let wait = Duration::from_millis(below(800));
        let messages = match self.cluster.receive(group, receive, wait).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(refusal)) => {
                self.scene
                    .object(format!("a receive from {name} is refused: {refusal}"));
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        for message in &messages {
            if message.lease.receipt.receive_count == 1 && self.scene.is_planted(Plant::Lost) {
                self.ack(group, message).await;
                continue;
            }
            let text = String::from_utf8_lossy(&message.event);
            let id = text.split(' ').next().unwrap_or_default().to_owned();
            let sequence = message.lease.receipt.sequence;
            self.scene.tell(format!(
                "node {}: received {id} as {sequence} of {name}",
                self.node
            ));
            self.scene.history.record(Fact::Delivered {
                queue: name.to_owned(),
                id,
                sequence,
                digest: History::digest(&message.event),
                asked_at,
            });
        }
        messages
    }

    /// Whether the ack was confirmed.
    async fn ack(&self, group: GroupId, message: &Message) -> bool {
        let receipts = vec![message.lease.receipt];
        let queue = message.lease.receipt.queue;
        let ack = Command::Ack(Settle { queue, receipts });
        let settled = self.cluster.commit(group, Proposal::bare(ack)).await;
        matches!(settled, Ok(Outcome::Settled(settled)) if settled.done == 1)
    }

    async fn treat(&self, name: &str, group: GroupId, message: &Message) {
        let receipt = message.lease.receipt;
        let (queue, receipts) = (receipt.queue, vec![receipt]);
        let draining = self.phase() == Phase::Drain;
        if !draining && percent(15) {
            return;
        }
        if !draining && percent(15) {
            let delay_ms = below(1_500);
            let nack = Nack {
                queue,
                receipts,
                delay_ms,
            };
            let _ = self
                .cluster
                .commit(group, Proposal::bare(Command::Nack(nack)))
                .await;
            return;
        }
        if !draining && percent(15) {
            let extend = Extend {
                queue,
                receipts: receipts.clone(),
                visibility_ms: 2_000,
            };
            let _ = self
                .cluster
                .commit(group, Proposal::bare(Command::Extend(extend)))
                .await;
            pause(500).await;
        }
        if self.scene.is_planted(Plant::Back) || self.ack(group, message).await {
            let answered_at = self.scene.history.tick();
            self.scene.tell(format!(
                "node {}: acked {} of {name}",
                self.node, receipt.sequence
            ));
            self.scene.history.record(Fact::Acked {
                queue: name.to_owned(),
                sequence: receipt.sequence,
                answered_at,
            });
        }
    }
}
