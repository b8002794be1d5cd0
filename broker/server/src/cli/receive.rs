//! `millrace receive`.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::edit::Fields;
use super::{ClientArgs, settle};
use crate::client::Route;

#[derive(Debug, Args)]
pub(crate) struct ReceiveArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Name of the queue
    queue: String,
    /// At most so many events, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 1)]
    max: u32,
    /// How long to wait for an event, in seconds, 0 to 30 [default: as the queue says]
    #[arg(long, value_name = "S")]
    wait: Option<u64>,
    /// How long the events stay leased, in seconds [default: as the queue says]
    #[arg(long, value_name = "S")]
    visibility: Option<u64>,
    /// Acknowledge the events once they are printed
    #[arg(long)]
    ack: bool,
}

/// Receives, prints, and acknowledges if asked.
pub(crate) async fn run(args: ReceiveArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let body = Fields::default()
        .with("max", Some(args.max))
        .with("wait_seconds", args.wait)
        .with("visibility_seconds", args.visibility);
    let route = Route::of(["v1", "queues", &args.queue]);
    let answer = client
        .post(route.then("receive"), &Value::Object(body.0))
        .await?;
    let columns: &[&str] = if args.ack { &COLUMNS[1..] } else { &COLUMNS };
    out.rows(&answer, "messages", columns)?;
    let receipts = receipts(&answer);
    if !args.ack || receipts.is_empty() {
        return Ok(());
    }
    settle::check(
        &settle::post(
            &mut client,
            &args.queue,
            "ack",
            &receipts,
            Fields::default(),
        )
        .await?,
    )
}

/// Without a receipt nothing can be acknowledged later: it stands first, and falls away with `--ack`.
const COLUMNS: [&str; 6] = [
    "receipt",
    "sequence",
    "receive_count",
    "event/id",
    "event/type",
    "event/data",
];

fn receipts(answer: &Value) -> Vec<String> {
    let messages = answer["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    messages
        .iter()
        .filter_map(|message| message["receipt"].as_str().map(str::to_owned))
        .collect()
}
