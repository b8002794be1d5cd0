//! Publishing, receiving and acknowledging at once: `end-to-end` over one queue, `fan-out` over many.

mod progress;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::answer;
use super::args::BenchArgs;
use super::consumer::Consumer;
use super::load::{Pace, Window};
use super::measure::Meter;
use super::report::{Report, per};
use super::request::Request;
use super::stage::Stage;
use super::tally::Tally;
use super::target::Target;
use super::wire::Wire;
use progress::Progress;

/// How long a receiver with one queue waits for an event: long polling, but short enough to end soon after the run.
const WAIT_SECONDS: u64 = 1;
/// Pause of a receiver that found each of its several queues empty, and of a publisher that is too far ahead.
const PAUSE: Duration = Duration::from_millis(1);
/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing may be acknowledged before what is missing counts as lost.
const STALL_MAX: Duration = Duration::from_secs(15);

/// Publishes for the time asked with half of the connections, receives and acknowledges with the other half, until every
/// delivery is acknowledged. The rate is of acknowledged deliveries, from the first publish to the last ack; latencies are
/// from the beginning of a publish to the confirmed ack of each of its deliveries.
pub(super) async fn run(args: &BenchArgs, target: &mut Target) -> Result<Report> {
    let stage = target
        .stage(args, args.queues(), args.plugin.is_some())
        .await?;
    let publishers = (args.connections() / 2).max(1);
    let window = Window::starting_now(args.seconds);
    let progress = Arc::new(Progress::new(publishers, args.in_flight));
    let meter = Meter::start(&target.probe).await?;
    let receiving = start_receivers(args, target, &stage, &progress, window).await?;
    let publishing = start_publishers(args, target, &stage, &progress, window, publishers).await?;
    let missing = wait(&progress).await;
    let mut spent = meter.stop(&target.probe).await?;
    spent.elapsed = progress.last_ack();
    progress.stop();

    let published = Tally::sum(publishing).await?;
    let mut tally = Tally::sum(receiving).await?;
    tally.requests += published.requests;
    tally.errors += published.errors;
    tally.first_error = published.first_error.clone().or(tally.first_error);
    if missing > 0 {
        tally.error(|| format!("{missing} deliveries were not received within {STALL_MAX:?}"));
    }
    let mut report = Report::new(args, &tally, &spent);
    for (name, percent) in [("received_p50_ms", 50.0), ("received_p99_ms", 99.0)] {
        if let Some(ms) = tally.received_percentile_ms(percent) {
            report.put(name, ms);
        }
    }
    put_extras(args, &mut report, &published, spent.elapsed);
    report.nodes = target.nodes().await;
    Ok(report)
}

fn put_extras(args: &BenchArgs, report: &mut Report, published: &Tally, elapsed: Duration) {
    report.put(
        "published_per_second",
        per(published.events, elapsed.as_secs_f64()),
    );
    if args.queues() > 1 {
        report.put("queues", per(args.queues() as u64, 1.0));
    }
    for (name, percent) in [("publish_p50_ms", 50.0), ("publish_p99_ms", 99.0)] {
        if let Some(ms) = published.percentile_ms(percent) {
            report.put(name, ms);
        }
    }
}

/// Waits until everything is acknowledged, or nothing moves any more; gives how many deliveries are missing.
async fn wait(progress: &Progress) -> u64 {
    let mut last = (0, Instant::now());
    loop {
        sleep(LOOK).await;
        let acked = progress.acked();
        if progress.is_complete() {
            return 0;
        }
        if acked != last.0 {
            last = (acked, Instant::now());
        }
        if progress.is_published() && last.1.elapsed() > STALL_MAX {
            return progress.open();
        }
    }
}

async fn start_publishers(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    progress: &Arc<Progress>,
    window: Window,
    publishers: usize,
) -> Result<JoinSet<Result<Tally>>> {
    let authority = target.authority();
    let request = Request::publish(
        &authority,
        &stage.publish_path(),
        args.batch(),
        args.bytes(),
    );
    #[expect(clippy::cast_precision_loss, reason = "a batch is at most 1000")]
    let rate = args.rate.map(|rate| per(rate, args.batch() as f64));
    let mut tasks = JoinSet::new();
    for index in 0..publishers {
        let publisher = Publisher {
            wire: Wire::connect(&authority).await?,
            request: request.clone(),
            pace: Pace::new(rate, publishers, index),
            events: args.batch() as u64,
            queues: args.queues() as u64,
            progress: progress.clone(),
        };
        tasks.spawn(publisher.run(window));
    }
    Ok(tasks)
}

/// A connection that publishes.
struct Publisher {
    wire: Wire,
    request: Request,
    pace: Pace,
    /// Events of one request.
    events: u64,
    /// Deliveries of one event.
    queues: u64,
    progress: Arc<Progress>,
}

