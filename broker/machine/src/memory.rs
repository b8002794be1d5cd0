//! Tables in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;

use millrace_model::tables::Row;
use millrace_model::{Fault, PayloadRef, Tables};

/// Rows in a map, with the count of references of each log entry. Asserts what [`Tables`] promises and what
/// it is promised: a row that is inserted is new, and no reference is dropped that was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTables {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    references: BTreeMap<u64, u64>,
}

impl MemoryTables {
    /// How many references each log entry has; those without any are left out.
    #[must_use]
    pub fn references(&self) -> &BTreeMap<u64, u64> {
        &self.references
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }
}

impl Tables for MemoryTables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Fault> {
        if from >= until {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(from), Bound::Excluded(until));
        let rows = self.rows.range::<[u8], _>(range).take(limit);
        Ok(rows
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        let before = self.rows.insert(key.to_vec(), value);
        assert!(before.is_none(), "the row {key:?} was inserted twice");
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.rows.insert(key.to_vec(), value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.rows.remove(key);
    }

    fn retain(&mut self, payload: PayloadRef, count: u32) {
        *self.references.entry(payload.index).or_default() += u64::from(count);
    }

    fn release(&mut self, payload: PayloadRef, count: u32) {
        let left = self.references.get_mut(&payload.index);
        let left = left.expect("a reference is dropped that was never taken");
        let rest = left.checked_sub(u64::from(count));
        *left = rest.expect("more references are dropped than were taken");
        if *left == 0 {
            self.references.remove(&payload.index);
        }
    }
}
