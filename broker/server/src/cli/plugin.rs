//! `millrace plugin …`: the author's side (new, build, test) and the broker's side (push, list, show, check, …).

mod author;
mod new;
mod parked;
mod remote;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::ClientArgs;
use super::choice::PluginVersion;
use super::edit::ListArgs;
use super::publish::PublishArgs;
use crate::client::Route;
use crate::runtime;

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: PluginVerb,
}

#[derive(Debug, Subcommand)]
enum PluginVerb {
    /// Make the crate of a new plugin
    New(new::NewArgs),
    /// Compile the plugin of a crate to a component
    Build(author::BuildArgs),
    /// Run the tests of a plugin's crate, natively
    Test(author::TestArgs),
    /// Store a version of a plugin in the broker
    Push {
        /// Name and version to store it under
        plugin: PluginVersion,
        /// The component [default: what `plugin build` made of the crate in this directory]
        file: Option<PathBuf>,
    },
    /// List plugins
    List(ListArgs),
    /// Show a plugin, or one version of it
    Show {
        /// NAME or NAME@VERSION
        plugin: String,
        /// Write the component of that version to this file
        #[arg(long, value_name = "FILE")]
        wasm: Option<PathBuf>,
    },
    /// Let the broker judge a component without storing it
    Check {
        /// The component
        file: PathBuf,
    },
    /// Delete a version of a plugin
    Delete {
        /// Name and version
        plugin: PluginVersion,
    },
    /// List the events that a subscription's plugin failed on
    Parked(parked::ParkedArgs),
    /// Send parked events through the subscription again
    Redrive(parked::RedriveArgs),
    /// Publish an event, and show what each subscription and its plugin did with it
    Explain(PublishArgs),
}

/// Runs a `plugin` command.
pub(crate) fn run(args: PluginArgs) -> Result<()> {
    match args.verb {
        PluginVerb::New(args) => new::run(&args),
        PluginVerb::Build(build) => author::build(&build),
        PluginVerb::Test(test) => author::test(&test),
        remote => runtime::client()?.block_on(run_remote(&args.client, remote)),
    }
}

async fn run_remote(client: &ClientArgs, verb: PluginVerb) -> Result<()> {
    if let PluginVerb::Explain(publish) = verb {
        return super::publish::explain(publish).await;
    }
    let (mut client, out) = client.open()?;
    let client = &mut client;
    match verb {
        PluginVerb::Push { plugin, file } => remote::push(client, out, &plugin, file).await,
        PluginVerb::List(list) => {
            list.run(
                client,
                out,
                Route::of(["v1", "plugins"]),
                &remote::LIST_COLUMNS,
            )
            .await
        }
        PluginVerb::Show { plugin, wasm } => remote::show(client, out, &plugin, wasm).await,
        PluginVerb::Check { file } => remote::check(client, out, &file).await,
        PluginVerb::Delete { plugin } => remote::delete(client, out, &plugin).await,
        PluginVerb::Parked(args) => args.run(client, out).await,
        PluginVerb::Redrive(args) => args.run(client, out).await,
        other => unreachable!("{other:?} needs no broker"),
    }
}
