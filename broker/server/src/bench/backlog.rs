//! A large backlog: what it costs to hold, to come back with, and to drain.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::args::BenchArgs;
use super::drain::Drain;
use super::measure::Meter;
use super::receive::{drain, fill};
use super::report::{Report, mib, per};
use super::stage::Stage;
use super::tally::Tally;
use super::target::Target;
use crate::cli::progress;

/// Entries of the small backlog that the large one is compared with.
const SMALL_ENTRIES: u64 = 1000;
/// The small backlog is filled and drained again until so much time went into draining: one round is too short to measure.
const SMALL_TIME: Duration = Duration::from_secs(1);
/// Most rounds of that.
const SMALL_ROUNDS_MAX: u32 = 200;

/// Drains a small backlog many times, fills a large one, crashes and restarts the broker if it is our own, and drains it.
pub(super) async fn run(args: &BenchArgs, target: &mut Target) -> Result<Report> {
    let stage = target.stage(args, 1, args.plugin.is_some()).await?;
    let mut before = Tally::new()?;
    let small_rate = drain_small(args, target, &stage, &mut before).await?;

    let began = Instant::now();
    let filled = fill(args, target, &stage, args.entries()).await?;
    let fill_rate = per(filled.events, began.elapsed().as_secs_f64());
    before.add(&filled)?;
    let rss_full = target.probe.read().await?.rss_bytes;
    let restart = if target.is_own() {
        Some(target.crash_and_restart().await?)
    } else {
        None
    };

    let mut report = drain_large(args, target, &stage, filled.events, &before).await?;
    report.put("entries", per(filled.events, 1.0));
    report.put("fill_events_per_second", fill_rate);
    report.put("drain_events_per_second_with_1000", small_rate);
    report.put("drain_ratio", report.events_per_second / small_rate);
    rss_full.inspect(|bytes| report.put("rss_with_backlog_mib", mib(*bytes)));
    restart.inspect(|time| report.put("restart_seconds", time.as_secs_f64()));
    report.nodes = target.nodes().await;
    Ok(report)
}

/// The rate of draining a small backlog, over many rounds.
async fn drain_small(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    sum: &mut Tally,
) -> Result<f64> {
    let drain = Drain {
        progress: progress(0, "events", "draining a small backlog"),
        ..drain(args, target, stage, 0)
    };
    let mut time = Duration::ZERO;
    let mut events = 0;
    for _ in 0..SMALL_ROUNDS_MAX {
        let filled = fill(args, target, stage, SMALL_ENTRIES).await?;
        let (tally, elapsed) = drain.run(filled.events).await?;
        sum.errors += filled.errors + tally.errors;
        events += tally.events;
        time += elapsed;
        if time >= SMALL_TIME {
            break;
        }
    }
    drain.progress.finish_and_clear();
    Ok(per(events, time.as_secs_f64()))
}

async fn drain_large(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    entries: u64,
    before: &Tally,
) -> Result<Report> {
    let drain = drain(args, target, stage, entries);
    let meter = Meter::start(&target.probe).await?;
    let (mut tally, elapsed) = drain.run(entries).await?;
    let mut spent = meter.stop(&target.probe).await?;
    drain.progress.finish_and_clear();
    spent.elapsed = elapsed;
    tally.errors += before.errors;
    tally.first_error = tally.first_error.or_else(|| before.first_error.clone());
    Ok(Report::new(args, &tally, &spent))
}
