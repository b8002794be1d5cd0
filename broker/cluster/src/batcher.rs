//! Many requests become one log entry.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_model::{Batch, Command, GroupId, Outcome, Proposal, Timestamp, Unavailable, limit};
use openraft::errors::ClientWriteError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::leadership::{Leader, Leadership};
use crate::piggyback;
use crate::types::{Body, Callback, Outcomes, Raft, WriteResult};
use crate::waiters::WaitersByQueue;

/// How often it is looked whether this node still leads, while a batch is not answered.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// After so many looks in a row at which it does not, the batch is answered. A leader that was handed the lead has
/// committed what was under way long before.
const LOOKS_WITHOUT_LEAD: u32 = 7;

/// What becomes of a command.
pub(crate) type Answered = Result<Outcome, Unavailable>;

/// Collects the commands of one group and proposes them, many to an entry.
///
/// There is no linger: a batch leaves as soon as none is under way, and takes along what has come meanwhile. So an idle
/// broker answers at once and a busy one makes large batches by itself: of 64 clients 24 commands, where two under way
/// would be 14 each, and four be 8 and cost three times the syncs.
///
/// Whatever was handed in is answered: one task watches the batch under way for all who wait, with one timer.
pub(crate) struct Batcher {
    queue: mpsc::UnboundedSender<Waiting>,
    load: Arc<Load>,
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
    /// Receives among them that were proposed for those who waited.
    pub(crate) piggybacked: AtomicU64,
}

/// Receivers of a group that sleep.
pub(crate) struct Receivers {
    /// The group.
    pub(crate) group: GroupId,
    /// Those of all groups.
    pub(crate) waiters: Arc<WaitersByQueue>,
}

struct Waiting {
    proposal: Proposal,
    bytes: usize,
    reply: oneshot::Sender<Answered>,
}

impl Batcher {
    /// Starts the batcher of the group that `raft` agrees on, whose time `clock` shows, whose leader `leadership` tells, and
    /// for whose `receivers` it proposes what they wait for. The outcome of a batch that the log has not answered after
    /// `patience` is called unknown.
    pub(crate) fn start(
        raft: Raft,
        clock: Arc<Clock>,
        leadership: Arc<Leadership>,
        receivers: Receivers,
        patience: Duration,
    ) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let proposer = Proposer {
            raft,
            clock,
            leadership,
            receivers,
            load: Arc::clone(&load),
            patience,
        };
        tokio::spawn(proposer.run(waiting));
        Self { queue, load }
    }

    /// Hands `proposal` in; what is returned waits for its outcome. Handed in at once, so that no future carries a command: layer over
    /// layer would move it again.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too much waits (the queue is bounded by count and bytes, not by the channel),
    /// [`Unavailable::NotReady`] when the group has stopped or its log does not answer, [`Unavailable::NoQuorum`] when it
    /// was not proposed since this node leads no more, [`Unavailable::OutcomeUnknown`] when it was.
    pub(crate) fn commit(&self, proposal: Proposal) -> impl Future<Output = Answered> + use<> {
        let submitted = self.submit(proposal);
        async move { submitted?.await.unwrap_or(Err(Unavailable::OutcomeUnknown)) }
    }

    fn submit(&self, proposal: Proposal) -> Result<oneshot::Receiver<Answered>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let bytes = proposal.bytes();
        self.load.admit(bytes)?;
        let waiting = Waiting {
            proposal,
            bytes,
            reply,
        };
        let sent = self.queue.send(waiting);
        sent.map_err(|_| Unavailable::NotReady("the group has stopped".to_owned()))?;
        Ok(answer)
    }

    /// What went through.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }
}

