//! `millrace subscription …`

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ClientArgs;
use super::choice::{JsonArg, Pair, PluginVersion};
use super::edit::{self, Fields, ListArgs};
use crate::client::Route;
use crate::failure::Usage;

/// The fields of a subscription.
const FIELDS: [&str; 5] = ["filter", "plugin", "to", "on_failure", "paused"];

#[derive(Debug, Args)]
pub(crate) struct SubscriptionArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: SubscriptionVerb,
}

#[derive(Debug, Subcommand)]
enum SubscriptionVerb {
    /// Subscribe a queue, several destinations or another topic to a topic
    Create {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        config: SubscriptionConfig,
    },
    /// List a topic's subscriptions
    List {
        /// Name of the topic
        topic: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a subscription
    Show {
        #[command(flatten)]
        name: Name,
    },
    /// Change some of a subscription
    Update {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        config: SubscriptionConfig,
        /// Field to take away, so that the default holds again
        #[arg(long, value_name = "FIELD")]
        unset: Vec<String>,
    },
    /// Delete a subscription
    Delete {
        #[command(flatten)]
        name: Name,
    },
}

#[derive(Debug, Args)]
struct Name {
    /// Name of the topic
    topic: String,
    /// Name of the subscription
    name: String,
}

impl Name {
    fn route(&self) -> Route {
        Route::of(["v1", "topics", &self.topic, "subscriptions", &self.name])
    }
}

#[derive(Debug, Args)]
struct SubscriptionConfig {
    /// Deliver to this queue
    #[arg(long, value_name = "QUEUE", group = "target")]
    queue: Option<String>,
    /// Publish to this topic
    #[arg(long, value_name = "TOPIC", group = "target")]
    to_topic: Option<String>,
    /// A destination that a router plugin may choose, as NAME=queue:QUEUE or NAME=topic:TOPIC
    #[arg(long, value_name = "NAME=KIND:NAME", group = "target")]
    destination: Vec<Pair>,
    /// Only events with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',', group = "filters")]
    tags: Vec<String>,
    /// Only events whose routingkey matches one of these patterns: `*` is one word, `#` none or more
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', group = "filters")]
    keys: Vec<String>,
    /// Only events that match this policy: JSON, or a file of it
    #[arg(long = "match", value_name = "JSON|FILE", group = "filters")]
    policy: Option<JsonArg>,
    /// What the policy looks at
    #[arg(long, value_enum, requires = "policy")]
    scope: Option<Scope>,
    /// Plugin that every event goes through after the filter
    #[arg(long, value_name = "NAME@VERSION")]
    plugin: Option<PluginVersion>,
    /// Configuration of that plugin: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE", requires = "plugin")]
    plugin_config: Option<JsonArg>,
    /// What happens to an event that the plugin fails on
    #[arg(long, value_name = "POLICY", value_enum)]
    on_failure: Option<OnFailure>,
    /// Hold events back until the subscription goes on
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    paused: Option<bool>,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Attributes,
    Data,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum OnFailure {
    Park,
    Skip,
    Reject,
}

impl SubscriptionConfig {
    fn fields(&self) -> Result<Fields, Usage> {
        Ok(Fields::default()
            .with("filter", self.filter())
            .with(
                "plugin",
                self.plugin.as_ref().map(|plugin| self.binding(plugin)),
            )
            .with("to", self.to()?)
            .with("on_failure", self.on_failure)
            .with("paused", self.paused))
    }

    fn filter(&self) -> Option<Value> {
        if let Some(policy) = &self.policy {
            return Some(Value::Object(
                Fields::default()
                    .with("match", Some(policy))
                    .with("scope", self.scope)
                    .0,
            ));
        }
        let tags = (!self.tags.is_empty()).then(|| json!({ "tags": self.tags }));
        tags.or_else(|| (!self.keys.is_empty()).then(|| json!({ "keys": self.keys })))
    }

