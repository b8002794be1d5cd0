//! Receivers that wait for entries.

mod sleepers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use millrace_model::command::Receive;
use millrace_model::{GroupId, QueueId, limit};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

pub(crate) use sleepers::Sleeper;
use sleepers::{Place, Sleepers};

use crate::batcher::Answered;

/// What the receivers of one queue share.
///
/// **Invariant**: a receive is proposed only under a [`Claim`] of at least one ready entry that no other proposed
/// receive has claimed, or behind a command of the same batch that brings one. So a crowd of receivers costs one command
/// for each message, not for each receiver.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Ready entries, as of the last applied batch.
    ready: AtomicU64,
    /// Ready entries that receives under way will take.
    claimed: AtomicU64,
    /// Who sleeps.
    sleepers: Sleepers,
    /// Set when the queue is gone.
    gone: AtomicBool,
    wake: Notify,
}

/// Ready entries that one receive under way will take.
pub(crate) struct Claim<'a> {
    waiters: &'a Waiters,
    entries: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.waiters
            .claimed
            .fetch_sub(self.entries, Ordering::SeqCst);
        self.waiters.wake();
    }
}

impl Waiters {
    /// Claims up to `max` ready entries; `None` when there are none to be had.
    pub(crate) fn claim(&self, max: u32) -> Option<Claim<'_>> {
        let mut claimed = self.claimed.load(Ordering::SeqCst);
        loop {
            let free = self.ready.load(Ordering::SeqCst).saturating_sub(claimed);
            let entries = free.min(u64::from(max));
            if entries == 0 {
                return None;
            }
            let next = claimed + entries;
            match self
                .claimed
                .compare_exchange(claimed, next, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => {
                    return Some(Claim {
                        waiters: self,
                        entries,
                    });
                }
                Err(now) => claimed = now,
            }
        }
    }

    /// Whether the queue is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Sleeps until `deadline` unless entries can be claimed, the queue goes away, or everybody is woken; at all only
    /// while `stay` holds, which is asked after enlisting. Gives the answer to `receive` if that was proposed meanwhile,
    /// behind what it waits for.
    pub(crate) async fn sleep(
        &self,
        receive: Receive,
        deadline: Instant,
        stay: impl Fn() -> bool,
    ) -> Option<Answered> {
        let wake = self.wake.notified();
        tokio::pin!(wake);
        wake.as_mut().enable();
        let mut place = self.sleepers.enlist(receive);
        // Looked at again after enlisting: what became ready in between wakes nobody else.
        if self.free() == 0 && !self.is_gone() && stay() {
            let woken = async {
                tokio::select! {
                    biased;
                    answered = place.answered() => Some(answered),
                    () = wake => None,
                }
            };
            if let Ok(Some(answered)) = timeout_at(deadline, woken).await {
                return Some(answered);
            }
        }
        self.get_up(place).await
    }

    async fn get_up(&self, mut place: Place<'_>) -> Option<Answered> {
        if place.withdraw() {
            return None;
        }
        // What woke it is for another one: its receive is under way already.
        self.wake();
        Some(place.answered().await)
    }

    /// A receive that was proposed behind what it waited for came back with nothing.
    pub(crate) fn in_vain(&self) {
        self.sleepers.rest();
    }

    /// How many sleep.
    #[cfg(test)]
    pub(crate) fn asleep(&self) -> u64 {
        self.sleepers.count()
    }

    fn free(&self) -> u64 {
        self.ready
            .load(Ordering::SeqCst)
            .saturating_sub(self.claimed.load(Ordering::SeqCst))
    }

    fn set_ready(&self, ready: u64) {
        self.ready.store(ready, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes as many sleepers as there are entries to claim; each of them takes at least one.
    fn wake(&self) {
        for _ in 0..self.free().min(self.sleepers.count()) {
            self.wake.notify_one();
        }
    }

    fn close(&self) {
        self.gone.store(true, Ordering::SeqCst);
        self.wake.notify_waiters();
    }
}

/// A queue, as one group has it: while it moves, two groups know of it.
type QueueAt = (GroupId, QueueId);

/// The receivers of all queues of the node.
#[derive(Debug, Default)]
pub(crate) struct WaitersByQueue {
    queues: Mutex<BTreeMap<QueueAt, Arc<Waiters>>>,
    waiting: AtomicUsize,
    /// Set when the node stops: nobody waits any more, whatever queues there are.
    closed: AtomicBool,
}

impl WaitersByQueue {
    /// The receivers of `queue` in `group`; `None` when no such queue was applied there.
    pub(crate) fn get(&self, group: GroupId, queue: QueueId) -> Option<Arc<Waiters>> {
        self.lock().get(&(group, queue)).cloned()
    }

    /// The receivers that get what a batch of `group` brings to its queues, at most `most` of them; they sleep no longer.
    pub(crate) fn piggyback(
        &self,
        group: GroupId,
        arrivals: &BTreeMap<QueueId, u64>,
        most: usize,
    ) -> Vec<Sleeper> {
        let mut taken = Vec::new();
        let queues = self.lock();
        for (queue, entries) in arrivals {
            if let Some(waiters) = queues.get(&(group, *queue)) {
                let room = most - taken.len();
                waiters.sleepers.take(*entries, room, &mut taken);
            }
        }
        taken
    }

    /// Takes over the ready count of `queue` after a batch of `group`; `None` says that the queue is gone from there.
    pub(crate) fn update(&self, group: GroupId, queue: QueueId, ready: Option<u64>) {
        let mut queues = self.lock();
        match ready {
            Some(ready) => queues.entry((group, queue)).or_default().set_ready(ready),
            None => {
                if let Some(waiters) = queues.remove(&(group, queue)) {
                    waiters.close();
                }
            }
        }
    }

    /// Wakes everybody for good: the node stops.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let queues = std::mem::take(&mut *self.lock());
        queues.into_values().for_each(|waiters| waiters.close());
    }

    /// Whether the node stops: a receive ends with what it has.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Wakes everybody to look again: another node may lead by now.
    pub(crate) fn wake_all(&self) {
        self.lock()
            .values()
            .for_each(|waiters| waiters.wake.notify_waiters());
    }

    /// Counts one more long poll; `None` when there are too many already.
    pub(crate) fn enter(&self) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        (before < limit::WAITERS_MAX).then_some(waiting)
    }

    /// How many long polls wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<QueueAt, Arc<Waiters>>> {
        // The map is whole between any two statements under the lock, so a panic elsewhere leaves it usable.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One long poll that waits.
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn claims_never_exceed_what_is_ready() {
        let waiters = Waiters::default();
        assert!(waiters.claim(1).is_none());
        waiters.set_ready(5);
        let first = waiters.claim(3).expect("five are ready");
        let second = waiters.claim(10).expect("two are left");
        assert_eq!((first.entries, second.entries), (3, 2));
        assert!(waiters.claim(1).is_none());
        drop(first);
        assert_eq!(waiters.claim(10).expect("three are free again").entries, 3);
    }

    fn receive() -> Receive {
        Receive {
            queue: QueueId(1),
            max: 10,
            visibility_ms: None,
            nonce: 1,
        }
    }

    #[tokio::test]
    async fn a_sleeper_wakes_for_an_entry_and_for_the_end_of_its_queue() {
        let queues = Arc::new(WaitersByQueue::default());
        queues.update(GroupId::DATA, QueueId(1), Some(0));
        let waiters = queues.get(GroupId::DATA, QueueId(1)).expect("just made");
        let far = Instant::now() + Duration::from_secs(60);
        for change in [Some(1), None] {
            let sleeper = Arc::clone(&waiters);
            let sleep = tokio::spawn(async move { sleeper.sleep(receive(), far, || true).await });
            tokio::task::yield_now().await;
            queues.update(GroupId::DATA, QueueId(1), change);
            tokio::time::timeout(Duration::from_secs(5), sleep)
                .await
                .expect("woken")
                .expect("no panic");
            waiters.ready.store(0, Ordering::SeqCst);
        }
        assert!(waiters.is_gone());
        assert!(queues.get(GroupId::DATA, QueueId(1)).is_none());
    }
}
