//! A queue that moves here is taken over, each part of it once.

use millrace_model::command::{Kept, Leaving, Moved, Part, TakeOver};
use millrace_model::outcome::Taken;
use millrace_model::{Fault, Outcome, PayloadRef, QueueId, Refusal, Revision, Tables};

use super::read_settings;
use crate::deduplication::Scope;
use crate::keys;
use crate::machine::Machine;
use crate::queue::{Chunk, Queue};

impl<T: Tables> Machine<T> {
    /// Takes over a part. What it has already is left out; behind a gap nothing is taken over.
    pub(crate) fn take_over(
        &mut self,
        take_over: TakeOver,
        places: &[PayloadRef],
    ) -> Result<Outcome, Fault> {
        let revision = take_over.revision;
        if revision > self.state.revision {
            return Ok(Outcome::Refused(Refusal::StalePlan(self.state.revision)));
        }
        let taken = match take_over.part {
            Part::Ask(queues) => {
                let taken = queues.iter().map(|id| self.taken(revision, *id));
                taken.collect()
            }
            Part::Begin(queues) => {
                // From here on this group may have entries of another one's times.
                self.inboxes.touch(take_over.source);
                self.begin_queues(revision, &queues)?
            }
            Part::Entries {
                queue,
                from,
                until,
                entries,
            } => vec![self.take_entries(revision, queue, (from, until, &entries), places)?],
            Part::Keys {
                queue,
                after,
                keys,
                is_last,
            } => vec![self.take_keys(revision, queue, after, (&keys, is_last))?],
        };
        Ok(Outcome::TakenOver(taken))
    }

    /// All queues of a move begin to live here; not before everything of an earlier stay is removed.
    fn begin_queues(
        &mut self,
        revision: Revision,
        queues: &[Leaving],
    ) -> Result<Vec<Taken>, Fault> {
        let is_due = |leaving: &&Leaving| {
            let awaited = self.moves.awaited.get(&leaving.queue);
            awaited.is_some_and(|awaited| awaited.revision == revision)
        };
        let due: Vec<_> = queues.iter().filter(is_due).copied().collect();
        if !due.iter().all(|it| self.is_swept(it.queue)) {
            return Ok(vec![Taken::Waits; queues.len()]);
        }
        for leaving in due {
            let id = leaving.queue;
            let settings = read_settings(&self.tables, id)?;
            self.moves.arrive(&mut self.tables, id);
            self.moves.take(&mut self.tables, id);
            let queue = Queue::begin(&leaving, (&settings).into(), revision);
            self.queues.insert(id, queue);
        }
        let taken = queues.iter().map(|it| self.taken(revision, it.queue));
        Ok(taken.collect())
    }

    /// Whether nothing is left of an earlier stay: entries keep their sequences, and so their keys.
    fn is_swept(&self, id: QueueId) -> bool {
        self.sweeps.dead(keys::ENTRY, id.0).is_none()
    }

    /// How far a queue is taken over by this move.
    fn taken(&self, revision: Revision, id: QueueId) -> Taken {
        let awaited = self.moves.awaited.get(&id);
        if awaited.is_some_and(|awaited| awaited.revision == revision) {
            let is_ready = self.is_swept(id);
            return if is_ready { Taken::Begin } else { Taken::Waits };
        }
        let queue = self.queues.get(id);
        queue.map_or(Taken::Done, |queue| queue.taken(revision))
    }

    fn take_entries(
        &mut self,
        revision: Revision,
        id: QueueId,
        (from, until, entries): (u64, u64, &[Moved]),
        places: &[PayloadRef],
    ) -> Result<Taken, Fault> {
        if places.len() != entries.len() {
            let reason = "it has not one payload for each entry";
            return Err(Fault::new("take a queue over", reason));
        }
        if let Taken::Entries { .. } = self.taken(revision, id)
            && let Some(queue) = self.queues.touch(id)
        {
            let chunk = Chunk {
                from,
                until,
                entries,
                places,
            };
            queue.take_over(&mut self.tables, self.state.at, &chunk);
        }
        Ok(self.taken(revision, id))
    }

    fn take_keys(
        &mut self,
        revision: Revision,
        id: QueueId,
        after: Option<[u8; 16]>,
        (keys, is_last): (&[Kept], bool),
    ) -> Result<Taken, Fault> {
        if self.taken(revision, id) == (Taken::Keys { after })
            && let Some(queue) = self.queues.touch(id)
        {
            for kept in keys {
                self.deduplications
                    .keep(&mut self.tables, &self.state, Scope::Queue(id), kept)?;
            }
            let last = keys.last().map(|kept| kept.key);
            queue.keys_came(&mut self.tables, last, is_last);
        }
        Ok(self.taken(revision, id))
    }
}
