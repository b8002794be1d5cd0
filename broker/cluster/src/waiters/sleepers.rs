//! Who sleeps until something comes into a queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_model::Unavailable;
use millrace_model::command::Receive;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::batcher::Answered;

/// After a receive that was proposed in vain, so long none is proposed for a receiver that sleeps. Arrivals are foretold
/// from commands: that a queue delays them, or that an event came twice, is known only when they are applied.
const REST: Duration = Duration::from_secs(1);

/// The receivers of one queue that sleep, in the order in which they came.
///
/// **Invariant**: a receiver is woken to propose its receive, or the receive is proposed for it; never both. Whoever takes
/// it off the list decides.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    list: Mutex<List>,
    /// How many are on the list.
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct List {
    sleepers: BTreeMap<u64, Sleeper>,
    next: u64,
    rests_until: Option<Instant>,
}

/// One that sleeps: what it would ask, and who tells it the answer.
#[derive(Debug)]
pub(crate) struct Sleeper {
    /// What it would propose.
    pub(crate) receive: Receive,
    /// The way to it.
    pub(crate) reply: oneshot::Sender<Answered>,
}

/// A place on the list, left when dropped.
pub(super) struct Place<'a> {
    sleepers: &'a Sleepers,
    number: u64,
    answer: oneshot::Receiver<Answered>,
}

impl Sleepers {
    pub(super) fn enlist(&self, receive: Receive) -> Place<'_> {
        let (reply, answer) = oneshot::channel();
        let mut list = self.lock();
        let number = list.next;
        list.next += 1;
        list.sleepers.insert(number, Sleeper { receive, reply });
        self.recount(&list);
        Place {
            sleepers: self,
            number,
            answer,
        }
    }

    /// Takes off the list who came first, as many as `entries` are enough for, if each gets what it asked for, and at most
    /// `room`.
    pub(super) fn take(&self, entries: u64, room: usize, taken: &mut Vec<Sleeper>) {
        if self.count() == 0 {
            return;
        }
        let mut list = self.lock();
        if list.rests_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let (mut left, most) = (entries, taken.len() + room);
        while left > 0
            && taken.len() < most
            && let Some((_, sleeper)) = list.sleepers.pop_first()
        {
            left = left.saturating_sub(sleeper.receive.max.into());
            taken.push(sleeper);
        }
        self.recount(&list);
    }

    /// Nobody is taken for a while.
    pub(super) fn rest(&self) {
        self.lock().rests_until = Some(Instant::now() + REST);
    }

    /// How many sleep.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn recount(&self, list: &List) {
        let count = list.sleepers.len() as u64;
        self.count.store(count, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // The list is whole between any two statements under the lock.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Leaves the list; false when it was taken off, and an answer comes.
    pub(super) fn withdraw(&mut self) -> bool {
        let mut list = self.sleepers.lock();
        let was_there = list.sleepers.remove(&self.number).is_some();
        self.sleepers.recount(&list);
        was_there
    }

    /// The answer to the receive that was proposed for it; waits for ever if none is.
    pub(super) async fn answered(&mut self) -> Answered {
        let answer = (&mut self.answer).await;
        answer.unwrap_or(Err(Unavailable::OutcomeUnknown))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::QueueId;

    fn receive(max: u32) -> Receive {
        Receive {
            queue: QueueId(1),
            max,
            visibility_ms: None,
            nonce: 0,
        }
    }

    fn taken(sleepers: &Sleepers, entries: u64, room: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        sleepers.take(entries, room, &mut taken);
        taken.iter().map(|sleeper| sleeper.receive.max).collect()
    }

    #[tokio::test]
    async fn who_came_first_is_taken_first_and_no_more_than_there_is_something_for() {
        let sleepers = Sleepers::default();
        let mut places: Vec<_> = (1..=5).map(|max| sleepers.enlist(receive(max))).collect();
        assert!(places.remove(1).withdraw(), "the second is woken");
        assert_eq!(taken(&sleepers, 2, 10), [1, 3]);
        assert_eq!(taken(&sleepers, 100, 1), [4]);
        assert_eq!(sleepers.count(), 1);
        let lost = places.remove(0).answered().await;
        let unknown = matches!(lost, Err(Unavailable::OutcomeUnknown));
        assert!(unknown, "taken, and dropped");
        drop(places);
        assert_eq!(sleepers.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_in_vain_nobody_is_taken_for_a_while() {
        let sleepers = Sleepers::default();
        let _place = sleepers.enlist(receive(1));
        sleepers.rest();
        assert!(taken(&sleepers, 1, 1).is_empty());
        tokio::time::advance(REST).await;
        assert_eq!(taken(&sleepers, 1, 1), [1]);
    }
}
