//! The figures of a run, as a line for people and, where `CRASH_TABLE` names a file, as JSON for `tests/crash/run`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use millrace_tests::Figures;
use serde_json::json;

/// One run of one fault.
#[derive(Debug)]
pub(crate) struct Run {
    fault: &'static str,
    /// Each from a fault to the first publish that was acknowledged through a node which should serve.
    pub(crate) fail_overs: Vec<Duration>,
    /// The longest time in which nobody was acknowledged anything.
    pub(crate) stall: Duration,
}

impl Run {
    pub(crate) fn new(fault: &'static str) -> Self {
        Self {
            fault,
            fail_overs: Vec::new(),
            stall: Duration::ZERO,
        }
    }

    /// With these times from a fault to the first acknowledged publish.
    pub(crate) fn after(mut self, fail_overs: &[Duration]) -> Self {
        self.fail_overs.extend(fail_overs);
        self
    }

    /// Tells what came of it.
    pub(crate) fn record(&self, figures: Figures) {
        println!(
            "{}: {} published, {} acknowledged, {} found, {} lost, {} delivered again; served after {}; longest stall {:.2?}",
            self.fault,
            figures.published,
            figures.acknowledged,
            figures.found,
            figures.lost,
            figures.duplicated,
            percentiles(&self.fail_overs),
            self.stall,
        );
        let Some(table) = std::env::var_os("CRASH_TABLE") else {
            return;
        };
        let fail_overs = self.fail_overs.iter().map(Duration::as_secs_f64);
        let row = json!({
            "fault": self.fault,
            "acknowledged": figures.acknowledged,
            "found": figures.found,
            "lost": figures.lost,
            "duplicated": figures.duplicated,
            "fail_overs": Vec::from_iter(fail_overs),
            "stall": self.stall.as_secs_f64(),
        });
        let mut table = OpenOptions::new().create(true).append(true).open(table);
        let table = table.as_mut().expect("CRASH_TABLE names a file");
        writeln!(table, "{row}").expect("written");
    }
}

/// The middle, the highest but for one in a hundred, and the highest of some times.
pub(crate) fn percentiles(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(place).copied().unwrap_or_default()
    };
    let (p50, p99, max) = (at(50), at(99), at(100));
    let times = times.len();
    format!("p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?} ({times} times)")
}
