//! `millrace publish` and `millrace send`.

mod batch;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hyper::Method;

use super::event::EventArgs;
use super::{ClientArgs, Output, explain};
use crate::client::{Client, Route};

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Name of the topic
    topic: String,
    #[command(flatten)]
    what: What,
    /// Show what each subscription did with the event
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Name of the queue
    queue: String,
    #[command(flatten)]
    what: What,
}

/// One event, or a file of them.
#[derive(Debug, Args)]
struct What {
    #[command(flatten)]
    event: EventArgs,
    /// File of CloudEvents in JSON, one a line or one array of them; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "data", "kind", "source", "subject", "id", "attribute", "header", "content_type"])]
    batch_file: Option<PathBuf>,
    /// Key that makes a repetition of the same request harmless (of a batch file: of each of its requests)
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Deliver after so many seconds
    #[arg(long, value_name = "S")]
    delay_seconds: Option<u64>,
}

impl What {
    fn request_headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        headers.extend(
            self.idempotency_key
                .iter()
                .map(|key| ("idempotency-key".to_owned(), key.clone())),
        );
        headers.extend(
            self.delay_seconds
                .map(|delay| ("millrace-delay-seconds".to_owned(), delay.to_string())),
        );
        headers
    }

    async fn post(
        &self,
        client: &mut Client,
        out: Output,
        route: Route,
        explained: bool,
    ) -> Result<()> {
        if let Some(file) = &self.batch_file {
            return batch::post(client, out, &route, file, &self.request_headers()).await;
        }
        let mut request = self.event.request()?;
        request.headers.extend(self.request_headers());
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = client
            .send(Method::POST, route, &headers, request.body)
            .await?
            .json()?;
        if explained {
            explain::print(out, &answer)
        } else {
            out.rows(&answer, "messages", &COLUMNS)
        }
    }
}

const COLUMNS: [&str; 3] = ["id", "sequence", "deliveries"];

/// Runs `publish`.
pub(crate) async fn publish(args: PublishArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let route = Route::of(["v1", "topics", &args.topic, "messages"])
        .query("explain", args.explain.then_some(true));
    args.what.post(&mut client, out, route, args.explain).await
}

/// Runs `publish --explain`, under its other name `plugin explain`.
pub(super) async fn explain(mut args: PublishArgs) -> Result<()> {
    args.explain = true;
    publish(args).await
}

/// Runs `send`.
pub(crate) async fn send(args: SendArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let route = Route::of(["v1", "queues", &args.queue, "messages"]);
    args.what.post(&mut client, out, route, false).await
}
