//! A large backlog: what it costs to hold, to come back with, and to drain; beside small ones.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::args::BenchArgs;
use super::measure::Meter;
use super::receive::{drain, fill, fill_load};
use super::report::{Report, mib, per};
use super::stage::Stage;
use super::tally::Tally;
use super::target::Target;

/// Entries of each small backlog that the large one is compared with.
const SMALL_ENTRIES: u64 = 1000;
/// Queues with such a backlog, drained one after the other: a single one is gone before a rate shows.
const SMALL_QUEUES: usize = 100;

/// Drains small backlogs, fills a large one, crashes and restarts the broker if it is our own, and drains it.
pub(super) async fn run(args: &BenchArgs, target: &mut Target) -> Result<Report> {
    let mut before = Tally::new()?;
    let small_rate = drain_small(args, target, &mut before).await?;
    if target.is_own() {
        // The large backlog meets a broker as fresh as the small ones did.
        target.crash_and_restart().await?;
    }
    let stage = target.stage(args, 1, args.plugin.is_some()).await?;

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

/// The rate of draining small backlogs: about as many entries in all as the large one has, since a fraction of a second says little
/// about a rate, and nothing about what is written behind it.
async fn drain_small(args: &BenchArgs, target: &mut Target, sum: &mut Tally) -> Result<f64> {
    let stage = target.stage(args, SMALL_QUEUES, false).await?;
    let rounds = args.entries() / (SMALL_ENTRIES * SMALL_QUEUES as u64);
    let (mut events, mut elapsed) = (0, Duration::ZERO);
    for _ in 0..rounds.max(1) {
        let (drained, took) = drain_small_once(args, target, &stage, sum).await?;
        events += drained;
        elapsed += took;
    }
    Ok(per(events, elapsed.as_secs_f64()))
}

/// Fills and drains all small backlogs; how many entries were drained, and how long that took.
async fn drain_small_once(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    sum: &mut Tally,
) -> Result<(u64, Duration)> {
    let mut entries = SMALL_ENTRIES;
    for path in stage.queue_paths() {
        let load = fill_load(args, target, &format!("{path}/messages"));
        let requests = SMALL_ENTRIES.div_ceil(load.events_per_request);
        entries = requests * load.events_per_request;
        sum.add(&load.send(requests, |_| ()).await?)?;
    }
    let drain = drain(args, target, stage, entries * SMALL_QUEUES as u64);
    let (tally, elapsed) = drain.run(entries).await?;
    drain.progress.finish_and_clear();
    sum.add(&tally)?;
    Ok((tally.events, elapsed))
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