impl Publisher {
    async fn run(mut self, window: Window) -> Result<Tally> {
        let mut tally = Tally::new()?;
        if let Err(error) = self.publish_until(window.until, &mut tally).await {
            tally.error(|| error.to_string());
        }
        self.progress.publisher_ended();
        Ok(tally)
    }

    async fn publish_until(&mut self, until: Instant, tally: &mut Tally) -> io::Result<()> {
        loop {
            while self.progress.is_too_far_ahead() && Instant::now() < until {
                sleep(PAUSE).await;
            }
            let began = self.pace.turn().await;
            if began >= until {
                return Ok(());
            }
            let reply = self
                .wire
                .exchange(self.request.stamped(self.progress.stamp(began)))
                .await?;
            if !tally.judge(reply) {
                continue;
            }
            let refused = answer::refused(reply.body);
            for _ in 0..refused {
                tally.error(|| answer::quote(reply.body));
            }
            let accepted = self.events - refused.min(self.events);
            tally.latency(began.elapsed());
            tally.requests += 1;
            tally.events += accepted;
            self.progress.published(accepted * self.queues);
        }
    }
}

async fn start_receivers(
    args: &BenchArgs,
    target: &Target,
    stage: &Stage,
    progress: &Arc<Progress>,
    window: Window,
) -> Result<JoinSet<Result<Tally>>> {
    let authority = target.authority();
    let queues = stage.queue_paths();
    let receivers = (args.connections() / 2).max(1);
    let mut tasks = JoinSet::new();
    for index in 0..receivers {
        let mine = share(&queues, receivers, index);
        let wait = if mine.len() == 1 { WAIT_SECONDS } else { 0 };
        let receiver = Receiver {
            wire: Wire::connect(&authority).await?,
            consumers: mine
                .iter()
                .map(|path| Consumer::new(&authority, path, args.max(), wait))
                .collect(),
            progress: progress.clone(),
            counts_from: progress.stamp(window.from),
        };
        tasks.spawn(receiver.run());
    }
    Ok(tasks)
}

/// The queues of one receiver: several when there are more queues than receivers, else one that others share.
fn share(queues: &[String], receivers: usize, index: usize) -> Vec<String> {
    if queues.len() <= receivers {
        return vec![queues[index % queues.len()].clone()];
    }
    queues
        .iter()
        .skip(index)
        .step_by(receivers)
        .cloned()
        .collect()
}

/// A connection that receives and acknowledges.
struct Receiver {
    wire: Wire,
    consumers: Vec<Consumer>,
    progress: Arc<Progress>,
    /// Stamps from which latencies count.
    counts_from: u64,
}

impl Receiver {
    async fn run(mut self) -> Result<Tally> {
        let mut tally = Tally::new()?;
        if let Err(error) = self.receive(&mut tally).await {
            tally.error(|| error.to_string());
        }
        Ok(tally)
    }

    async fn receive(&mut self, tally: &mut Tally) -> io::Result<()> {
        while !self.progress.is_stopped() {
            let mut acked = 0;
            for consumer in &mut self.consumers {
                let received = consumer.receive(&mut self.wire, tally).await?;
                if received == 0 {
                    continue;
                }
                let (progress, from) = (&*self.progress, self.counts_from);
                ages(progress, from, consumer).for_each(|age| tally.received(age));
                let taken = consumer
                    .acknowledge(&mut self.wire, tally, received)
                    .await?;
                self.progress.acknowledged(taken);
                ages(progress, from, consumer).for_each(|age| tally.latency(age));
                acked += taken;
            }
            if acked == 0 && self.consumers.len() > 1 {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

/// How long ago the events that the consumer got last were published, as far as they count.
fn ages(
    progress: &Progress,
    counts_from: u64,
    consumer: &Consumer,
) -> impl Iterator<Item = Duration> {
    let now = progress.stamp(Instant::now());
    let stamps = consumer.stamps().iter();
    stamps
        .filter(move |stamp| **stamp >= counts_from)
        .map(move |stamp| Duration::from_nanos(now.saturating_sub(*stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_a_receiver_and_every_receiver_a_queue() {
        for (queues, receivers) in [(1, 4), (4, 4), (3, 4), (100, 32), (5, 2)] {
            let queues: Vec<String> = (0..queues).map(|number| number.to_string()).collect();
            let shares: Vec<Vec<String>> = (0..receivers)
                .map(|index| share(&queues, receivers, index))
                .collect();
            assert!(shares.iter().all(|share| !share.is_empty()));
            assert!(
                queues
                    .iter()
                    .all(|queue| shares.iter().flatten().any(|mine| mine == queue))
            );
        }
    }
}
