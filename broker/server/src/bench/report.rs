//! The figures of a run.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::args::{BenchArgs, Scenario};
use super::measure::Spent;
use super::tally::Tally;
use crate::cli::Output;

const MIB: f64 = 1024.0 * 1024.0;
/// A processor that is slow for longer decides the 99th percentile.
const SLOW_PERCENT_MAX: f64 = 1.0;

/// The object of the contract, and what a scenario adds to it. Figures that could not be had are `null`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    scenario: Scenario,
    /// Nodes of the broker; 0 for the floor, which is none.
    pub(super) nodes: usize,
    connections: usize,
    batch: usize,
    bytes: usize,
    /// As long as it took, which for scenarios that end with their work is not as long as was asked.
    seconds: f64,
    /// Published in `publish` and `floor`, else received and acknowledged.
    pub(super) events_per_second: f64,
    pub(super) requests_per_second: f64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    p999_ms: Option<f64>,
    pub(super) server_cpu_us_per_event: Option<f64>,
    server_rss_mib: Option<f64>,
    /// Of the time, how much the processor ran at less than a third of its usual speed: see [`super::slowness`].
    slow_processor_percent: Option<f64>,
    errors: u64,
    /// Figures of this scenario alone.
    #[serde(flatten)]
    extra: Map<String, Value>,
    #[serde(skip)]
    first_error: Option<String>,
}

impl Report {
    /// The figures of what was counted and of what it cost.
    pub(super) fn new(args: &BenchArgs, tally: &Tally, spent: &Spent) -> Self {
        let seconds = spent.elapsed.as_secs_f64();
        let cpu = spent.cpu_seconds.filter(|_| tally.events > 0);
        Self {
            scenario: args.scenario,
            nodes: 1,
            connections: args.connections(),
            batch: args.batch(),
            bytes: args.bytes(),
            seconds: rounded(seconds),
            events_per_second: rounded(per(tally.events, seconds)),
            requests_per_second: rounded(per(tally.requests, seconds)),
            p50_ms: tally.percentile_ms(50.0).map(rounded),
            p99_ms: tally.percentile_ms(99.0).map(rounded),
            p999_ms: tally.percentile_ms(99.9).map(rounded),
            server_cpu_us_per_event: cpu.map(|cpu| rounded(1e6 / per(tally.events, cpu))),
            server_rss_mib: spent.rss_bytes.map(|bytes| rounded(bytes / MIB)),
            slow_processor_percent: spent.slow_part.map(|part| rounded(100.0 * part)),
            errors: tally.errors,
            extra: Map::new(),
            first_error: tally.first_error.clone(),
        }
    }

    /// One more figure.
    pub(super) fn put(&mut self, name: &str, value: f64) {
        self.extra.insert(name.to_owned(), json!(rounded(value)));
    }

    /// Prints it.
    pub(super) fn print(&self, out: Output) -> Result<()> {
        out.object(self)
    }

    /// What to know of the machine before its figures are believed.
    pub(super) fn warning(&self) -> Option<String> {
        warning(self.slow_processor_percent?)
    }

    /// Why the run is not to be believed, if so.
    pub(super) fn failure(&self) -> Option<String> {
        let first = self.first_error.as_deref().unwrap_or("unknown");
        (self.errors > 0).then(|| {
            format!(
                "{} requests or events failed; the first: {first}",
                self.errors
            )
        })
    }
}

fn warning(slow_percent: f64) -> Option<String> {
    (slow_percent > SLOW_PERCENT_MAX).then(|| {
        format!(
            "for {slow_percent} % of the time the processor ran at less than a third of its usual speed; high percentiles \
             tell of that, and not of the broker: run again when the machine is quiet"
        )
    })
}

/// So many in a second.
#[expect(clippy::cast_precision_loss, reason = "no run counts to 2^52")]
pub(super) fn per(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// Memory in MiB.
pub(super) fn mib(bytes: f64) -> f64 {
    bytes / MIB
}

/// Three digits behind the point: more would pretend to be exact.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_was_slow_for_more_than_a_hundredth_is_told() {
        assert_eq!(warning(SLOW_PERCENT_MAX), None);
        let told = warning(4.25).expect("more than that");
        assert!(told.starts_with("for 4.25 % of the time"), "{told}");
    }
}
