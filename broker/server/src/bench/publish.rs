//! Publishing alone.

use anyhow::Result;
use tokio::time::sleep_until;

use super::args::BenchArgs;
use super::load::{Load, Window};
use super::measure::{Meter, Spent};
use super::probe::Probe;
use super::report::{Report, per};
use super::request::Request;
use super::stage::Stage;
use super::tally::Tally;
use super::target::Target;

/// Publishes for the time asked; with a plugin, first without it and then with it.
pub(super) async fn run(args: &BenchArgs, target: &mut Target) -> Result<Report> {
    let bare = target.stage(args, 1, false).await?;
    let mut report = publish(args, target, &bare).await?;
    if args.plugin.is_some() {
        let with_plugin = target.stage(args, 1, true).await?;
        let without = report;
        report = publish(args, target, &with_plugin).await?;
        report.put(
            "events_per_second_without_plugin",
            without.events_per_second,
        );
        if let (Some(with), Some(without)) = (
            report.server_cpu_us_per_event,
            without.server_cpu_us_per_event,
        ) {
            report.put("plugin_cpu_us_per_event", with - without);
        }
    }
    report.nodes = target.nodes().await;
    Ok(report)
}

async fn publish(args: &BenchArgs, target: &Target, stage: &Stage) -> Result<Report> {
    let authority = target.authority();
    let request = Request::publish(
        &authority,
        &stage.publish_path(),
        args.batch(),
        args.bytes(),
    );
    let (tally, spent) =
        hammer(&load(args, authority, request), args.seconds, &target.probe).await?;
    Ok(Report::new(args, &tally, &spent))
}

/// The load that the arguments describe, of this request.
pub(super) fn load(args: &BenchArgs, authority: String, request: Request) -> Load {
    let events_per_request = args.batch() as u64;
    #[expect(clippy::cast_precision_loss, reason = "a batch is at most 1000")]
    let rate = args.rate.map(|rate| per(rate, events_per_request as f64));
    Load {
        authority,
        request,
        events_per_request,
        connections: args.connections(),
        rate,
    }
}

/// Runs a load for so many seconds, and measures the server meanwhile.
pub(super) async fn hammer(load: &Load, seconds: u64, probe: &Probe) -> Result<(Tally, Spent)> {
    let window = Window::starting_now(seconds);
    let tasks = load.start(window).await?;
    sleep_until(window.from.into()).await;
    let meter = Meter::start(probe).await?;
    sleep_until(window.until.into()).await;
    let spent = meter.stop(probe).await?;
    Ok((Tally::sum(tasks).await?, spent))
}
