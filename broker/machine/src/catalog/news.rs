//! News: what each data group has to adopt, kept until all of them did.

use millrace_model::command::{Adopt, Change};
use millrace_model::{Fault, Feature, GroupId, Outcome, Revision, Tables, row};
use serde::{Deserialize, Serialize};

use super::Changing;
use crate::keys;
use crate::machine::Machine;
use crate::scan::each_row;

/// The row of one change that a group must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct News {
    pub(super) group: GroupId,
    pub(super) change: Change,
}

impl<T: Tables> Machine<T> {
    /// What a data group at the revision `after` must adopt to stand where the catalog stands (group 0).
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read or is damaged.
    pub fn news(&self, after: Revision, group: GroupId) -> Result<Adopt, Fault> {
        let mut changes = Vec::new();
        let from = keys::news(Revision(after.0.saturating_add(1)), 0);
        each_row(&self.tables, &from, &keys::all(keys::NEWS).1, |_, value| {
            let news: News = row::decode_json("news", value)?;
            if news.group == group {
                changes.push(news.change);
            }
            Ok(())
        })?;
        let topology = self.topology();
        Ok(Adopt {
            revision: self.state.revision,
            after: topology.has(Feature::QueueMoves).then_some(after),
            changes,
        })
    }
}

impl<T: Tables> Changing<'_, T> {
    /// Drops the news up to a revision.
    pub(super) fn forget(&mut self, upto: Revision) -> Result<Outcome, Fault> {
        let mut old = Vec::new();
        let until = keys::news(Revision(upto.0.saturating_add(1)), 0);
        each_row(self.tables, &keys::all(keys::NEWS).0, &until, |key, _| {
            old.push(key.to_vec());
            Ok(())
        })?;
        old.iter().for_each(|key| self.tables.remove(key));
        Ok(Outcome::Deleted)
    }
}