impl Load {
    /// Counts one command in.
    fn admit(&self, bytes: usize) -> Result<(), Unavailable> {
        let commands = self.commands.fetch_add(1, Ordering::Relaxed);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if commands >= limit::PROPOSALS_WAITING_MAX || waiting >= limit::PROPOSALS_WAITING_BYTES_MAX
        {
            self.leave(1, bytes);
            return Err(Unavailable::Overloaded);
        }
        Ok(())
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

/// Those who wait for the batch under way: answered by the log or by who watches it, whoever is first.
#[derive(Clone)]
struct Replies(Arc<Mutex<Vec<oneshot::Sender<Answered>>>>);

impl Replies {
    fn take(&self) -> Vec<oneshot::Sender<Answered>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The batch under way.
struct UnderWay {
    replies: Replies,
    /// Ready when the log has answered.
    done: oneshot::Receiver<()>,
    /// How often the disk had hung before.
    hangs: u64,
}

/// The task that proposes.
struct Proposer {
    raft: Raft,
    clock: Arc<Clock>,
    leadership: Arc<Leadership>,
    receivers: Receivers,
    load: Arc<Load>,
    patience: Duration,
}

impl Proposer {
    async fn run(self, mut queue: mpsc::UnboundedReceiver<Waiting>) {
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(first) => first,
                None => match queue.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let (batch, next) = self.gather(first, &mut queue);
            left_over = next;
            let mut under_way = self.propose(batch).await;
            if !self.watch(&mut under_way).await {
                if let Some(waiting) = left_over.take() {
                    self.refuse(waiting);
                }
                self.refuse_all(&mut queue, under_way.done).await;
            }
        }
    }

    /// Takes what waits, up to the limits of a batch; gives back the one that did not fit.
    fn gather(
        &self,
        first: Waiting,
        queue: &mut mpsc::UnboundedReceiver<Waiting>,
    ) -> (Vec<Waiting>, Option<Waiting>) {
        let mut bytes = first.bytes;
        let commands = self.load.waiting().clamp(1, limit::BATCH_COMMANDS_MAX);
        let mut batch = Vec::with_capacity(commands);
        batch.push(first);
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

    /// Adds the receives of those who wait for what the batch brings.
    fn piggyback(&self, batch: &mut Vec<Waiting>) {
        let Receivers { group, waiters } = &self.receivers;
        if waiters.waiting() == 0 {
            return;
        }
        let arrivals = piggyback::arrivals(batch.iter().map(|waiting| &waiting.proposal));
        if arrivals.is_empty() {
            return;
        }
        let room = limit::BATCH_COMMANDS_MAX - batch.len();
        let sleepers = waiters.piggyback(*group, &arrivals, room);
        let count = sleepers.len() as u64;
        self.load.piggybacked.fetch_add(count, Ordering::Relaxed);
        batch.extend(sleepers.into_iter().map(|sleeper| Waiting {
            proposal: Proposal::bare(Command::Receive(sleeper.receive)),
            bytes: 0,
            reply: sleeper.reply,
        }));
    }

    async fn propose(&self, mut batch: Vec<Waiting>) -> UnderWay {
        let bytes = batch.iter().map(|waiting| waiting.bytes).sum();
        self.load.leave(batch.len(), bytes);
        self.piggyback(&mut batch);
        self.load.batches.fetch_add(1, Ordering::Relaxed);
        let commands = batch.len() as u64;
        self.load.proposed.fetch_add(commands, Ordering::Relaxed);
        let proposals = batch.iter().map(|waiting| &waiting.proposal);
        let body = Batch::encode(self.clock.now(), proposals);
        let replies = batch.into_iter().map(|waiting| waiting.reply).collect();
        let replies = Replies(Arc::new(Mutex::new(replies)));
        let (answered, done) = oneshot::channel();
        let hangs = self.leadership.hangs();
        let waiting = replies.clone();
        let callback = Callback::new(move |result: WriteResult| {
            answer(result, waiting.take());
            // Whoever watches may have stopped.
            let _ = answered.send(());
        });
        let proposed = self.raft.client_write_ff(Body(body), Some(callback)).await;
        if let Err(fatal) = proposed {
            tracing::error!(%fatal, "the group takes no more commands");
        }
        UnderWay {
            replies,
            done,
            hangs,
        }
    }

    /// Waits until the log has answered the batch; whether it has. When it takes too long, or another one leads, nobody
    /// here can tell what comes of it, and those who wait are told so.
    async fn watch(&self, under_way: &mut UnderWay) -> bool {
        let deadline = Instant::now() + self.patience;
        let mut looks = 0;
        while looks < LOOKS_WITHOUT_LEAD && Instant::now() < deadline {
            let look_at = deadline.min(Instant::now() + LOOK_EVERY);
            let done = tokio::time::timeout_at(look_at, &mut under_way.done).await;
            match done {
                Ok(_) => return true,
                // It cannot be applied before this disk goes on, whoever leads.
                Err(_) if self.leadership.hangs() != under_way.hangs => break,
                Err(_) if self.leadership.is_here() => looks = 0,
                Err(_) => looks += 1,
            }
        }
        for reply in under_way.replies.take() {
            let _ = reply.send(Err(Unavailable::OutcomeUnknown));
        }
        false
    }

    /// Refuses whatever comes until the log has answered: it would wait behind what nobody can tell the end of.
    async fn refuse_all(
        &self,
        queue: &mut mpsc::UnboundedReceiver<Waiting>,
        mut done: oneshot::Receiver<()>,
    ) {
        loop {
            tokio::select! {
                biased;
                _ = &mut done => return,
                waiting = queue.recv() => match waiting {
                    Some(waiting) => self.refuse(waiting),
                    None => return,
                },
            }
        }
    }

    /// It was not proposed and never will be: another node may take it.
    fn refuse(&self, waiting: Waiting) {
        self.load.leave(1, waiting.bytes);
        let unavailable = match self.leadership.leader() {
            Leader::Alone => {
                Unavailable::NotReady("the log does not answer: its disk may hang".to_owned())
            }
            _ => Unavailable::NoQuorum,
        };
        let _ = waiting.reply.send(Err(unavailable));
    }
}

fn answer(result: WriteResult, replies: Vec<oneshot::Sender<Answered>>) {
    if replies.is_empty() {
        // They were told that nobody knows.
        return;
    }
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
