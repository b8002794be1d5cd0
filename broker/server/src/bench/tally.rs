//! What one connection counted, and the sum of all.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::answer;
use super::wire::Reply;

/// Longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Counts and latencies.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// In microseconds, with an error of 0.1 %.
    latency: Histogram<u32>,
    /// From publish to receipt, where events are received.
    received: Histogram<u32>,
    /// Events that were published or acknowledged.
    pub(super) events: u64,
    /// Requests that were answered with success.
    pub(super) requests: u64,
    /// Requests that failed, and events of batches that were refused.
    pub(super) errors: u64,
    /// The first of them, in words.
    pub(super) first_error: Option<String>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            latency: histogram()?,
            received: histogram()?,
            events: 0,
            requests: 0,
            errors: 0,
            first_error: None,
        })
    }

    /// One more latency.
    pub(super) fn latency(&mut self, latency: Duration) {
        self.latency.saturating_record(microseconds(latency));
    }

    /// One more event that was received so long after it was published.
    pub(super) fn received(&mut self, latency: Duration) {
        self.received.saturating_record(microseconds(latency));
    }

    /// One more failure.
    pub(super) fn error(&mut self, words: impl FnOnce() -> String) {
        self.errors += 1;
        if self.first_error.is_none() {
            self.first_error = Some(words());
        }
    }

    /// Whether the answer is a success; if not, it is counted.
    pub(super) fn judge(&mut self, reply: Reply<'_>) -> bool {
        if reply.status != 200 {
            self.error(|| format!("status {}: {}", reply.status, answer::quote(reply.body)));
        }
        reply.status == 200
    }

    /// A latency that so many percent of all stay under, in milliseconds; none if there is none.
    pub(super) fn percentile_ms(&self, percent: f64) -> Option<f64> {
        percentile_ms(&self.latency, percent)
    }

    /// The same, from publish to receipt.
    pub(super) fn received_percentile_ms(&self, percent: f64) -> Option<f64> {
        percentile_ms(&self.received, percent)
    }

    /// Adds another's counts and latencies.
    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        self.latency
            .add(&other.latency)
            .and_then(|()| self.received.add(&other.received))
            .context("two histograms of the same bounds")?;
        self.events += other.events;
        self.requests += other.requests;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
        Ok(())
    }

    /// The sum of what these tasks count, once all have ended.
    pub(super) async fn sum(mut tasks: JoinSet<Result<Self>>) -> Result<Self> {
        let mut sum = Self::new()?;
        while let Some(tally) = tasks.join_next().await {
            sum.add(&tally.context("a connection's task")??)?;
        }
        Ok(sum)
    }
}

fn histogram() -> Result<Histogram<u32>> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).context("a histogram of latencies")
}

fn microseconds(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn percentile_ms(latencies: &Histogram<u32>, percent: f64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "at most ten minutes of microseconds"
    )]
    let ms = |microseconds: u64| microseconds as f64 / 1000.0;
    (!latencies.is_empty()).then(|| ms(latencies.value_at_percentile(percent)))
}
