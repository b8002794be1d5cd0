//! The queues of a data group, and when each has work for a tick.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::{Fault, QueueId, Tables, Timestamp};

use crate::keys;
use crate::moves::Moves;
use crate::queue::{Arrival, Dead, Queue, Settings};
use crate::scan::{damaged, each_row};

/// All queues of the group.
///
/// Invariants:
/// - Between two batches every queue is in `due` exactly at its own due time, and in no other place.
/// - Between two batches no queue is touched, and the row of each is as it is in memory.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    queues: BTreeMap<QueueId, Queue>,
    due: BTreeSet<(Timestamp, QueueId)>,
    /// Queues that a command of this batch may have changed, in the order of the commands.
    touched: Vec<QueueId>,
}

impl Queues {
    /// Opens all queues that live here.
    pub(crate) fn open<T: Tables>(tables: &T, moves: &Moves) -> Result<Self, Fault> {
        let mut queues = Self::default();
        let (from, until) = keys::all(keys::QUEUE_CONFIG);
        each_row(tables, &from, &until, |key, value| {
            let id = QueueId(keys::number(key).ok_or_else(|| damaged("a queue"))?);
            if moves.is_elsewhere(id) {
                return Ok(());
            }
            let rules = (&Settings::decode(value)?).into();
            queues.queues.insert(id, Queue::open(tables, id, rules)?);
            queues.list(id);
            Ok(())
        })?;
        Ok(queues)
    }

    pub(crate) fn get(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (QueueId, &Queue)> {
        self.queues.iter().map(|(id, queue)| (*id, queue))
    }

    /// The queue, to be changed.
    pub(crate) fn touch(&mut self, id: QueueId) -> Option<&mut Queue> {
        let queue = self.queues.get_mut(&id)?;
        if !queue.touched {
            queue.touched = true;
            self.touched.push(id);
        }
        Some(queue)
    }

    pub(crate) fn insert(&mut self, id: QueueId, queue: Queue) {
        let before = self.queues.insert(id, queue);
        assert!(before.is_none(), "ids of queues are not used twice");
        self.touch(id);
    }

    pub(crate) fn remove(&mut self, id: QueueId) -> Option<Queue> {
        self.touch(id)?;
        let queue = self.queues.remove(&id)?;
        if let Some(due) = queue.listed {
            self.due.remove(&(due, id));
        }
        Some(queue)
    }

    /// Moves entries that were received too often. The dead-letter queue takes them whatever it holds: a
    /// limit must not lose an event. Without one (it cannot be deleted while it is used) they start anew.
    pub(crate) fn bury<T: Tables>(&mut self, tables: &mut T, at: Timestamp, dead: Vec<Dead>) {
        for dead in dead {
            let (to, source) = if self.queues.contains_key(&dead.to) {
                (dead.to, Some(dead.source))
            } else {
                (dead.source.queue, None)
            };
            let arrival = Arrival {
                payload: dead.payload,
                delay_ms: Some(0),
                source,
                accepted_at: None,
            };
            let queue = self
                .touch(to)
                .expect("the source is there, if nothing else");
            queue.append(tables, at, arrival);
        }
    }

    /// Does what is due of one queue, at most `budget` entries of it.
    pub(crate) fn expire<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        id: QueueId,
        budget: usize,
    ) -> Result<usize, Fault> {
        let queue = self.touch(id).expect("what is listed is there");
        let (work, dead) = queue.expire(tables, at, budget)?;
        self.list(id);
        self.bury(tables, at, dead);
        Ok(work)
    }

    /// The queue whose work is due first, and when.
    pub(crate) fn first_due(&self) -> Option<(Timestamp, QueueId)> {
        self.due.first().copied()
    }

    /// Brings the index of what is due up to date with what this batch touched.
    pub(crate) fn list_touched(&mut self) {
        for at in 0..self.touched.len() {
            self.list(self.touched[at]);
        }
    }

    fn list(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        let due = queue.due();
        if due == queue.listed {
            return;
        }
        if let Some(before) = queue.listed {
            self.due.remove(&(before, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
        queue.listed = due;
    }

    /// Ends a batch: writes the cursors of touched queues, and says how many entries of each are ready.
    pub(crate) fn finish<T: Tables>(&mut self, tables: &mut T) -> Vec<(QueueId, Option<u64>)> {
        self.list_touched();
        let mut ready = Vec::with_capacity(self.touched.len());
        for id in std::mem::take(&mut self.touched) {
            let queue = self.queues.get_mut(&id);
            ready.push((id, queue.as_ref().map(|queue| queue.ready())));
            if let Some(queue) = queue {
                queue.write(tables);
                queue.touched = false;
            }
        }
        ready
    }

    /// Whether the index of what is due says what the queues say.
    pub(crate) fn due_agrees(&self) -> bool {
        let expected = self
            .iter()
            .filter_map(|(id, queue)| Some((queue.due()?, id)));
        expected.collect::<BTreeSet<_>>() == self.due
            && self.iter().all(|(_, queue)| queue.listed == queue.due())
    }
}
