//! The sequences of topics.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::{Fault, Tables, TopicId, row};

use crate::keys;
use crate::scan::{damaged, each_row};

/// The sequence of the last event of each topic that ever had one.
///
/// Invariant: between two batches the rows are as the list is, and nothing is touched.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    last: BTreeMap<TopicId, u64>,
    touched: BTreeSet<TopicId>,
}

impl Topics {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        Ok(Self {
            last: read(tables)?,
            touched: BTreeSet::new(),
        })
    }

    /// The sequence of the next event of a topic.
    pub(crate) fn next(&mut self, topic: TopicId) -> u64 {
        let last = self.last.entry(topic).or_default();
        *last += 1;
        let next = *last;
        self.touched.insert(topic);
        next
    }

    pub(crate) fn remove<T: Tables>(&mut self, tables: &mut T, topic: TopicId) {
        self.last.remove(&topic);
        self.touched.remove(&topic);
        tables.remove(&keys::numbered(keys::TOPIC_SEQUENCE, topic.0));
    }

    /// Ends a batch: writes what it touched.
    pub(crate) fn finish<T: Tables>(&mut self, tables: &mut T) {
        for topic in std::mem::take(&mut self.touched) {
            let key = keys::numbered(keys::TOPIC_SEQUENCE, topic.0);
            tables.put(&key, row::encode(&self.last[&topic]));
        }
    }

    /// What does not hold of the rows.
    pub(crate) fn audit<T: Tables>(
        &self,
        tables: &T,
        violations: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let rows = read(tables)?;
        if rows != self.last {
            violations.push(format!("topics are {:?}, their rows {rows:?}", self.last));
        }
        Ok(())
    }
}

fn read<T: Tables>(tables: &T) -> Result<BTreeMap<TopicId, u64>, Fault> {
    let mut topics = BTreeMap::new();
    let (from, until) = keys::all(keys::TOPIC_SEQUENCE);
    each_row(tables, &from, &until, |key, value| {
        let id = keys::number(key).ok_or_else(|| damaged("a topic's sequence"))?;
        topics.insert(TopicId(id), row::decode("a topic's sequence", value)?);
        Ok(())
    })?;
    Ok(topics)
}
