//! `millrace queue …`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::choice::SecondsOrUnlimited;
use super::edit::{self, Fields, ListArgs};
use super::{ClientArgs, Output};
use crate::client::{Client, Route};

/// The fields of a queue's configuration.
const FIELDS: [&str; 11] = [
    "visibility_seconds",
    "retention_seconds",
    "delay_seconds",
    "wait_seconds",
    "max_message_bytes",
    "max_entries",
    "fifo",
    "deduplication_seconds",
    "content_deduplication",
    "rewind_seconds",
    "dead_letter",
];

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
enum QueueVerb {
    /// Create a queue
    Create {
        /// Name of the queue
        name: String,
        #[command(flatten)]
        config: QueueConfig,
    },
    /// List queues
    List(ListArgs),
    /// Show a queue and its counters
    Show {
        /// Name of the queue
        name: String,
    },
    /// Change some of a queue's configuration
    Update {
        /// Name of the queue
        name: String,
        #[command(flatten)]
        config: QueueConfig,
        /// Field to take away, so that the default holds again
        #[arg(long, value_name = "FIELD")]
        unset: Vec<String>,
    },
    /// Delete a queue with everything in it
    Delete {
        /// Name of the queue
        name: String,
    },
    /// Delete everything in a queue
    Purge {
        /// Name of the queue
        name: String,
    },
    /// Look at a queue's events without receiving them
    Peek(PeekArgs),
    /// Send dead letters back to where they came from
    Redrive {
        /// Name of the queue that holds the dead letters
        name: String,
        /// Send them to this queue instead
        #[arg(long, value_name = "QUEUE")]
        to: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N")]
        max: Option<u64>,
    },
}

#[derive(Debug, Args)]
struct QueueConfig {
    /// How long a received event stays leased, in seconds, 0 to 43200
    #[arg(long, value_name = "S")]
    visibility_seconds: Option<u64>,
    /// How long an event is kept, in seconds, or `unlimited`
    #[arg(long, value_name = "S")]
    retention_seconds: Option<SecondsOrUnlimited>,
    /// How long an event waits before it can be received, in seconds
    #[arg(long, value_name = "S")]
    delay_seconds: Option<u64>,
    /// How long a receive waits for an event, in seconds, 0 to 30
    #[arg(long, value_name = "S")]
    wait_seconds: Option<u64>,
    /// Largest event, in bytes
    #[arg(long, value_name = "N")]
    max_message_bytes: Option<u64>,
    /// Most events that the queue holds
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
    /// How long a deduplication key is remembered, in seconds
    #[arg(long, value_name = "S")]
    deduplication_seconds: Option<u64>,
    /// Queue for events that were received too often
    #[arg(long, value_name = "QUEUE", requires = "max_receives")]
    dead_letter_queue: Option<String>,
    /// How often an event may be received before it goes there, 1 to 1000
    #[arg(long, value_name = "N", requires = "dead_letter_queue")]
    max_receives: Option<u32>,
}

impl QueueConfig {
    fn fields(&self) -> Fields {
        let dead_letter = self.dead_letter_queue.as_ref();
        let dead_letter =
            dead_letter.map(|queue| json!({ "queue": queue, "max_receives": self.max_receives }));
        Fields::default()
            .with("visibility_seconds", self.visibility_seconds)
            .with("retention_seconds", self.retention_seconds)
            .with("delay_seconds", self.delay_seconds)
            .with("wait_seconds", self.wait_seconds)
            .with("max_message_bytes", self.max_message_bytes)
            .with("max_entries", self.max_entries)
            .with("deduplication_seconds", self.deduplication_seconds)
            .with("dead_letter", dead_letter)
    }
}

#[derive(Debug, Args)]
struct PeekArgs {
    /// Name of the queue
    name: String,
    /// Only events in these states
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = ["ready", "delayed", "leased"])]
    state: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only what comes after this, as a list's end showed it
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<String>,
}

/// Runs a `queue` command.
pub(crate) async fn run(args: QueueArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let client = &mut client;
    match args.verb {
        QueueVerb::Create { name, config } => {
            edit::create(client, out, route(&name), &name, config.fields()).await
        }
        QueueVerb::List(list) => {
            list.run(client, out, Route::of(["v1", "queues"]), &LIST_COLUMNS)
                .await
        }
        QueueVerb::Show { name } => out.object(&client.get(route(&name)).await?),
        QueueVerb::Update {
            name,
            config,
            unset,
        } => edit::update(client, out, route(&name), &FIELDS, config.fields(), &unset).await,
        QueueVerb::Delete { name } => edit::delete(client, out, route(&name), &name).await,
        QueueVerb::Purge { name } => purge(client, out, &name).await,
        QueueVerb::Peek(peek) => peek.run(client, out).await,
        QueueVerb::Redrive { name, to, max } => redrive(client, out, &name, to, max).await,
    }
}

fn route(name: &str) -> Route {
    Route::of(["v1", "queues", name])
}

async fn purge(client: &mut Client, out: Output, name: &str) -> Result<()> {
    let answer = client.post(route(name).then("purge"), &json!({})).await?;
    out.done(
        &format!("{} events deleted from {name}", answer["purged"]),
        &answer,
    )
}

async fn redrive(
    client: &mut Client,
    out: Output,
    name: &str,
    to: Option<String>,
    max: Option<u64>,
) -> Result<()> {
    let body = Value::Object(Fields::default().with("to", to).with("max", max).0);
    let answer = client.post(route(name).then("redrive"), &body).await?;
    out.done(
        &format!("{} events moved from {name}", answer["moved"]),
        &answer,
    )
}

impl PeekArgs {
    async fn run(&self, client: &mut Client, out: Output) -> Result<()> {
        let states = (!self.state.is_empty()).then(|| self.state.join(","));
        let route = route(&self.name).then("messages");
        let route = route
            .query("state", states)
            .query("limit", self.limit)
            .query("after", self.after.as_ref());
        let answer = client.get(route).await?;
        out.rows(&answer, "items", &PEEK_COLUMNS)
    }
}

const LIST_COLUMNS: [&str; 6] = [
    "name",
    "group",
    "visibility_seconds",
    "retention_seconds",
    "delay_seconds",
    "dead_letter/queue",
];
const PEEK_COLUMNS: [&str; 6] = [
    "sequence",
    "state",
    "receive_count",
    "event/id",
    "event/type",
    "event/data",
];
