//! `millrace topic …`

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::ClientArgs;
use super::choice::JsonArg;
use super::edit::{self, Fields, ListArgs};
use crate::client::Route;

/// The fields of a topic's configuration.
const FIELDS: [&str; 4] = [
    "max_message_bytes",
    "retention_seconds",
    "schema",
    "schema_mode",
];

#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: TopicVerb,
}

#[derive(Debug, Subcommand)]
enum TopicVerb {
    /// Create a topic
    Create {
        /// Name of the topic
        name: String,
        #[command(flatten)]
        config: TopicConfig,
    },
    /// List topics
    List(ListArgs),
    /// Show a topic
    Show {
        /// Name of the topic
        name: String,
    },
    /// Change some of a topic's configuration
    Update {
        /// Name of the topic
        name: String,
        #[command(flatten)]
        config: TopicConfig,
        /// Field to take away, so that the default holds again
        #[arg(long, value_name = "FIELD")]
        unset: Vec<String>,
    },
    /// Delete a topic
    Delete {
        /// Name of the topic
        name: String,
        /// Delete its subscriptions too
        #[arg(long)]
        cascade: bool,
    },
}

#[derive(Debug, Args)]
struct TopicConfig {
    /// Largest event, in bytes
    #[arg(long, value_name = "N")]
    max_message_bytes: Option<u64>,
    /// JSON Schema (2020-12) that the data of every event must satisfy: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE")]
    schema: Option<JsonArg>,
    /// What happens to events that do not satisfy it
    #[arg(long, value_name = "MODE", value_enum)]
    schema_mode: Option<SchemaMode>,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum SchemaMode {
    Reject,
    Warn,
}

impl TopicConfig {
    fn fields(&self) -> Fields {
        Fields::default()
            .with("max_message_bytes", self.max_message_bytes)
            .with("schema", self.schema.as_ref())
            .with("schema_mode", self.schema_mode)
    }
}

/// Runs a `topic` command.
pub(crate) async fn run(args: TopicArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let client = &mut client;
    let route = |name: &str| Route::of(["v1", "topics", name]);
    match args.verb {
        TopicVerb::Create { name, config } => {
            edit::create(client, out, route(&name), &name, config.fields()).await
        }
        TopicVerb::List(list) => {
            list.run(client, out, Route::of(["v1", "topics"]), &LIST_COLUMNS)
                .await
        }
        TopicVerb::Show { name } => out.object(&client.get(route(&name)).await?),
        TopicVerb::Update {
            name,
            config,
            unset,
        } => edit::update(client, out, route(&name), &FIELDS, config.fields(), &unset).await,
        TopicVerb::Delete { name, cascade } => {
            let route = route(&name).query("cascade", cascade.then_some(true));
            edit::delete(client, out, route, &name).await
        }
    }
}

const LIST_COLUMNS: [&str; 3] = ["name", "max_message_bytes", "schema_mode"];
