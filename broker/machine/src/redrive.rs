//! A redrive: dead letters go back to the queues that they came from.

use millrace_model::command::Redrive;
use millrace_model::{Fault, Outcome, PayloadRef, QueueId, Refusal, Tables, limit};

use crate::machine::Machine;
use crate::queue::{Arrival, Entry};

impl<T: Tables> Machine<T> {
    /// Moves ready entries of a queue, oldest first. An entry stays when its target is gone or full.
    pub(crate) fn redrive(&mut self, redrive: &Redrive) -> Result<Outcome, Fault> {
        if let Err(refusal) = self.redrivable(redrive) {
            return Ok(Outcome::Refused(refusal));
        }
        let most = u64::from(redrive.max.min(limit::REDRIVE_MESSAGES_MAX));
        let (mut moved, mut examined) = (0, 0);
        let mut stay = Vec::new();
        while moved < most && examined < limit::REDRIVE_EXAMINED_MAX {
            let queue = self.queues.touch(redrive.queue).expect("it was found");
            let Some((sequence, entry)) = queue.take_ready(&self.tables)? else {
                break;
            };
            examined += 1;
            match self.target(redrive, &entry) {
                Some(target) => {
                    self.move_back(redrive.queue, sequence, &entry, target);
                    moved += 1;
                }
                None => stay.push(sequence),
            }
        }
        let queue = self.queues.touch(redrive.queue).expect("it was found");
        queue.give_back(stay);
        Ok(Outcome::Redriven(moved))
    }

    fn redrivable(&self, redrive: &Redrive) -> Result<(), Refusal> {
        let queues = [Some(redrive.queue), redrive.to];
        for id in queues.into_iter().flatten() {
            if self.queues.get(id).is_none() {
                return Err(Refusal::QueueNotFound(id.to_string()));
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

    /// The entry starts anew in its queue; the reference to its payload moves along.
    fn move_back(&mut self, from: QueueId, sequence: u64, entry: &Entry, to: QueueId) {
        let queue = self.queues.touch(from).expect("it was found");
        let payload: PayloadRef = queue.remove_taken(&mut self.tables, sequence, entry);
        let arrival = Arrival {
            payload,
            delay_ms: Some(0),
            source: None,
        };
        let target = self.queues.touch(to).expect("its room was looked at");
        target.append(&mut self.tables, self.state.at, arrival);
    }
}
