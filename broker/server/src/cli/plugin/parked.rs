//! The events that a subscription's plugin failed on.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::super::Output;
use super::super::edit::Fields;
use crate::client::{Client, Route};

#[derive(Debug, Args)]
pub(super) struct ParkedArgs {
    /// Name of the topic
    topic: String,
    /// Name of the subscription
    subscription: String,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only what comes after this, as a list's end showed it
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    /// Name of the topic
    topic: String,
    /// Name of the subscription
    subscription: String,
    /// At most so many
    #[arg(long, value_name = "N")]
    max: Option<u64>,
}

const COLUMNS: [&str; 6] = [
    "sequence",
    "parked_at",
    "code",
    "reason",
    "plugin",
    "event/id",
];

impl ParkedArgs {
    pub(super) async fn run(&self, client: &mut Client, out: Output) -> Result<()> {
        let route = parked(&self.topic, &self.subscription);
        let route = route
            .query("limit", self.limit)
            .query("after", self.after.as_ref());
        out.rows(&client.get(route).await?, "items", &COLUMNS)
    }
}

impl RedriveArgs {
    pub(super) async fn run(&self, client: &mut Client, out: Output) -> Result<()> {
        let body = Value::Object(Fields::default().with("max", self.max).0);
        let answer = client
            .post(
                parked(&self.topic, &self.subscription).then("redrive"),
                &body,
            )
            .await?;
        out.done(
            &format!(
                "{} events redriven, {} parked again",
                answer["redriven"], answer["parked"]
            ),
            &answer,
        )
    }
}

fn parked(topic: &str, subscription: &str) -> Route {
    Route::of([
        "v1",
        "topics",
        topic,
        "subscriptions",
        subscription,
        "parked",
    ])
}
