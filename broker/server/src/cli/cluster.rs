//! `millrace cluster …`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ClientArgs;
use crate::client::Route;

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: ClusterVerb,
}

#[derive(Debug, Subcommand)]
enum ClusterVerb {
    /// Show the groups, their leaders and their members
    Status,
}

/// Runs a `cluster` command.
pub(crate) async fn run(args: ClusterArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    let ClusterVerb::Status = args.verb;
    let answer = client.get(Route::of(["v1", "cluster"])).await?;
    if out.is_json() {
        return out.object(&answer);
    }
    out.rows(
        &json!({ "items": members(&answer) }),
        "items",
        &["group", "leader", "term", "node", "state", "match_index"],
    )
}

/// One row for each member of each group.
fn members(answer: &Value) -> Vec<Value> {
    let none = Vec::new();
    let mut rows = Vec::new();
    for group in answer["groups"].as_array().unwrap_or(&none) {
        for member in group["members"].as_array().unwrap_or(&none) {
            let mut row = member.clone();
            row["group"] = group["id"].clone();
            row["leader"] = group["leader"].clone();
            row["term"] = group["term"].clone();
            rows.push(row);
        }
    }
    rows
}
