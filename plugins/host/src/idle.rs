//! [`Idle`]: configured instances that wait for the next batch of their binding.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::configured::Configured;

/// Idle instances of all bindings, bounded together: a thousand quiet subscriptions must not hold a thousand memories.
pub(crate) struct Idle {
    max: usize,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    of: HashMap<u64, Shelf>,
    count: usize,
    uses: u64,
}

#[derive(Default)]
struct Shelf {
    instances: Vec<Configured>,
    used: u64,
}

impl Idle {
    /// Room for `max` instances.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            shelves: Mutex::default(),
        }
    }

    /// The instance of `binding` that was put back last: its memory is the warmest.
    pub(crate) fn take(&self, binding: u64) -> Option<Configured> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = shelves.of.get_mut(&binding)?.instances.pop();
        shelves.count -= usize::from(instance.is_some());
        instance
    }

    /// Keeps an instance. When there is no room, one of the binding that was idle longest goes.
    pub(crate) fn put(&self, binding: u64, instance: Configured) {
        // Dropped behind the lock: unmapping memory takes microseconds.
        let _evicted = {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            shelves.put(binding, instance);
            if shelves.count > self.max {
                shelves.evict()
            } else {
                None
            }
        };
    }

    /// Drops all instances of a binding that is no more.
    pub(crate) fn forget(&self, binding: u64) {
        let _shelf = {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            let shelf = shelves.of.remove(&binding);
            shelves.count -= shelf.as_ref().map_or(0, |shelf| shelf.instances.len());
            shelf
        };
    }

    /// Drops one idle instance, if there is one: somebody needs its place in the pool.
    pub(crate) fn make_room(&self) -> bool {
        let evicted = self
            .shelves
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .evict();
        evicted.is_some()
    }
}

impl Shelves {
    fn put(&mut self, binding: u64, instance: Configured) {
        self.uses += 1;
        self.count += 1;
        let shelf = self.of.entry(binding).or_default();
        shelf.used = self.uses;
        shelf.instances.push(instance);
    }

    fn evict(&mut self) -> Option<Configured> {
        let filled = self
            .of
            .iter()
            .filter(|(_, shelf)| !shelf.instances.is_empty());
        let oldest = *filled.min_by_key(|(_, shelf)| shelf.used)?.0;
        let evicted = self.of.get_mut(&oldest)?.instances.pop();
        self.count -= usize::from(evicted.is_some());
        evicted
    }
}
