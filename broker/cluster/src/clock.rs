//! The time of a group, as the node that leads it proposes it.
//!
//! Leases, delays, retention and deduplication windows end by it, so it must neither jump nor stand still. It begins at the
//! time of day, goes on by the monotonic clock, and draws near to the time of day by at most one part in [`SLEW`]: a clock
//! that is set an hour forward, or runs at any speed, ends a lease of 30 s by 0.6 s too early at most. Where the group's last
//! time is later than ours, another leader's clock having been ahead, time goes on from there and does not wait for ours.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use millrace_model::Timestamp;
use tokio::time::Instant;

use crate::apply::View;
use crate::batcher;

/// The group's time gains or loses at most one nanosecond in so many on the monotonic clock.
const SLEW: i128 = 50;

const NANOS_A_MS: i128 = 1_000_000;

/// The clock of one group of this node.
pub(crate) struct Clock {
    hand: Mutex<Hand>,
    view: Arc<View>,
}

/// What a clock shows, and when it was looked at.
#[derive(Debug)]
struct Hand {
    /// Nanoseconds since 1970.
    shows: i128,
    looked_at: Instant,
}

impl Clock {
    /// A clock that shows the time of day.
    pub(crate) fn new(view: Arc<View>) -> Self {
        let hand = Hand {
            shows: nanos(batcher::now()),
            looked_at: Instant::now(),
        };
        Self {
            hand: Mutex::new(hand),
            view,
        }
    }

    /// The group's time now: not before that of the last entry that is applied here.
    pub(crate) fn now(&self) -> Timestamp {
        let group = Timestamp(self.view.at.load(Ordering::Relaxed));
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        hand.turn(batcher::now(), group, Instant::now())
    }
}

impl Hand {
    fn turn(&mut self, time_of_day: Timestamp, group: Timestamp, now: Instant) -> Timestamp {
        let elapsed = now.saturating_duration_since(self.looked_at).as_nanos();
        let elapsed = i128::try_from(elapsed).unwrap_or(0);
        self.looked_at = now;
        self.shows += elapsed;
        let most = elapsed / SLEW;
        self.shows += (nanos(time_of_day) - self.shows).clamp(-most, most);
        self.shows = self.shows.max(nanos(group));
        Timestamp(u64::try_from(self.shows / NANOS_A_MS).unwrap_or(0))
    }
}

fn nanos(time: Timestamp) -> i128 {
    i128::from(time.0) * NANOS_A_MS
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR_MS: u64 = 3_600_000;

    /// What a hand shows that is turned every 100 ms for 10 s, while the time of day is `time_of_day` after so many ms:
    /// milliseconds since the start.
    fn after_ten_seconds(group: Timestamp, time_of_day: impl Fn(u64) -> u64) -> u64 {
        let began = Instant::now();
        let mut hand = Hand {
            shows: nanos(START),
            looked_at: began,
        };
        let mut last = START;
        for ms in (0..=10_000).step_by(100) {
            let wall = Timestamp(time_of_day(ms));
            let shown = hand.turn(wall, group, began + Duration::from_millis(ms));
            assert!(shown >= last, "time does not go back");
            last = shown;
        }
        last.since(START)
    }

    #[test]
    fn it_goes_with_the_time_of_day() {
        assert_eq!(after_ten_seconds(START, |ms| START.0 + ms), 10_000);
    }

    #[test]
    fn a_jump_of_an_hour_moves_it_by_a_fiftieth() {
        let forward = after_ten_seconds(START, |ms| START.0 + HOUR_MS + ms);
        assert_eq!(forward, 10_200);
        let back = after_ten_seconds(START, |ms| START.0 - HOUR_MS + ms);
        assert_eq!(back, 9_800);
    }

    #[test]
    fn a_clock_that_is_fast_or_stands_still_moves_it_by_a_fiftieth() {
        assert!(after_ten_seconds(START, |ms| START.0 + 10 * ms) <= 10_200);
        assert!(after_ten_seconds(START, |_| START.0) >= 9_800);
    }

    #[test]
    fn a_group_that_is_ahead_does_not_stand_still() {
        let ahead = START.plus_ms(HOUR_MS);
        let shown = after_ten_seconds(ahead, |ms| START.0 + ms);
        assert_eq!(shown, HOUR_MS + 9_800);
    }

    #[test]
    fn a_small_difference_is_made_good() {
        assert_eq!(after_ten_seconds(START, |ms| START.0 + 150 + ms), 10_150);
    }
}
