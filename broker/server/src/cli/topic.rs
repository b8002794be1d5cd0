//! `millrace topic …`

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::ClientArgs;
use super::choice::{JsonArg, PluginVersion};
use super::edit::{self, Fields, ListArgs};
use crate::client::Route;

/// The fields of a topic's configuration.
const FIELDS: [&str; 5] = [
    "max_message_bytes",
    "retention_seconds",
    "schema",
    "schema_mode",
    "admission",
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
    /// How long events are kept for replay, in seconds; 0 for not at all
    #[arg(long, value_name = "S")]
    retention_seconds: Option<u64>,
    /// JSON Schema (2020-12) that the data of every event must satisfy: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE")]
    schema: Option<JsonArg>,
    /// What happens to events that do not satisfy it
    #[arg(long, value_name = "MODE", value_enum)]
    schema_mode: Option<SchemaMode>,
    /// Plugin that admits or rejects every event
    #[arg(long, value_name = "NAME@VERSION")]
    admission_plugin: Option<PluginVersion>,
    /// Configuration of that plugin: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE", requires = "admission_plugin")]
    admission_config: Option<JsonArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum SchemaMode {
    Reject,
    Warn,
}

impl TopicConfig {
    fn fields(&self) -> Fields {
        let admission = self
            .admission_plugin
            .as_ref()
            .map(|plugin| binding(plugin, self.admission_config.as_ref()));
        Fields::default()
            .with("max_message_bytes", self.max_message_bytes)
            .with("retention_seconds", self.retention_seconds)
            .with("schema", self.schema.as_ref())
            .with("schema_mode", self.schema_mode)
            .with("admission", admission)
    }
}

fn binding(plugin: &PluginVersion, config: Option<&JsonArg>) -> Value {
    let mut binding = json!({ "plugin": plugin.name, "version": plugin.version });
    if let Some(config) = config {
        binding["config"] = config.0.clone();
    }
    binding
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

const LIST_COLUMNS: [&str; 4] = [
    "name",
    "max_message_bytes",
    "retention_seconds",
    "schema_mode",
];
