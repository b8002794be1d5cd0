//! What the process takes of the machine, read at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};

/// CPU time and memory of this process, under their customary names.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = ConstCounter::new(cpu_seconds());
        let name = "process_cpu_seconds";
        let help = "CPU time of the process, user and system";
        cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)?;
        let Some(bytes) = resident_bytes() else {
            return Ok(());
        };
        let memory = ConstGauge::new(bytes);
        let name = "process_resident_memory_bytes";
        let help = "Memory of the process that is in RAM";
        memory.encode(encoder.encode_descriptor(name, help, None, memory.metric_type())?)
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a process of 2^52 seconds is not one of ours"
    )]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

/// Resident pages, from Linux's own account; none where there is no such.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}
