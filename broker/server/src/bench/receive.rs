//! Receiving and acknowledging alone.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::args::BenchArgs;
use super::drain::Drain;
use super::load::Load;
use super::measure::Meter;
use super::report::Report;
use super::request::Request;
use super::stage::Stage;
use super::tally::Tally;
use super::target::Target;
use crate::cli::progress;

/// Connections that fill a queue: enough to keep the broker busy, few enough to keep its memory calm.
const FILL_CONNECTIONS: usize = 16;
/// Events of one publish while a queue is filled, if so many fit.
const FILL_BATCH: usize = 100;
/// Bytes of one publish while a queue is filled: well under the contract's 4 MiB.
const FILL_BYTES_MAX: usize = 1024 * 1024;

/// Fills a queue, then receives and acknowledges for the time asked or until it is empty.
pub(super) async fn run(args: &BenchArgs, target: &mut Target) -> Result<Report> {
    let stage = target.stage(args, 1, args.plugin.is_some()).await?;
    let filled = fill(args, target, &stage, args.entries()).await?;
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let drain = Drain {
        until: Some(until),
        ..drain(args, target, &stage, filled.events)
    };
    let meter = Meter::start(&target.probe).await?;
    let (mut tally, elapsed) = drain.run(filled.events).await?;
    let mut spent = meter.stop(&target.probe).await?;
    drain.progress.finish_and_clear();
    spent.elapsed = elapsed;
    tally.errors += filled.errors;
    let mut report = Report::new(args, &tally, &spent);
    report.nodes = target.nodes().await;
    Ok(report)
}

/// The drain of a stage's queues, as the arguments describe it; `entries` are those of all queues.
pub(super) fn drain(args: &BenchArgs, target: &Target, stage: &Stage, entries: u64) -> Drain {
    Drain {
        authority: target.authority(),
        queue_paths: stage.queue_paths(),
        connections: args.connections(),
        max: args.max(),
        until: None,
        progress: progress(entries, "events", "draining"),
    }
}

/// Publishes so many events (to the next whole batch) as fast as possible, and gives what was counted.
pub(super) async fn fill(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    entries: u64,
) -> Result<Tally> {
    let bar = progress(entries, "events", "filling");
    let moved = bar.clone();
    let load = fill_load(args, target, &stage.publish_path());
    let requests = entries.div_ceil(load.events_per_request);
    let tally = load.send(requests, move |events| moved.inc(events)).await?;
    bar.finish_and_clear();
    Ok(tally)
}

/// The load that fills what takes events at this path.
pub(super) fn fill_load(args: &BenchArgs, target: &Target, path: &str) -> Load {
    let batch = FILL_BATCH.min(FILL_BYTES_MAX / (args.bytes() + 256)).max(1);
    let authority = target.authority();
    Load {
        request: Request::publish(&authority, path, batch, args.bytes()),
        authority,
        events_per_request: batch as u64,
        connections: args.connections().min(FILL_CONNECTIONS),
        rate: None,
    }
}
