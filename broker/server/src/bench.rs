//! `millrace bench`: a load generator that speaks the public contract, and measures the physical floor beside it.
//!
//! It shares the machine with the broker it measures, so that what it spends, the broker lacks: requests are built once,
//! answers are searched rather than parsed, and each connection is one task over a bare socket. The floor (a hyper echo in
//! a process like the broker's) is loaded by the very same code, which makes the ratio of the two a fair figure.
//!
//! It is no test: it counts what was answered, and believes the answers.

mod answer;
mod args;
mod backlog;
mod consumer;
mod drain;
mod floor;
mod flow;
mod idle;
mod load;
mod measure;
mod probe;
mod process;
mod publish;
mod receive;
mod report;
mod request;
mod slowness;
mod stage;
mod tally;
mod target;
mod wire;

use anyhow::{Result, bail};

pub(crate) use args::BenchArgs;
pub(crate) use floor::serve as serve_floor;

use args::Scenario;
use report::Report;
use target::Target;

use crate::cli::Output;
use crate::runtime;

/// Runs a scenario and prints its report.
///
/// # Errors
/// When the broker cannot be started or reached, or when requests failed (after the report).
pub(crate) fn run(args: BenchArgs) -> Result<()> {
    probe::raise_file_limit();
    runtime::bench(args.threads())?.block_on(run_scenario(args))
}

async fn run_scenario(args: BenchArgs) -> Result<()> {
    let out = Output::new(args.output);
    let report = measure_scenario(&args).await?;
    report.print(out)?;
    if let Some(warning) = report.warning() {
        eprintln!("warning: {warning}");
    }
    match report.failure() {
        Some(failure) => bail!(failure),
        None => Ok(()),
    }
}

async fn measure_scenario(args: &BenchArgs) -> Result<Report> {
    if args.scenario == Scenario::Floor {
        return floor::run(args).await;
    }
    let before = if args.floor {
        Some(floor::half(args).await?)
    } else {
        None
    };
    let mut target = Target::open(args).await?;
    let report = match args.scenario {
        Scenario::Publish => publish::run(args, &mut target).await,
        Scenario::Receive => receive::run(args, &mut target).await,
        Scenario::EndToEnd | Scenario::FanOut => flow::run(args, &mut target).await,
        Scenario::Backlog => backlog::run(args, &mut target).await,
        Scenario::Idle => idle::run(args, &mut target).await,
        Scenario::Floor => unreachable!("handled above"),
    };
    target.close().await?;
    let mut report = report?;
    if let Some(before) = before {
        let after = floor::half(args).await?;
        floor::put_beside(args, &mut report, &[before, after]);
    }
    Ok(report)
}
