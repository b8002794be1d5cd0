//! A tick: everything that is due is done, in bounded steps.

use millrace_model::{Fault, Outcome, Tables, Timestamp, limit};

use crate::machine::Machine;

/// Shares of a tick, so that no kind of work keeps the others waiting: half for queues, a quarter for
/// deduplication windows, what is left for sweeps, and then for queues again.
const QUEUES_SHARE: usize = limit::TICK_WORK_MAX / 2;
const WINDOWS_SHARE: usize = limit::TICK_WORK_MAX / 4;

const _: () = assert!(QUEUES_SHARE + WINDOWS_SHARE < limit::TICK_WORK_MAX);

impl<T: Tables> Machine<T> {
    /// Does what is due, at most [`limit::TICK_WORK_MAX`] things of it.
    pub(crate) fn tick(&mut self) -> Result<Outcome, Fault> {
        self.queues.list_touched();
        let mut left = limit::TICK_WORK_MAX;
        left -= self.expire_queues(QUEUES_SHARE)?;
        left -= self
            .deduplications
            .expire(&mut self.tables, &mut self.state, WINDOWS_SHARE)?;
        left -= self.sweeps.run(&mut self.tables, left)?;
        left -= self.expire_queues(left)?;
        Ok(Outcome::Ticked {
            work: (limit::TICK_WORK_MAX - left) as u64,
        })
    }

    /// Queues whose work is due first come first.
    fn expire_queues(&mut self, budget: usize) -> Result<usize, Fault> {
        let at = self.state.at;
        let mut work = 0;
        while work < budget
            && let Some((due, id)) = self.queues.first_due()
            && due <= at
        {
            work += self
                .queues
                .expire(&mut self.tables, at, id, budget - work)?;
        }
        Ok(work)
    }

    /// When a tick has work; `None` when nothing will ever be due without another command.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let sweep = (!self.sweeps.is_empty()).then_some(self.state.at);
        let queues = self.queues.first_due().map(|(due, _)| due);
        [sweep, queues, self.deduplications.due()]
            .into_iter()
            .flatten()
            .min()
    }
}
