//! Questions: answered from what is applied, between two batches.

use millrace_model::command::Deduplication;
use millrace_model::query::Audit;
use millrace_model::{
    Answer, DeduplicationKey, Fault, Outcome, Query, QueueId, Refusal, Tables, limit,
};

use crate::deduplication::{Deduplications, Scope};
use crate::machine::Machine;

impl<T: Tables> Machine<T> {
    /// Answers a question. The audit leaves `applied` at 0: the position is the tables' keeper's to know.
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read or is damaged.
    pub fn query(&self, query: &Query) -> Result<Answer, Fault> {
        match query {
            Query::Topology => Ok(Answer::Topology(self.topology())),
            Query::Component(digest) => Ok(match self.component(digest)? {
                Some(bytes) => Answer::Component(bytes),
                None => Answer::Refused(Refusal::PluginNotFound(digest.clone())),
            }),
            Query::Counters(queue) => self.with_queue(*queue, |queue| {
                let counters = queue.counters(&self.tables, self.state.at)?;
                Ok(Answer::Counters(counters))
            }),
            Query::Peek {
                queue,
                states,
                after,
                limit,
            } => self.with_queue(*queue, |queue| {
                let entries = queue.peek(&self.tables, *states, *after, *limit)?;
                Ok(Answer::Peeked(entries))
            }),
            Query::Parked {
                subscription,
                after,
                limit,
            } => {
                let limit = (*limit).min(limit::PAGE_ITEMS_MAX) as usize;
                let page = self
                    .parked
                    .page(&self.tables, *subscription, *after, limit)?;
                Ok(Answer::Parked(page))
            }
            Query::Remembered { queue, key } => self.remembered(*queue, *key),
            Query::Moving(id) => match self.moves.frozen(*id) {
                Some(queue) => Ok(Answer::Moving(queue.entries())),
                None => self.with_queue(*id, |queue| Ok(Answer::Moving(queue.missing()))),
            },
            Query::Audit => {
                let (digest, rows) = self.digest()?;
                Ok(Answer::Audit(Audit {
                    digest,
                    applied: 0,
                    revision: self.state.revision,
                    rows,
                    violations: self.audit()?,
                }))
            }
        }
    }

    /// What a request came to before its queue left. The answer stands, since nothing more is accepted here.
    fn remembered(&self, queue: QueueId, key: DeduplicationKey) -> Result<Answer, Fault> {
        if self.queues.get(queue).is_some() {
            // It does not know yet that the queue leaves.
            let refusal = Refusal::QueueMoving(queue.to_string());
            return Ok(Answer::Refused(refusal));
        }
        let asked = Deduplication { key, window_ms: 0 };
        let scope = Scope::Queue(queue);
        let recalled = Deduplications::recall(&self.tables, self.state.at, scope, &asked)?;
        Ok(match recalled {
            Some(Outcome::Accepted(results)) => Answer::Remembered(Some(results)),
            Some(Outcome::Refused(refusal)) => Answer::Refused(refusal),
            _ => Answer::Remembered(None),
        })
    }

    fn with_queue(
        &self,
        id: QueueId,
        answer: impl FnOnce(&crate::queue::Queue) -> Result<Answer, Fault>,
    ) -> Result<Answer, Fault> {
        match self.queues.get(id) {
            Some(queue) => answer(queue),
            None => Ok(Answer::Refused(self.no_queue(id))),
        }
    }
}
