//! Receiving and acknowledging a known number of waiting entries, from one queue or from one after the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::consumer::{Consumer, take_timed};
use super::tally::Tally;
use super::wire::Wire;

/// Pause after an empty answer, which is not expected while entries are left.
const EMPTY_PAUSE: Duration = Duration::from_millis(1);
/// Empty answers in a row after which a connection believes that the rest is lost.
const EMPTY_MAX: u32 = 2000;

/// How to drain queues.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    pub(super) authority: String,
    /// Drained in this order.
    pub(super) queue_paths: Vec<String>,
    pub(super) connections: usize,
    /// Most events of one receive.
    pub(super) max: usize,
    /// When to stop, entries left or not.
    pub(super) until: Option<Instant>,
    pub(super) progress: ProgressBar,
}

impl Drain {
    /// Receives and acknowledges so many entries of each queue, over all connections at once; gives how long that took,
    /// connecting not counted. Latencies are from asking to the confirmed ack.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) async fn run(&self, entries: u64) -> Result<(Tally, Duration)> {
        let entries = i64::try_from(entries)?;
        let left: Arc<[AtomicI64]> = self
            .queue_paths
            .iter()
            .map(|_| AtomicI64::new(entries))
            .collect();
        let mut wires = Vec::new();
        for _ in 0..self.connections {
            wires.push(Wire::connect(&self.authority).await?);
        }
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for wire in wires {
            tasks.spawn(self.clone().consume(wire, left.clone()));
        }
        let mut tally = Tally::sum(tasks).await?;
        let elapsed = began.elapsed();
        let missing: i64 = left.iter().map(|left| left.load(Ordering::Relaxed)).sum();
        if missing > 0 && self.until.is_none() {
            tally.error(|| format!("{missing} entries were not delivered"));
        }
        Ok((tally, elapsed))
    }

    async fn consume(self, mut wire: Wire, left: Arc<[AtomicI64]>) -> Result<Tally> {
        let mut tally = Tally::new()?;
        for (queue_path, left) in self.queue_paths.iter().zip(left.iter()) {
            let consumer = Consumer::new(&self.authority, queue_path, self.max, 0);
            if let Err(error) = self
                .consume_one(&mut wire, consumer, left, &mut tally)
                .await
            {
                tally.error(|| error.to_string());
                break;
            }
        }
        Ok(tally)
    }

    /// Each connection claims entries before it asks for them, so that none asks an empty queue at the end: that would
    /// make a short drain look slower than a long one.
    async fn consume_one(
        &self,
        wire: &mut Wire,
        mut consumer: Consumer,
        left: &AtomicI64,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let max = i64::try_from(self.max).unwrap_or(i64::MAX);
        let mut empty = 0;
        while self.until.is_none_or(|until| Instant::now() < until) && empty < EMPTY_MAX {
            if left.fetch_sub(max, Ordering::Relaxed) <= 0 {
                left.fetch_add(max, Ordering::Relaxed);
                return Ok(());
            }
            let acked = take_timed(&mut consumer, wire, tally).await?;
            left.fetch_add(max - i64::try_from(acked).unwrap_or(max), Ordering::Relaxed);
            self.progress.inc(acked);
            empty = if acked == 0 { empty + 1 } else { 0 };
            if acked == 0 {
                tokio::time::sleep(EMPTY_PAUSE).await;
            }
        }
        Ok(())
    }
}
