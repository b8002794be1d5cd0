//! What a queue that leaves is handed over with: parts of its frozen rows, as many as were not taken over yet.

use millrace_model::command::{Leaving, Moved, Part, TakeOver};
use millrace_model::outcome::Taken;
use millrace_model::{Fault, GroupId, PayloadRef, QueueId, Revision, Tables, limit};

use crate::deduplication::{Deduplications, Scope};
use crate::keys;
use crate::machine::Machine;
use crate::queue::{Entry, Queue};
use crate::scan::damaged;

/// A queue that leaves the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The queue.
    pub queue: QueueId,
    /// Where it goes.
    pub to: GroupId,
    /// The revision that began the move; queues of one revision begin together.
    pub revision: Revision,
}

/// A part of a move that is ready to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The command for the other group; its payloads are still to be read.
    pub take_over: TakeOver,
    /// Where they are stored here.
    pub places: Vec<PayloadRef>,
}

impl<T: Tables> Machine<T> {
    /// The queues that leave, in order of their ids.
    pub fn departures(&self) -> impl Iterator<Item = Departure> {
        let away = self.moves.away.iter();
        away.filter(|(_, away)| away.frozen.is_some())
            .map(|(queue, away)| Departure {
                queue: *queue,
                to: away.onward.to,
                revision: away.onward.revision,
            })
    }

    /// Asks the other group whether it is ready for queues that are to leave.
    #[must_use]
    pub fn ask_part(&self, revision: Revision, queues: Vec<QueueId>) -> Portion {
        self.part(revision, Part::Ask(queues), vec![])
    }

    /// The beginning of a move: all of its queues that leave.
    #[must_use]
    pub fn begin_part(&self, revision: Revision) -> Portion {
        let queues = self.moves.away.iter();
        let queues = queues.filter(|(_, away)| away.onward.revision == revision);
        let leaving = queues.filter_map(|(id, away)| Some(away.frozen.as_ref()?.leaving(*id)));
        self.part(revision, Part::Begin(leaving.collect()), vec![])
    }

    /// What comes next of a queue that leaves; `None` when nothing does. Bounded by [`limit::CARRY_ROWS_MAX`] and
    /// [`limit::CARRY_BYTES_MAX`].
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read or is damaged.
    pub fn next_part(&self, queue: QueueId, taken: Taken) -> Result<Option<Portion>, Fault> {
        let Some(away) = self.moves.away.get(&queue) else {
            return Ok(None);
        };
        let revision = away.onward.revision;
        let Some(frozen) = &away.frozen else {
            return Ok(None);
        };
        Ok(match taken {
            Taken::Begin => Some(self.begin_part(revision)),
            Taken::Entries { next } => {
                let (part, places) = self.entries_part(queue, frozen, next)?;
                Some(self.part(revision, part, places))
            }
            Taken::Keys { after } => {
                let scope = Scope::Queue(queue);
                let (keys, is_last) = Deduplications::portion(&self.tables, scope, after)?;
                let part = Part::Keys {
                    queue,
                    after,
                    keys,
                    is_last,
                };
                Some(self.part(revision, part, vec![]))
            }
            Taken::Waits | Taken::Done => None,
        })
    }

    fn part(&self, revision: Revision, part: Part, places: Vec<PayloadRef>) -> Portion {
        let take_over = TakeOver {
            source: self.group,
            revision,
            part,
        };
        Portion { take_over, places }
    }

    fn entries_part(
        &self,
        queue: QueueId,
        frozen: &Queue,
        from: u64,
    ) -> Result<(Part, Vec<PayloadRef>), Fault> {
        let tail = frozen.tail();
        let first = keys::entry(queue, from);
        let end = keys::entry(queue, tail);
        let rows = self.tables.scan(&first, &end, limit::CARRY_ROWS_MAX)?;
        let is_last = rows.len() < limit::CARRY_ROWS_MAX;
        let mut until = from;
        let (mut entries, mut places) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut bytes = 0;
        for (key, value) in &rows {
            let sequence = keys::sequence(key).ok_or_else(|| damaged("an entry"))?;
            let entry = Entry::decode(value)?;
            bytes += entry.payload.len as usize;
            if bytes > limit::CARRY_BYTES_MAX && !entries.is_empty() {
                let part = Part::Entries {
                    queue,
                    from,
                    until,
                    entries,
                };
                return Ok((part, places));
            }
            places.push(entry.payload);
            entries.push(frozen.moved(sequence, entry));
            until = sequence + 1;
        }
        let until = if is_last { tail } else { until };
        let part = Part::Entries {
            queue,
            from,
            until,
            entries,
        };
        Ok((part, places))
    }
}

impl Queue {
    fn moved(&self, sequence: u64, entry: Entry) -> Moved {
        Moved {
            sequence,
            enqueued_at: entry.enqueued_at,
            receive_count: entry.receive_count,
            first_received_at: entry.first_received_at,
            due: self.due_of(sequence),
            lease: entry.lease.map(|term| (term.nonce, term.visible_at)),
            dead_letter_source: entry.source.map(|source| (source.queue, source.name)),
        }
    }

    fn leaving(&self, queue: QueueId) -> Leaving {
        let mut leaving = self.cursors();
        leaving.queue = queue;
        leaving
    }
}