    fn binding(&self, plugin: &PluginVersion) -> Value {
        let mut binding = json!({ "name": plugin.name, "version": plugin.version });
        if let Some(config) = &self.plugin_config {
            binding["config"] = config.0.clone();
        }
        binding
    }

    fn to(&self) -> Result<Option<Value>, Usage> {
        if let Some(queue) = &self.queue {
            return Ok(Some(json!({ "queue": queue })));
        }
        if let Some(topic) = &self.to_topic {
            return Ok(Some(json!({ "topic": topic })));
        }
        if self.destination.is_empty() {
            return Ok(None);
        }
        let mut destinations = Map::new();
        for pair in &self.destination {
            destinations.insert(pair.name.clone(), destination(pair)?);
        }
        Ok(Some(json!({ "destinations": destinations })))
    }
}

/// `NAME=queue:QUEUE` or `NAME=topic:TOPIC`; a bare `NAME=QUEUE` is a queue.
fn destination(pair: &Pair) -> Result<Value, Usage> {
    match pair.value.split_once(':') {
        None => Ok(json!({ "queue": pair.value })),
        Some((kind @ ("queue" | "topic"), name)) => Ok(json!({ kind: name })),
        Some((kind, _)) => Err(Usage::new(format!(
            "--destination {}: {kind} is neither queue nor topic",
            pair.name
        ))),
    }
}

/// Runs a `subscription` command.
pub(crate) async fn run(args: SubscriptionArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let client = &mut client;
    match args.verb {
        SubscriptionVerb::Create { name, config } => {
            let fields = config.fields()?;
            if !fields.0.contains_key("to") {
                return Err(Usage::new(
                    "say where events go: --queue, --to-topic or --destination",
                )
                .into());
            }
            edit::create(client, out, name.route(), &name.name, fields).await
        }
        SubscriptionVerb::List { topic, list } => {
            let route = Route::of(["v1", "topics", &topic, "subscriptions"]);
            list.run(
                client,
                out,
                route,
                &["name", "to", "filter", "plugin", "on_failure", "paused"],
            )
            .await
        }
        SubscriptionVerb::Show { name } => out.object(&client.get(name.route()).await?),
        SubscriptionVerb::Update {
            name,
            config,
            unset,
        } => edit::update(client, out, name.route(), &FIELDS, config.fields()?, &unset).await,
        SubscriptionVerb::Delete { name } => {
            edit::delete(client, out, name.route(), &name.name).await
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        config: SubscriptionConfig,
    }

    fn body(line: &[&str]) -> Value {
        let line = Line::try_parse_from([&["x"], line].concat()).expect("a right command line");
        Value::Object(line.config.fields().expect("right values").0)
    }

    #[test]
    fn options_become_the_contracts_fields() {
        assert_eq!(
            body(&["--queue", "q", "--tags", "a,b"]),
            json!({"to": {"queue": "q"}, "filter": {"tags": ["a", "b"]}})
        );
        let line = [
            "--destination",
            "eu=queue:q1",
            "--destination",
            "us=topic:t",
            "--plugin",
            "r@1.0.0",
            "--plugin-config",
            "{\"a\":1}",
        ];
        let expected = json!({"to": {"destinations": {"eu": {"queue": "q1"}, "us": {"topic": "t"}}},
            "plugin": {"name": "r", "version": "1.0.0", "config": {"a": 1}}});
        assert_eq!(body(&line), expected);
        let line = [
            "--to-topic",
            "t",
            "--match",
            "{\"type\":[\"a\"]}",
            "--scope",
            "data",
            "--on-failure",
            "skip",
            "--paused",
        ];
        let expected = json!({"to": {"topic": "t"}, "filter": {"match": {"type": ["a"]}, "scope": "data"},
            "on_failure": "skip", "paused": true});
        assert_eq!(body(&line), expected);
    }

    #[test]
    fn two_targets_or_two_filters_are_refused() {
        assert!(Line::try_parse_from(["x", "--queue", "q", "--to-topic", "t"]).is_err());
        assert!(Line::try_parse_from(["x", "--tags", "a", "--keys", "b"]).is_err());
    }
}
