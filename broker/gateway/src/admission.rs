//! How much the door takes on at one time: a bound on requests, and one on the bytes of their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::problem::Failure;
use crate::problem::causes::overloaded;

/// A counter with a ceiling.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    limit: usize,
}

impl Room {
    /// Room for `limit`.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            limit,
        })
    }

    fn take(&self, amount: usize) -> bool {
        let before = self.taken.fetch_add(amount, Ordering::Relaxed);
        let fits = before.saturating_add(amount) <= self.limit;
        if !fits {
            self.taken.fetch_sub(amount, Ordering::Relaxed);
        }
        fits
    }
}

/// What one request has taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    rooms: Option<Rooms>,
    bytes: usize,
}

/// The bounds that a request is held to.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    /// For requests.
    pub(crate) requests: Arc<Room>,
    /// For the bytes of their bodies.
    pub(crate) bytes: Arc<Room>,
}

impl Permit {
    /// Lets a request in. `rooms` is none for those that are never held back.
    ///
    /// # Errors
    /// 429 `overloaded`.
    pub(crate) fn new(rooms: Option<&Rooms>) -> Result<Self, Failure> {
        if rooms.is_some_and(|rooms| !rooms.requests.take(1)) {
            return Err(overloaded(
                "too many requests are in flight: try again later",
            ));
        }
        Ok(Self {
            rooms: rooms.cloned(),
            bytes: 0,
        })
    }

    /// Grows the request's share to `bytes`.
    ///
    /// # Errors
    /// 429 `overloaded`.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Failure> {
        let more = bytes.saturating_sub(self.bytes);
        let rooms = self.rooms.as_ref();
        if rooms.is_some_and(|rooms| !rooms.bytes.take(more)) {
            return Err(overloaded(
                "too many bytes of requests are in memory: try again later",
            ));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(rooms) = &self.rooms {
            rooms.bytes.taken.fetch_sub(self.bytes, Ordering::Relaxed);
            rooms.requests.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let rooms = Rooms {
            requests: Room::new(1),
            bytes: Room::new(10),
        };
        let mut first = Permit::new(Some(&rooms)).expect("room");
        assert!(Permit::new(Some(&rooms)).is_err());
        first.grow_to(8).expect("fits");
        assert!(first.grow_to(11).is_err());
        first.grow_to(10).expect("a refusal takes nothing");
        Permit::new(None)
            .expect("never held back")
            .grow_to(99)
            .expect("nor its body");
        drop(first);
        Permit::new(Some(&rooms))
            .expect("room again")
            .grow_to(10)
            .expect("all of it");
    }
}
