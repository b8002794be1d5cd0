//! What does not hold of queues that move.

use millrace_model::{Fault, Tables, row};

use super::{Awaited, Moves, Onward};
use crate::keys;
use crate::machine::Machine;
use crate::scan::{damaged, each_row};

impl<T: Tables> Machine<T> {
    /// Every queue is in one place, what leaves is as its rows say, and the rows of moves are as memory is.
    pub(crate) fn audit_moves(&self, violations: &mut Vec<String>) -> Result<(), Fault> {
        let rows = Moves::open(&self.tables)?;
        let notes = |moves: &Moves| -> Vec<(_, Onward)> {
            let away = moves.away.iter();
            away.map(|(id, away)| (*id, away.onward.clone())).collect()
        };
        let awaited = |moves: &Moves| -> Vec<(_, Awaited)> {
            let awaited = moves.awaited.iter();
            awaited.map(|(id, it)| (*id, it.clone())).collect()
        };
        if notes(&rows) != notes(&self.moves) || awaited(&rows) != awaited(&self.moves) {
            let moves = &self.moves;
            violations.push(format!("moves are {moves:?}, their rows {rows:?}"));
        }
        for (id, away) in &self.moves.away {
            let is_awaited = self.moves.awaited.contains_key(id) && away.frozen.is_some();
            let is_here = self.queues.get(*id).is_some() || is_awaited;
            if is_here || away.onward.to == self.group {
                violations.push(format!("queue {id} is away and here"));
            }
            if let Some(frozen) = &away.frozen {
                let dead = self.sweeps.dead(keys::ENTRY, id.0);
                violations.extend(frozen.audit(&self.tables, dead.as_ref(), false)?);
            }
        }
        for (id, awaited) in &self.moves.awaited {
            let is_here = self.queues.get(*id).is_some();
            let has_row = self.tables.get(&keys::numbered(keys::QUEUE, id.0))?;
            if is_here || has_row.is_some() || awaited.from == self.group {
                violations.push(format!("queue {id} is awaited and here"));
            }
        }
        self.audit_coming(violations)
    }

    /// Every row of what is to come belongs to a queue that is as it says.
    fn audit_coming(&self, violations: &mut Vec<String>) -> Result<(), Fault> {
        let mut rows = 0;
        let (from, until) = keys::all(keys::COMING);
        each_row(&self.tables, &from, &until, |key, value| {
            let id = keys::number(key).ok_or_else(|| damaged("a queue that comes"))?;
            let queue = self.queues.get(millrace_model::QueueId(id));
            let coming = row::decode("a queue that comes", value)?;
            rows += 1;
            if queue.and_then(|queue| queue.coming()) != Some(&coming) {
                violations.push(format!("what is to come of queue {id} is not as memory is"));
            }
            Ok(())
        })?;
        let coming = self.queues.iter().filter(|(_, it)| it.coming().is_some());
        if coming.count() != rows {
            violations.push("a queue that comes has no row of it".to_owned());
        }
        Ok(())
    }
}
