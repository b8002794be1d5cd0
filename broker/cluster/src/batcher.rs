//! Many requests become one log entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use millrace_model::{Batch, Outcome, Proposal, Timestamp, Unavailable, limit};
use openraft::errors::ClientWriteError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::Clock;
use crate::types::{Body, Callback, Outcomes, Raft, WriteResult};

/// What a caller of [`Batcher::submit`] waits for.
pub(crate) type Reply = oneshot::Receiver<Result<Outcome, Unavailable>>;

/// Collects the commands of one group and proposes them, many to an entry.
///
/// There is no linger: a batch leaves as soon as fewer than [`limit::BATCHES_IN_FLIGHT_MAX`] are under way, and takes
/// along what has come meanwhile. So an idle broker answers at once and a busy one makes large batches by itself.
pub(crate) struct Batcher {
    queue: mpsc::UnboundedSender<Waiting>,
    load: Arc<Load>,
    raft: Raft,
    slots: Arc<Semaphore>,
    clock: Arc<Clock>,
}

/// How much waits, and what went through.
#[derive(Debug, Default)]
pub(crate) struct Load {
    commands: AtomicUsize,
    bytes: AtomicUsize,
    /// Batches proposed so far.
    pub(crate) batches: AtomicU64,
    /// Commands proposed so far.
    pub(crate) proposed: AtomicU64,
}

struct Waiting {
    proposal: Proposal,
    bytes: usize,
    reply: oneshot::Sender<Result<Outcome, Unavailable>>,
}

impl Batcher {
    /// Starts the batcher of the group that `raft` agrees on, and whose time `clock` shows.
    pub(crate) fn start(raft: Raft, clock: Arc<Clock>) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let slots = Arc::new(Semaphore::new(limit::BATCHES_IN_FLIGHT_MAX));
        tokio::spawn(run(
            waiting,
            raft.clone(),
            Arc::clone(&slots),
            Arc::clone(&load),
            Arc::clone(&clock),
        ));
        Self {
            queue,
            load,
            raft,
            slots,
            clock,
        }
    }

    /// Hands `proposal` in. The queue is bounded by count and bytes, not by the channel.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too much waits, [`Unavailable::NotReady`] when the group has stopped.
    pub(crate) async fn submit(&self, proposal: Proposal) -> Result<Reply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let bytes = proposal.bytes();
        let alone = self.load.admit(bytes)?;
        let waiting = Waiting {
            proposal,
            bytes,
            reply,
        };
        // Nothing waits and nothing is under way: the batch would be this command alone, so no other task need be woken.
        let idle = alone && self.slots.available_permits() == limit::BATCHES_IN_FLIGHT_MAX;
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) if idle => {
                let batch = vec![waiting];
                // Boxed, as it is rare on a busy broker: the future of every commit is copied with what it may hold.
                Box::pin(send(&self.raft, &self.load, &self.clock, batch, slot)).await;
            }
            _ => self
                .queue
                .send(waiting)
                .map_err(|_| Unavailable::NotReady("the group has stopped".to_owned()))?,
        }
        Ok(answer)
    }

    /// What went through.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }
}

impl Load {
    /// Counts one command in; whether it is the only one that waits.
    fn admit(&self, bytes: usize) -> Result<bool, Unavailable> {
        let commands = self.commands.fetch_add(1, Ordering::Relaxed);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if commands >= limit::PROPOSALS_WAITING_MAX || waiting >= limit::PROPOSALS_WAITING_BYTES_MAX
        {
            self.leave(1, bytes);
            return Err(Unavailable::Overloaded);
        }
        Ok(commands == 0)
    }

    fn leave(&self, commands: usize, bytes: usize) {
        self.commands.fetch_sub(commands, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Commands that wait for a batch.
    pub(crate) fn waiting(&self) -> usize {
        self.commands.load(Ordering::Relaxed)
    }
}

async fn run(
    mut queue: mpsc::UnboundedReceiver<Waiting>,
    raft: Raft,
    slots: Arc<Semaphore>,
    load: Arc<Load>,
    clock: Arc<Clock>,
) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let slot = Arc::clone(&slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (batch, next) = gather(first, &mut queue);
        left_over = next;
        send(&raft, &load, &clock, batch, slot).await;
    }
}

async fn send(
    raft: &Raft,
    load: &Load,
    clock: &Clock,
    batch: Vec<Waiting>,
    slot: OwnedSemaphorePermit,
) {
    load.leave(batch.len(), batch.iter().map(|waiting| waiting.bytes).sum());
    load.batches.fetch_add(1, Ordering::Relaxed);
    load.proposed
        .fetch_add(batch.len() as u64, Ordering::Relaxed);
    propose(raft, clock.now(), batch, slot).await;
}

/// Takes what waits, up to the limits of a batch; gives back the one that did not fit.
fn gather(
    first: Waiting,
    queue: &mut mpsc::UnboundedReceiver<Waiting>,
) -> (Vec<Waiting>, Option<Waiting>) {
    let mut bytes = first.bytes;
    let mut batch = vec![first];
    while batch.len() < limit::BATCH_COMMANDS_MAX {
        let Ok(next) = queue.try_recv() else { break };
        if bytes + next.bytes > limit::BATCH_BYTES_MAX {
            return (batch, Some(next));
        }
        bytes += next.bytes;
        batch.push(next);
    }
    (batch, None)
}

async fn propose(raft: &Raft, at: Timestamp, batch: Vec<Waiting>, slot: OwnedSemaphorePermit) {
    let (proposals, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.proposal, waiting.reply))
        .unzip();
    let body = Batch::encode(at, proposals);
    let callback = Callback::new(move |result: WriteResult| {
        drop(slot);
        answer(result, replies);
    });
    if let Err(fatal) = raft.client_write_ff(Body(body), Some(callback)).await {
        tracing::error!(%fatal, "the group takes no more commands");
    }
}

fn answer(result: WriteResult, replies: Vec<oneshot::Sender<Result<Outcome, Unavailable>>>) {
    match result {
        Ok(response) => {
            let Outcomes(outcomes) = response.data;
            assert_eq!(
                outcomes.len(),
                replies.len(),
                "the machine gives one outcome for each command"
            );
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // A client that went away does not read its outcome; the command took effect all the same.
                let _ = reply.send(Ok(outcome));
            }
        }
        Err(error) => {
            let unavailable = unavailable(&error);
            for reply in replies {
                let _ = reply.send(Err(unavailable.clone()));
            }
        }
    }
}

fn unavailable(error: &ClientWriteError<crate::types::TypeConfig>) -> Unavailable {
    match error {
        // Refused before it was appended: it did not and will not take effect.
        ClientWriteError::ForwardToLeader(_) => Unavailable::NoQuorum,
        _ => Unavailable::OutcomeUnknown,
    }
}

/// The time of day, by this machine's clock: for [`Clock`] only, which does not jump.
pub(crate) fn now() -> Timestamp {
    Timestamp(crate::simulated::time_of_day_ms())
}
