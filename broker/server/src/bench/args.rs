//! What `bench` can be told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::{JsonArg, OutputForm};

/// Threads that make the load: two keep a two-core machine busy, and a fixed number keeps figures comparable across
/// machines.
const THREADS: u16 = 2;
/// Connections of a scenario that does not say otherwise.
const CONNECTIONS: usize = 64;
/// Waiting receivers of `idle`.
const IDLE_CONNECTIONS: usize = 2000;
/// Entries of `backlog`.
const BACKLOG_ENTRIES: u64 = 1_000_000;
/// Entries that `receive` finds in its queue.
const RECEIVE_ENTRIES: u64 = 200_000;
/// Events of one receive, when publishing is not in larger batches.
const RECEIVE_MAX: usize = 64;

/// A load to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Publish to a topic with one subscribed queue
    Publish,
    /// Receive and acknowledge what waits in a queue
    Receive,
    /// Publish, receive and acknowledge at once; latency is from publish to confirmed ack
    EndToEnd,
    /// Publish to a topic with many queues, receive and acknowledge every delivery
    FanOut,
    /// Fill a queue, restart the broker if it is our own, drain the queue; and the same with 1,000 entries
    Backlog,
    /// Keep long polls open on an empty queue, then wake them one by one
    Idle,
    /// The bare HTTP echo alone
    Floor,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// The load
    #[arg(value_enum)]
    pub(super) scenario: Scenario,
    /// Broker to load [default: one of its own, started for the run and stopped after]
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// Form of the report
    #[arg(long, value_name = "FORM", value_enum, default_value = "table")]
    pub(super) output: OutputForm,
    /// Connections, half of them publishing where there are receivers [default: 64; idle: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Option<u32>,
    /// Threads that make the load
    #[arg(long, value_name = "N", default_value_t = THREADS, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Events of one publish; more than one go out in the batch mode of CloudEvents
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// Bytes of each event's data
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    bytes: u32,
    /// How long to measure, in seconds; one fifth of it (at most a second) is warming up
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,
    /// Publish so many events a second instead of as fast as possible
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) rate: Option<u64>,
    /// Queues of fan-out
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queues: u32,
    /// Entries of backlog [default: 1000000] and of receive [default: 200000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    entries: Option<u64>,
    /// Most events of one receive [default: 64, or the batch if that is larger]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max: Option<u32>,
    /// Deliveries that may be published and not yet acknowledged, in end-to-end and fan-out
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(super) in_flight: u64,
    /// Put this router plugin on the way; `publish` then also measures the way without it
    #[arg(long, value_name = "FILE")]
    pub(super) plugin: Option<PathBuf>,
    /// The plugin's configuration: JSON, or a file of it; the destination is named `queue` [default: one rule on the type,
    /// for the content-router]
    #[arg(long, value_name = "JSON|FILE", requires = "plugin")]
    pub(super) plugin_config: Option<JsonArg>,
    /// Measure the floor in the same run, half of it before and half after, and put it beside
    #[arg(long)]
    pub(super) floor: bool,
    /// Where a broker of its own keeps its data, in a new directory that is deleted after [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

impl BenchArgs {
    pub(super) fn threads(&self) -> usize {
        usize::from(self.threads)
    }

    pub(super) fn connections(&self) -> usize {
        let default = if self.scenario == Scenario::Idle {
            IDLE_CONNECTIONS
        } else {
            CONNECTIONS
        };
        self.connections
            .map_or(default, |connections| connections as usize)
    }

    pub(super) fn batch(&self) -> usize {
        self.batch as usize
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Queues behind the topic.
    pub(super) fn queues(&self) -> usize {
        if self.scenario == Scenario::FanOut {
            self.queues as usize
        } else {
            1
        }
    }

    pub(super) fn entries(&self) -> u64 {
        let default = if self.scenario == Scenario::Backlog {
            BACKLOG_ENTRIES
        } else {
            RECEIVE_ENTRIES
        };
        self.entries.unwrap_or(default)
    }

    /// Most events of one receive.
    pub(super) fn max(&self) -> usize {
        self.max
            .map_or(RECEIVE_MAX.max(self.batch()), |max| max as usize)
    }
}
