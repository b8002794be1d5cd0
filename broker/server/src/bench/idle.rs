//! Long polls that wait for nothing, and what it takes to wake one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::args::BenchArgs;
use super::consumer::Consumer;
use super::measure::Meter;
use super::report::Report;
use super::request::Request;
use super::stage::Stage;
use super::tally::Tally;
use super::target::Target;
use super::wire::Wire;
use crate::cli::progress;

/// The longest poll of the contract.
const WAIT_SECONDS: u64 = 30;
/// How long the broker gets to settle once all polls are open.
const SETTLE: Duration = Duration::from_secs(2);
/// How often a poll is woken.
const WAKES: usize = 50;
/// How long an event may take to wake one.
const WAKE_MAX: Duration = Duration::from_secs(10);

/// Opens long polls on an empty queue, measures the broker for the time asked, then publishes events one by one and
/// measures how long each takes to be received and acknowledged.
pub(super) async fn run(args: &BenchArgs, target: &mut Target) -> Result<Report> {
    let stage = target.stage(args, 1, false).await?;
    let (woken, mut wakes) = mpsc::unbounded_channel();
    let polls = open_polls(args, target, &stage, &woken).await?;
    sleep(SETTLE).await;
    let meter = Meter::start(&target.probe).await?;
    sleep(Duration::from_secs(args.seconds)).await;
    let spent = meter.stop(&target.probe).await?;
    let mut tally = wake(args, target, &stage, &mut wakes).await?;
    drop(polls);
    // A rate of a few single events would say nothing, and their share of the waiting's CPU neither.
    tally.events = 0;
    tally.requests = 0;
    let mut report = Report::new(args, &tally, &spent);
    if let Some(cpu) = spent.cpu_seconds {
        report.put("cpu_percent", 100.0 * cpu / spent.elapsed.as_secs_f64());
    }
    report.nodes = target.nodes().await;
    Ok(report)
}

/// What a poll tells: when it got its event acknowledged, or how it failed.
type Woken = Result<Instant, String>;

async fn open_polls(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    woken: &mpsc::UnboundedSender<Woken>,
) -> Result<JoinSet<()>> {
    let bar = progress(args.connections() as u64, "polls", "opening");
    let queue_path = stage.queue_paths().swap_remove(0);
    let authority = target.authority();
    let mut polls = JoinSet::new();
    for _ in 0..args.connections() {
        let wire = Wire::connect(&authority).await?;
        polls.spawn(poll(
            wire,
            Consumer::new(&authority, &queue_path, 1, WAIT_SECONDS),
            woken.clone(),
        ));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(polls)
}

async fn poll(mut wire: Wire, mut consumer: Consumer, woken: mpsc::UnboundedSender<Woken>) {
    loop {
        let word = match poll_once(&mut wire, &mut consumer).await {
            Ok(None) => continue,
            Ok(Some(at)) => Ok(at),
            Err(error) => Err(error.to_string()),
        };
        let failed = word.is_err();
        if woken.send(word).is_err() || failed {
            return;
        }
    }
}

async fn poll_once(wire: &mut Wire, consumer: &mut Consumer) -> Result<Option<Instant>> {
    let mut tally = Tally::new()?;
    let acked = consumer.take(wire, &mut tally).await?;
    match tally.first_error {
        Some(error) => anyhow::bail!(error),
        None => Ok((acked > 0).then(Instant::now)),
    }
}

async fn wake(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    wakes: &mut mpsc::UnboundedReceiver<Woken>,
) -> Result<Tally> {
    let authority = target.authority();
    let mut wire = Wire::connect(&authority).await?;
    let mut request = Request::publish(&authority, &stage.publish_path(), 1, args.bytes());
    let mut tally = Tally::new()?;
    for _ in 0..WAKES {
        let began = Instant::now();
        tally.judge(wire.exchange(request.stamped(0)).await?);
        let woken = timeout(WAKE_MAX, wakes.recv())
            .await
            .context("an event woke no poll")?;
        match woken.context("every poll has ended")? {
            Ok(at) => tally.latency(at.saturating_duration_since(began)),
            Err(error) => tally.error(|| error),
        }
    }
    Ok(tally)
}
