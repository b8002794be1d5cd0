//! The audit: every invariant, checked from rows against memory. And the digest of all rows.

use std::collections::BTreeSet;

use millrace_model::digest::{Digest, Digester};
use millrace_model::{Fault, QueueId, SubscriptionId, Tables};

use crate::keys;
use crate::machine::Machine;
use crate::queue::Settings;
use crate::scan::{damaged, each_row};
use crate::state::State;

impl<T: Tables> Machine<T> {
    /// What does not hold, in words; empty when everything does. Reads every row: for tests, for `check`,
    /// and for a cluster that compares its members.
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read or is damaged.
    pub fn audit(&self) -> Result<Vec<String>, Fault> {
        let mut violations = Vec::new();
        if State::open(&self.tables)? != self.state {
            violations.push("the row of the group is not as memory is".to_owned());
        }
        let is_ordered = self.inboxes.is_empty();
        for (id, queue) in self.queues.iter() {
            let dead = self.sweeps.dead(keys::ENTRY, id.0);
            violations.extend(queue.audit(&self.tables, dead.as_ref(), is_ordered)?);
        }
        if !self.queues.due_agrees() {
            violations.push("the index of what is due is not what the queues say".to_owned());
        }
        self.audit_settings(&mut violations)?;
        self.audit_moves(&mut violations)?;
        self.audit_owners(&mut violations)?;
        self.audit_catalog(&mut violations)?;
        self.topics.audit(&self.tables, &mut violations)?;
        self.parked.audit(&self.tables, &mut violations)?;
        self.sweeps.audit(&self.tables, &mut violations)?;
        self.outboxes
            .audit(&self.tables, self.group, &mut violations)?;
        self.inboxes
            .audit(&self.tables, self.group, &mut violations)?;
        self.deduplications
            .audit(&self.tables, &self.state, &mut violations)?;
        Ok(violations)
    }

    /// The digest of all rows, and how many they are. Equal on every node that applied the same batches.
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read.
    pub fn digest(&self) -> Result<(Digest, u64), Fault> {
        let mut digester = Digester::default();
        let mut rows = 0;
        each_row(&self.tables, keys::FIRST, keys::END, |key, value| {
            digester.row(key, value);
            rows += 1;
            Ok(())
        })?;
        Ok((digester.finish(), rows))
    }

    /// Every queue is configured as its row says, and no queue is missing.
    fn audit_settings(&self, violations: &mut Vec<String>) -> Result<(), Fault> {
        let mut rows = BTreeSet::new();
        let (from, until) = keys::all(keys::QUEUE_CONFIG);
        each_row(&self.tables, &from, &until, |key, value| {
            let id = QueueId(keys::number(key).ok_or_else(|| damaged("a queue"))?);
            let rules = (&Settings::decode(value)?).into();
            rows.insert(id);
            if self.moves.is_elsewhere(id) {
                return Ok(());
            }
            if self
                .queues
                .get(id)
                .is_none_or(|queue| *queue.rules() != rules)
            {
                violations.push(format!("queue {id} is not configured as its row says"));
            }
            Ok(())
        })?;
        if self.queues.iter().any(|(id, _)| !rows.contains(&id)) {
            violations.push("a queue has no row of its configuration".to_owned());
        }
        Ok(())
    }

    /// Every entry, delay and parked event belongs to something that lives, or waits to be swept.
    fn audit_owners(&self, violations: &mut Vec<String>) -> Result<(), Fault> {
        for tag in [keys::ENTRY, keys::DELAY] {
            let (from, until) = keys::all(tag);
            each_row(&self.tables, &from, &until, |key, _| {
                let row = keys::number(key).zip(keys::sequence(key));
                let (id, sequence) = row.ok_or_else(|| damaged("an entry"))?;
                let dead = self.sweeps.dead(keys::ENTRY, id);
                let dead = dead.is_some_and(|dead| dead.contains(&sequence));
                let id = QueueId(id);
                let is_here = self.queues.get(id).is_some() || self.moves.frozen(id).is_some();
                if !dead && !is_here {
                    violations.push(format!("entry {sequence} belongs to no queue"));
                }
                Ok(())
            })?;
        }
        let (from, until) = keys::all(keys::PARKED);
        each_row(&self.tables, &from, &until, |key, _| {
            let row = keys::number(key).zip(keys::sequence(key));
            let (id, sequence) = row.ok_or_else(|| damaged("a parked event"))?;
            let live = self.parked.extent(SubscriptionId(id));
            let dead = self.sweeps.dead(keys::PARKED, id);
            let extents = [live, dead];
            let mut extents = extents.iter().flatten();
            if !extents.any(|extent| extent.contains(&sequence)) {
                violations.push(format!("parked event {sequence} belongs to no list"));
            }
            Ok(())
        })
    }
}
