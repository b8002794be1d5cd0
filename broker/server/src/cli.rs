//! The command line: one file a noun, each of which turns its arguments into requests of the public contract.

mod choice;
mod cluster;
mod edit;
mod event;
mod explain;
mod moving;
mod output;
mod plugin;
mod publish;
mod queue;
mod receive;
mod settle;
mod subscription;
mod topic;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use choice::JsonArg;
pub(crate) use output::{Output, OutputForm, progress};

use crate::bench;
use crate::client::Client;
use crate::failure;
use crate::serve::{self, ServeArgs};
use crate::{check, runtime};

/// An event broker that you program with WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker
    Serve(ServeArgs),
    /// Topics: where events are published
    Topic(topic::TopicArgs),
    /// Queues: where events wait to be received
    Queue(queue::QueueArgs),
    /// Subscriptions: what carries events from a topic to queues
    Subscription(subscription::SubscriptionArgs),
    /// Publish an event, or a file of events, to a topic
    Publish(publish::PublishArgs),
    /// Send an event, or a file of events, straight to a queue
    Send(publish::SendArgs),
    /// Receive events from a queue
    Receive(receive::ReceiveArgs),
    /// Acknowledge received events: the queue never delivers them again
    Ack(settle::AckArgs),
    /// Give received events back to the queue
    Nack(settle::NackArgs),
    /// Keep received events leased for longer
    Extend(settle::ExtendArgs),
    /// Plugins: WebAssembly components that filter, route and transform events
    Plugin(plugin::PluginArgs),
    /// The cluster's state
    Cluster(cluster::ClusterArgs),
    /// Measure a broker, with the physical limit of the machine beside it
    Bench(bench::BenchArgs),
    /// A bare HTTP echo, which `bench` measures as the floor
    #[command(hide = true)]
    BenchFloorServer,
    /// Audit a data directory while no broker runs on it
    Check {
        /// The data directory
        dir: PathBuf,
        /// Form of the output
        #[arg(
            long,
            value_name = "FORM",
            value_enum,
            env = "MILLRACE_OUTPUT",
            default_value = "table"
        )]
        output: OutputForm,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What every client command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    /// The broker's URL
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MILLRACE_SERVER",
        default_value = "http://127.0.0.1:7440"
    )]
    server: String,
    /// Form of the output
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        value_enum,
        env = "MILLRACE_OUTPUT",
        default_value = "table"
    )]
    output: OutputForm,
}

impl ClientArgs {
    /// The client and the output that these arguments ask for.
    ///
    /// # Errors
    /// When the URL is none.
    fn open(&self) -> Result<(Client, Output)> {
        Ok((Client::new(&self.server)?, Output::new(self.output)))
    }
}

/// Runs a command, reports its failure on standard error, and gives the exit code: 0 fine, 1 failed, 2 usage.
pub(crate) fn run(cli: Cli) -> ExitCode {
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::BenchFloorServer => bench::serve_floor(),
        Command::Check { dir, output } => check::run(&dir, output),
        Command::Completions { shell } => print_completions(shell),
        Command::Plugin(args) => plugin::run(args),
        client => runtime::client()?.block_on(dispatch_client(client)),
    }
}

/// The commands that only talk to a broker.
async fn dispatch_client(command: Command) -> Result<()> {
    match command {
        Command::Topic(args) => topic::run(args).await,
        Command::Queue(args) => queue::run(args).await,
        Command::Subscription(args) => subscription::run(args).await,
        Command::Publish(args) => publish::publish(args).await,
        Command::Send(args) => publish::send(args).await,
        Command::Receive(args) => receive::run(args).await,
        Command::Ack(args) => settle::ack(args).await,
        Command::Nack(args) => settle::nack(args).await,
        Command::Extend(args) => settle::extend(args).await,
        Command::Cluster(args) => cluster::run(args).await,
        other => unreachable!("{other:?} does not talk to a broker"),
    }
}

fn print_completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "millrace", &mut script);
    output::write(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
