//! What a server spent between two moments.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::probe::{Probe, Usage};
use super::slowness::Watch;

/// A measurement that has begun.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    usage: Usage,
    watch: Watch,
}

/// A measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) elapsed: Duration,
    /// CPU seconds of the server meanwhile.
    pub(super) cpu_seconds: Option<f64>,
    /// Memory of the server at the end.
    pub(super) rss_bytes: Option<f64>,
    /// Part of the time in which the processor was slow, from 0 to 1.
    pub(super) slow_part: Option<f64>,
}

impl Meter {
    /// Begins now.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn start(probe: &Probe) -> Result<Self> {
        let usage = probe.read().await?;
        Ok(Self {
            began: Instant::now(),
            usage,
            watch: Watch::start(),
        })
    }

    /// Ends now.
    ///
    /// # Errors
    /// As [`Meter::start`].
    pub(super) async fn stop(self, probe: &Probe) -> Result<Spent> {
        let elapsed = self.began.elapsed();
        let usage = probe.read().await?;
        let cpu_seconds = usage
            .cpu_seconds
            .zip(self.usage.cpu_seconds)
            .map(|(now, then)| now - then);
        Ok(Spent {
            elapsed,
            cpu_seconds,
            rss_bytes: usage.rss_bytes,
            slow_part: self.watch.stop(),
        })
    }
}
