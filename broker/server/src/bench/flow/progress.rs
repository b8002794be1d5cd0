//! How far publishing and acknowledging have come, shared by all connections of a run.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counters of a run. A delivery is one event in one queue.
///
/// - `acked` never passes `published` for long: a delivery may be acknowledged before its publisher counts it.
/// - A run is complete when every publisher has ended and nothing is open.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// Deliveries that may be open before publishers pause.
    in_flight_max: u64,
    publishers: AtomicUsize,
    published: AtomicU64,
    acked: AtomicU64,
    /// Nanoseconds from the beginning to the last ack.
    last_ack: AtomicU64,
    stopped: AtomicBool,
}

impl Progress {
    pub(super) fn new(publishers: usize, in_flight_max: u64) -> Self {
        Self {
            began: Instant::now(),
            in_flight_max,
            publishers: AtomicUsize::new(publishers),
            published: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            last_ack: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// A time as it stands in events: nanoseconds since the beginning.
    pub(super) fn stamp(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn published(&self, deliveries: u64) {
        self.published.fetch_add(deliveries, Ordering::SeqCst);
    }

    pub(super) fn acknowledged(&self, deliveries: u64) {
        self.last_ack
            .fetch_max(self.stamp(Instant::now()), Ordering::SeqCst);
        self.acked.fetch_add(deliveries, Ordering::SeqCst);
    }

    pub(super) fn publisher_ended(&self) {
        self.publishers.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// Deliveries that are published and not acknowledged.
    pub(super) fn open(&self) -> u64 {
        self.published
            .load(Ordering::SeqCst)
            .saturating_sub(self.acked())
    }

    pub(super) fn is_too_far_ahead(&self) -> bool {
        self.open() >= self.in_flight_max
    }

    /// Whether every publisher has ended.
    pub(super) fn is_published(&self) -> bool {
        self.publishers.load(Ordering::SeqCst) == 0
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_published() && self.open() == 0
    }

    /// From the beginning to the last ack.
    pub(super) fn last_ack(&self) -> Duration {
        Duration::from_nanos(self.last_ack.load(Ordering::SeqCst))
    }

    /// Tells receivers to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_complete_when_all_ended_and_nothing_is_open() {
        let progress = Progress::new(1, 10);
        progress.published(10);
        assert!(progress.is_too_far_ahead() && !progress.is_complete());
        progress.acknowledged(10);
        assert!(!progress.is_complete(), "a publisher is still there");
        progress.publisher_ended();
        assert!(progress.is_complete() && progress.last_ack() > Duration::ZERO);
    }
}
