//! Leases begin, end or go on: the commands for the entries of one queue.

use millrace_model::command::{Extend, Nack, Receive, Settle};
use millrace_model::{Fault, Outcome, QueueId, Tables};

use crate::machine::Machine;

impl<T: Tables> Machine<T> {
    pub(crate) fn receive(&mut self, receive: &Receive) -> Result<Outcome, Fault> {
        let Some(queue) = self.queues.touch(receive.queue) else {
            return Ok(self.refuse_queue(receive.queue));
        };
        let leases = queue.receive(&mut self.tables, self.state.at, receive)?;
        Ok(Outcome::Received(leases))
    }

    pub(crate) fn ack(&mut self, ack: &Settle) -> Outcome {
        match self.queues.touch(ack.queue) {
            Some(queue) => {
                Outcome::Settled(queue.ack(&mut self.tables, self.state.at, &ack.receipts))
            }
            None => self.refuse_queue(ack.queue),
        }
    }

    pub(crate) fn nack(&mut self, nack: &Nack) -> Outcome {
        let Some(queue) = self.queues.touch(nack.queue) else {
            return self.refuse_queue(nack.queue);
        };
        let at = self.state.at;
        let (settled, dead) = queue.nack(&mut self.tables, at, &nack.receipts, nack.delay_ms);
        self.queues.bury(&mut self.tables, at, dead);
        Outcome::Settled(settled)
    }

    /// An extension to nothing ends the leases as a nack would.
    pub(crate) fn extend(&mut self, extend: &Extend) -> Outcome {
        if extend.visibility_ms == 0 {
            return self.nack(&Nack {
                queue: extend.queue,
                receipts: extend.receipts.clone(),
                delay_ms: 0,
            });
        }
        let Some(queue) = self.queues.touch(extend.queue) else {
            return self.refuse_queue(extend.queue);
        };
        let at = self.state.at;
        Outcome::Settled(queue.extend(&mut self.tables, at, &extend.receipts, extend.visibility_ms))
    }

    /// Drops all entries at once; their rows are swept by ticks.
    pub(crate) fn purge(&mut self, id: QueueId) -> Outcome {
        let Some(queue) = self.queues.touch(id) else {
            return self.refuse_queue(id);
        };
        let (entries, dead) = queue.purge();
        self.sweeps.entries(&mut self.tables, id, dead);
        Outcome::Purged(entries)
    }
}
