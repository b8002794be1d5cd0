//! `millrace ack`, `nack` and `extend`: what becomes of received events.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::ClientArgs;
use super::edit::Fields;
use crate::client::{Client, Route};
use crate::failure::Usage;

/// Receipts of one request (the contract's limit).
const RECEIPTS_MAX: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
pub(crate) struct NackArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    what: What,
    /// How long before the events can be received again, in seconds
    #[arg(long, value_name = "S")]
    delay_seconds: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    what: What,
    /// How long the events stay leased from now, in seconds
    #[arg(long, value_name = "S")]
    visibility_seconds: u64,
}

#[derive(Debug, Args)]
struct What {
    /// Name of the queue
    queue: String,
    /// Receipts, as `receive` showed them; `-` reads them from standard input, one a line
    #[arg(required = true)]
    receipts: Vec<String>,
}

impl What {
    async fn settle(
        &self,
        args: &ClientArgs,
        verb: &str,
        done: &str,
        fields: Fields,
    ) -> Result<()> {
        let (mut client, out) = args.open()?;
        let answer = post(&mut client, &self.queue, verb, &self.receipts()?, fields).await?;
        out.done(&format!("{} {done}", answer[done]), &answer)?;
        check(&answer)
    }

    fn receipts(&self) -> Result<Vec<String>> {
        let mut receipts = Vec::new();
        for receipt in &self.receipts {
            if receipt == "-" {
                let lines: Result<Vec<_>, _> = std::io::stdin().lock().lines().collect();
                let lines = lines.context("standard input")?;
                receipts.extend(lines.into_iter().filter(|line| !line.trim().is_empty()));
            } else {
                receipts.push(receipt.clone());
            }
        }
        if receipts.len() > RECEIPTS_MAX {
            return Err(Usage::new(format!(
                "{} receipts; at most {RECEIPTS_MAX} at a time",
                receipts.len()
            ))
            .into());
        }
        Ok(receipts)
    }
}

/// Posts receipts to a verb of a queue.
pub(super) async fn post(
    client: &mut Client,
    queue: &str,
    verb: &str,
    receipts: &[String],
    fields: Fields,
) -> Result<Value> {
    let body = Value::Object(fields.with("receipts", Some(receipts)).0);
    client
        .post(Route::of(["v1", "queues", queue, verb]), &body)
        .await
}

/// Makes receipts that were no longer valid a failure.
pub(super) fn check(answer: &Value) -> Result<()> {
    let failed = answer["failed"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if failed.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = failed
        .iter()
        .map(|one| format!("\n  {}: {}", text(&one["receipt"]), text(&one["code"])))
        .collect();
    bail!(
        "{} receipts were not valid; their leases ended, or the events were settled before{}",
        failed.len(),
        lines.concat()
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Runs `ack`.
pub(crate) async fn ack(args: AckArgs) -> Result<()> {
    args.what
        .settle(&args.client, "ack", "acked", Fields::default())
        .await
}

/// Runs `nack`.
pub(crate) async fn nack(args: NackArgs) -> Result<()> {
    let fields = Fields::default().with("delay_seconds", args.delay_seconds);
    args.what
        .settle(&args.client, "nack", "nacked", fields)
        .await
}

/// Runs `extend`.
pub(crate) async fn extend(args: ExtendArgs) -> Result<()> {
    let fields = Fields::default().with("visibility_seconds", Some(json!(args.visibility_seconds)));
    args.what
        .settle(&args.client, "extend", "extended", fields)
        .await
}
