//! Rows that are in memory only.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::tables::key::Key;

/// What memory knows of one row.
#[derive(Debug)]
pub(crate) enum Slot {
    /// The row is here and nowhere below: removing it leaves no trace.
    Fresh(Vec<u8>),
    /// The row is here, and maybe an older value below.
    Value(Vec<u8>),
    /// The row was removed; maybe there is a value below.
    Gone,
}

impl Slot {
    /// The value, unless removed.
    pub(crate) fn value(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Fresh(value) | Self::Value(value) => Some(value),
            Self::Gone => None,
        }
    }

    fn bytes(&self) -> usize {
        self.value().map_or(0, Vec::capacity)
    }
}

/// Rows in memory, in order, in front of older ones.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: BTreeMap<Key, Slot>,
    bytes: usize,
    elided: u64,
}

/// What a row takes besides key tail and value: the map's nodes are two thirds full, the allocator rounds up.
const ROW_BYTES: usize = (size_of::<Key>() + size_of::<Slot>()) * 3 / 2 + 16;

impl Overlay {
    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows, removals included.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that came and went without a trace.
    pub(crate) fn elided(&self) -> u64 {
        self.elided
    }

    /// What is known of `key`; `None` says: look below.
    pub(crate) fn get(&self, key: &Key) -> Option<&Slot> {
        self.rows.get(key)
    }

    /// Writes a row of which the caller promises that there is none.
    pub(crate) fn insert(&mut self, key: Key, value: Vec<u8>) {
        self.bytes += ROW_BYTES + key.heap_bytes() + value.capacity();
        match self.rows.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Slot::Fresh(value));
            }
            // A removal in memory may stand for a row below, which must not come back when the new row goes.
            Entry::Occupied(mut entry) => {
                self.bytes -= ROW_BYTES + entry.key().heap_bytes() + entry.get().bytes();
                entry.insert(Slot::Value(value));
            }
        }
    }

    /// Writes a row, new or not.
    pub(crate) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.bytes += ROW_BYTES + key.heap_bytes() + value.capacity();
        match self.rows.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Slot::Value(value));
            }
            Entry::Occupied(mut entry) => {
                self.bytes -= ROW_BYTES + entry.key().heap_bytes() + entry.get().bytes();
                let fresh = matches!(entry.get(), Slot::Fresh(_));
                entry.insert(if fresh {
                    Slot::Fresh(value)
                } else {
                    Slot::Value(value)
                });
            }
        }
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, key: Key) {
        let row_bytes = ROW_BYTES + key.heap_bytes();
        match self.rows.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Slot::Gone);
                self.bytes += row_bytes;
            }
            Entry::Occupied(entry) if matches!(entry.get(), Slot::Fresh(_)) => {
                self.bytes -= row_bytes + entry.remove().bytes();
                self.elided += 1;
            }
            Entry::Occupied(mut entry) => self.bytes -= entry.insert(Slot::Gone).bytes(),
        }
    }

    /// The rows from `from` to before `until`, which is not before `from`.
    pub(crate) fn range(&self, from: &Key, until: &Key) -> impl Iterator<Item = (&Key, &Slot)> {
        self.rows.range(from..until)
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.rows.iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key::new(&[n; 30])
    }

    #[test]
    fn a_fresh_row_leaves_no_trace() {
        let mut overlay = Overlay::default();
        overlay.insert(key(1), vec![1; 10]);
        overlay.put(key(1), vec![2; 100]);
        assert!(overlay.bytes() > 100);
        overlay.remove(key(1));
        assert_eq!(
            (overlay.len(), overlay.bytes(), overlay.elided()),
            (0, 0, 1)
        );
    }

    #[test]
    fn a_row_that_may_be_below_leaves_a_removal() {
        let mut overlay = Overlay::default();
        overlay.put(key(1), vec![1]);
        overlay.remove(key(1));
        assert!(matches!(overlay.get(&key(1)), Some(Slot::Gone)));
        overlay.insert(key(1), vec![2]);
        overlay.remove(key(1));
        assert!(matches!(overlay.get(&key(1)), Some(Slot::Gone)));
        assert_eq!(overlay.elided(), 0);
    }
}
