//! A redrive: dead letters go back to the queues that they came from.

use millrace_model::command::{CarriedTo, Redrive, RedriveAcross};
use millrace_model::{Fault, Outcome, PayloadRef, QueueId, Refusal, Tables, limit};

use crate::machine::Machine;
use crate::outbox::Outgoing;
use crate::queue::{Arrival, Entry};

impl<T: Tables> Machine<T> {
    /// Moves ready entries of a queue, oldest first. An entry stays when its target is gone or full.
    pub(crate) fn redrive(&mut self, redrive: &Redrive) -> Result<Outcome, Fault> {
        if let Err(refusal) = self.redrivable(redrive) {
            return Ok(Outcome::Refused(refusal));
        }
        self.move_ready(redrive, None)
    }

    /// Moves ready entries of a queue to one of another group, oldest first.
    pub(crate) fn redrive_across(&mut self, across: &RedriveAcross) -> Result<Outcome, Fault> {
        let redrive = &across.redrive;
        if self.queues.get(redrive.queue).is_none() {
            return Ok(self.refuse_queue(redrive.queue));
        }
        if across.revision < self.state.revision || across.group == self.group {
            return Ok(Outcome::Refused(Refusal::StalePlan(self.state.revision)));
        }
        self.move_ready(redrive, Some(across))
    }

    fn move_ready(
        &mut self,
        redrive: &Redrive,
        across: Option<&RedriveAcross>,
    ) -> Result<Outcome, Fault> {
        let most = u64::from(redrive.max.min(limit::REDRIVE_MESSAGES_MAX));
        let (mut moved, mut examined) = (0, 0);
        let mut stay = Vec::new();
        while moved < most && examined < limit::REDRIVE_EXAMINED_MAX {
            let queue = self.queues.touch(redrive.queue).expect("it was found");
            let Some((sequence, entry)) = queue.take_ready(&self.tables)? else {
                break;
            };
            examined += 1;
            let moves = match across {
                Some(across) => self.move_across(across, sequence, &entry),
                None => self.move_back(redrive, sequence, &entry),
            };
            moved += u64::from(moves);
            stay.extend((!moves).then_some(sequence));
        }
        let queue = self.queues.touch(redrive.queue).expect("it was found");
        queue.give_back(stay);
        Ok(Outcome::Redriven(moved))
    }

    fn redrivable(&self, redrive: &Redrive) -> Result<(), Refusal> {
        let queues = [Some(redrive.queue), redrive.to];
        for id in queues.into_iter().flatten() {
            if self.queues.get(id).is_none() {
                return Err(self.no_queue(id));
            }
        }
        if redrive.to == Some(redrive.queue) {
            let reason = "a queue cannot be redriven into itself: name another queue";
            return Err(Refusal::CannotRedrive(reason.to_owned()));
        }
        Ok(())
    }

    /// Where an entry goes, if that queue is there and has room.
    fn target(&self, redrive: &Redrive, entry: &Entry) -> Option<QueueId> {
        let source = entry.source.as_ref().map(|source| source.queue);
        let target = redrive.to.or(source)?;
        let room = self.queues.get(target)?.room();
        (room > 0 && target != redrive.queue).then_some(target)
    }

    /// The entry starts anew in its queue, if that takes it; the reference to its payload moves along.
    fn move_back(&mut self, redrive: &Redrive, sequence: u64, entry: &Entry) -> bool {
        let Some(to) = self.target(redrive, entry) else {
            return false;
        };
        let queue = self.queues.touch(redrive.queue).expect("it was found");
        let payload: PayloadRef = queue.remove_taken(&mut self.tables, sequence, entry);
        let arrival = Arrival {
            payload,
            delay_ms: Some(0),
            source: None,
            accepted_at: None,
        };
        let target = self.queues.touch(to).expect("its room was looked at");
        target.append(&mut self.tables, self.state.at, arrival);
        true
    }

    /// The entry starts anew in a queue of another group, if it may wait to be carried there.
    fn move_across(&mut self, across: &RedriveAcross, sequence: u64, entry: &Entry) -> bool {
        let Some(to) = across.redrive.to else {
            return false;
        };
        if self.outboxes.room([across.group]).is_err() {
            return false;
        }
        let queue = self.queues.touch(across.redrive.queue);
        let queue = queue.expect("it was found");
        let outgoing = Outgoing {
            payload: queue.remove_taken(&mut self.tables, sequence, entry),
            revision: across.revision,
            accepted_at: self.state.at,
            to: CarriedTo::Queue {
                queue: to,
                delay_ms: Some(0),
            },
        };
        self.outboxes
            .push(&mut self.tables, across.group, &outgoing);
        true
    }
}
