//! How long the processor was slow during a run.
//!
//! Virtual machines are slowed down by their hosts, by a shared power budget or a spent allowance: on one of the machines
//! that this broker is measured on, every thread runs at a tenth of its speed for 20 to 50 ms, twice a second. Whatever is
//! under way then takes ten times as long, and the percentiles of a latency tell of that. The kernel does not: it sees a
//! thread that works. So a thread does the same small piece of work again and again, and the time that it needs is taken by
//! its own clock, which stands still while it waits for a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Time between two pieces of work.
const EVERY: Duration = Duration::from_millis(4);
/// Steps of one piece: some 20 µs, a half per cent of a core.
const STEPS: u64 = 20_000;
/// The processor is slow when a piece takes so many times as long as it usually does: more than what caches, a neighbour on
/// the same core, or a change of frequency do.
const SLOW: f64 = 3.0;

/// A thread that watches the processor, until it is asked or dropped.
#[derive(Debug)]
pub(super) struct Watch {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Piece>>>,
}

/// One piece of work: how long it took, in seconds of the thread, and how long it speaks for, in seconds of the day.
#[derive(Debug, Clone, Copy)]
struct Piece {
    took: f64,
    stands_for: f64,
}

impl Watch {
    /// Begins now; a watch that gets no thread sees nothing.
    pub(super) fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = thread::Builder::new().name("bench-watch".to_owned());
        let thread = thread.spawn(move || work_until(&end)).ok();
        Self { ends, thread }
    }

    /// The part of the time in which the processor was slow, from 0 to 1.
    pub(super) fn stop(mut self) -> Option<f64> {
        self.ends.store(true, Ordering::Relaxed);
        let pieces = self.thread.take()?.join().ok()?;
        slow_part(&pieces)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn work_until(end: &AtomicBool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut before = Instant::now();
    while !end.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        let began = thread_seconds();
        work();
        let took = thread_seconds() - began;
        let now = Instant::now();
        let stands_for = (now - before).as_secs_f64();
        pieces.push(Piece { took, stands_for });
        before = now;
    }
    pieces
}

/// Each step waits for the one before it and for nothing else: memory and caches have no part in it.
fn work() {
    let mut state = std::hint::black_box(1_u64);
    for _ in 0..STEPS {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) + 1);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a thread of a run counts to far less than 2^52 ns"
)]
fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn slow_part(pieces: &[Piece]) -> Option<f64> {
    let mut took: Vec<f64> = pieces.iter().map(|piece| piece.took).collect();
    took.sort_by(f64::total_cmp);
    let usual = *took.get(took.len() / 4)?;
    let time = |pieces: &mut dyn Iterator<Item = &Piece>| -> f64 {
        pieces.map(|piece| piece.stands_for).sum()
    };
    let slow = time(&mut pieces.iter().filter(|piece| piece.took > usual * SLOW));
    Some(slow / time(&mut pieces.iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_and_not_pieces() {
        let piece = |took, stands_for| Piece { took, stands_for };
        let usual = [piece(1.0, 4.0), piece(1.1, 4.0), piece(2.9, 4.0)];
        assert_eq!(slow_part(&usual), Some(0.0));
        let with_a_slow_one = [&usual[..], &[piece(9.0, 12.0)]].concat();
        assert_eq!(slow_part(&with_a_slow_one), Some(0.5));
        assert_eq!(slow_part(&[]), None);
    }

    #[test]
    fn the_processor_is_watched() {
        let watch = Watch::start();
        thread::sleep(Duration::from_millis(50));
        let slow = watch.stop().expect("some pieces in so long a time");
        assert!((0.0..=1.0).contains(&slow), "{slow}");
    }
}
