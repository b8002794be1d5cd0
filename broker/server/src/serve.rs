//! `millrace serve`: reads the configuration, and runs the broker with it.

mod components;
mod house;
mod logging;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::config::{Config, LogFormat, Members};

/// The flags of `millrace serve`. Each has an environment variable and a key in the configuration file; a flag wins over
/// the environment, which wins over the file, which wins over the default.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct ServeArgs {
    /// Directory that holds everything the broker keeps; created when missing [default: ./millrace-data]
    #[arg(long, value_name = "DIR", env = "MILLRACE_DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,

    /// Address for clients; port 0 takes a free one [default: 127.0.0.1:7440]
    #[arg(long, value_name = "ADDR", env = "MILLRACE_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,

    /// Configuration file (TOML) with the keys data, listen, node, peer_listen, cluster, groups, threads, format_version_max, log_format
    #[arg(long, value_name = "FILE", env = "MILLRACE_CONFIG")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,

    /// Number of this node in its cluster, from 1 [default: 1]
    #[arg(long, value_name = "N", env = "MILLRACE_NODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<u64>,

    /// Address for the other nodes of the cluster [default: 127.0.0.1:7441]
    #[arg(long, value_name = "ADDR", env = "MILLRACE_PEER_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_listen: Option<SocketAddr>,

    /// The first members of the cluster, as 1=HOST:PORT,2=HOST:PORT; the same list for all of them, in whatever order they start; empty for a node alone. A node to be added later names them and itself, and waits for `millrace cluster add`
    #[arg(long, value_name = "MEMBERS", env = "MILLRACE_CLUSTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<Members>,

    /// Newest format to read and write: with 1 the broker runs as an older version would, and the features of newer formats stay off until every node of the cluster is started without this [default: the newest of this broker]
    #[arg(long, value_name = "N", env = "MILLRACE_FORMAT_VERSION_MAX")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format_version_max: Option<u16>,
    /// Number of data groups that the cluster is created with, 1 to 16, the same on all first members; one for two cores is best. It counts at the first start [default: 1]
    #[arg(long, value_name = "N", env = "MILLRACE_GROUPS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<u32>,

    /// Threads that serve requests, 1 to 256. The core that the default leaves is for the log's writer, the tables and the network [default: one for each core but one, at least 1]
    #[arg(long, value_name = "N", env = "MILLRACE_THREADS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,

    /// Form of the log on standard error [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, env = "MILLRACE_LOG_FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Runs the broker until it is told to stop.
///
/// # Errors
/// When the configuration is wrong, the broker cannot start, or it had to stop by itself.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    logging::start(config.log_format);
    let runtime = crate::runtime::server(config.threads)?;
    runtime.block_on(house::run(config))
}
