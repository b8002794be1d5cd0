//! Finds a queue in whatever group it is, again while it moves: what the door does (`gateway/src/queue`).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::catalog::{Queue, Topology};
use millrace_model::receipt::Receipt;
use millrace_model::{
    Command, GroupId, Ledger as _, Outcome, Proposal, QueueId, Refusal, Unavailable,
};
use tokio::time::Instant;

use crate::client::{Client, name};

/// How long a request waits for a queue that moves.
const MOVE_MAX: Duration = Duration::from_secs(5);

/// Twice as long each time, up to so often.
const DOUBLINGS_MAX: u32 = 7;

/// What a request comes to that may be refused.
pub(crate) type Answered<T> = Result<Result<T, Refusal>, Unavailable>;

impl Client {
    /// Does something with `queue` where it is.
    pub(crate) async fn located<T, F>(
        &self,
        queue: &str,
        work: impl Fn(Arc<Topology>, Arc<Queue>) -> F,
    ) -> Answered<T>
    where
        F: Future<Output = Answered<T>>,
    {
        let mut topology = self.cluster.topology();
        let (mut until, mut attempt) = (None, 0);
        loop {
            let begun = Instant::now();
            let found = Arc::clone(&topology.queues[&name(queue)]);
            let number = found.id.to_string();
            let refusal = match work(topology, found).await? {
                Ok(done) => return Ok(Ok(done)),
                Err(Refusal::QueueNotFound(it)) if self.scene.groups > 1 && it == number => {
                    Refusal::QueueMoving(queue.to_owned())
                }
                Err(refusal) => refusal,
            };
            if begun.elapsed() >= MOVE_MAX {
                (until, attempt) = (None, 0);
            }
            let until = *until.get_or_insert_with(|| Instant::now() + MOVE_MAX);
            if !self.may_be_elsewhere(&refusal) || Instant::now() >= until {
                return Ok(Err(refusal));
            }
            attempt += 1;
            wait(attempt).await;
            self.cluster.fresh().await?;
            topology = self.cluster.topology();
        }
    }

    fn may_be_elsewhere(&self, refusal: &Refusal) -> bool {
        let moved = matches!(
            refusal,
            Refusal::QueueMoving(_) | Refusal::QueueNotFound(_) | Refusal::StalePlan(_)
        );
        moved && self.scene.groups > 1
    }

    pub(crate) async fn try_commit(&self, group: GroupId, proposal: Proposal) -> Answered<Outcome> {
        Ok(match self.cluster.commit(group, proposal).await? {
            Outcome::Refused(refusal) => Err(refusal),
            outcome => Ok(outcome),
        })
    }

    /// Settles receipts; those whose entries are on their way to another group again, for a while. Those that are settled.
    pub(crate) async fn settle(
        &self,
        queue: &str,
        mut open: Vec<Receipt>,
        command: impl Fn(QueueId, Vec<Receipt>) -> Command,
    ) -> Vec<Receipt> {
        let until = Instant::now() + MOVE_MAX;
        let (mut done, mut attempt) = (Vec::new(), 0);
        while !open.is_empty() {
            let answered = self.located(queue, |_, queue| {
                let command = command(queue.id, open.clone());
                self.try_commit(queue.group, Proposal::bare(command))
            });
            let Ok(Ok(Outcome::Settled(settled))) = answered.await else {
                return done;
            };
            let mut again = Vec::new();
            for (at, receipt) in open.into_iter().enumerate() {
                let mut failed = settled.failed.iter();
                match failed.find(|(other, _)| *other as usize == at) {
                    None => done.push(receipt),
                    Some((_, Refusal::QueueMoving(_))) => again.push(receipt),
                    Some(_) => {}
                }
            }
            if Instant::now() >= until {
                return done;
            }
            open = again;
            attempt += 1;
            if !open.is_empty() {
                wait(attempt).await;
            }
        }
        done
    }
}

/// 1, 2, 4 … milliseconds.
async fn wait(attempt: u32) {
    let ms = 1 << (attempt - 1).min(DOUBLINGS_MAX);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
