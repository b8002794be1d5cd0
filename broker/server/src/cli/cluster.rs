//! `millrace cluster …`

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{ClientArgs, Output, moving, output};
use crate::client::{Client, Payload, Route};
use crate::config::member;

/// How often a node that catches up is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
    /// Add a node that was started with the members and itself in --cluster; it gets its votes when it has caught up
    Add {
        /// The node, as N=HOST:PORT of its peer address
        #[arg(value_name = "N=HOST:PORT", value_parser = member)]
        member: (u64, String),
        /// Longest wait for it to catch up, in seconds; 0 does not wait
        #[arg(long, default_value_t = 600)]
        wait: u64,
    },
    /// Remove a node, whether it runs or not
    Remove {
        /// Its number
        node: u64,
    },
    /// Make a node the leader
    Transfer {
        /// Its number
        node: u64,
        /// Of this group [default: of all]
        #[arg(long)]
        group: Option<u32>,
    },
    /// Move a queue to another data group while it is used, with the queues that dead letters tie to it
    Move {
        /// The queue
        queue: String,
        /// The group
        group: u32,
        /// Longest wait until it is there, in seconds; 0 does not wait
        #[arg(long, default_value_t = 3_600)]
        wait: u64,
    },
}

/// Runs a `cluster` command.
pub(crate) async fn run(args: ClusterArgs) -> Result<()> {
    let (mut client, out) = args.client.open()?;
    match args.verb {
        ClusterVerb::Status => {}
        ClusterVerb::Add { member, wait } => add(&mut client, member, wait).await?,
        ClusterVerb::Remove { node } => {
            let route = Route::of(["v1", "cluster", "members", &node.to_string()]);
            client.delete(route).await?;
        }
        ClusterVerb::Transfer { node, group } => {
            let body = group.map_or_else(
                || json!({ "node": node }),
                |group| json!({ "node": node, "group": group }),
            );
            post(&mut client, Route::of(["v1", "cluster", "transfer"]), &body).await?;
        }
        ClusterVerb::Move { queue, group, wait } => {
            return moving::run(&mut client, out, &queue, group, wait).await;
        }
    }
    status(&mut client, out).await
}

async fn post(client: &mut Client, route: Route, body: &Value) -> Result<()> {
    let headers = [("content-type", "application/json")];
    let body = Payload::json(body);
    client.send(Method::POST, route, &headers, body).await?;
    Ok(())
}

async fn show(client: &mut Client) -> Result<Value> {
    client.get(Route::of(["v1", "cluster"])).await
}

async fn status(client: &mut Client, out: Output) -> Result<()> {
    let answer = show(client).await?;
    if out.is_json() {
        return out.object(&answer);
    }
    out.rows(
        &json!({ "items": members(&answer) }),
        "items",
        &[
            "group",
            "leader",
            "term",
            "node",
            "state",
            "match_index",
            "format",
            "supports",
        ],
    )
}

async fn add(client: &mut Client, (node, address): (u64, String), wait: u64) -> Result<()> {
    let body = json!({ "node": node, "address": address });
    post(client, Route::of(["v1", "cluster", "members"]), &body).await?;
    let deadline = Instant::now() + Duration::from_secs(wait);
    let bar = output::progress(0, "entries", "catching up");
    let caught_up = catch_up(client, node, deadline, &bar).await;
    bar.finish_and_clear();
    match caught_up? {
        false if wait > 0 => {
            bail!("node {node} is added and has not caught up yet; see `millrace cluster status`")
        }
        _ => Ok(()),
    }
}

/// Whether the node votes in every group before `deadline`.
async fn catch_up(
    client: &mut Client,
    node: u64,
    deadline: Instant,
    bar: &ProgressBar,
) -> Result<bool> {
    loop {
        let rows = members(&show(client).await?);
        let index = |row: &&Value| row["match_index"].as_u64().unwrap_or(0);
        let of_leader = |row: &&Value| row["node"] == row["leader"];
        let own = |row: &&Value| row["node"] == node;
        bar.set_length(rows.iter().filter(of_leader).map(|row| index(&row)).sum());
        bar.set_position(rows.iter().filter(own).map(|row| index(&row)).sum());
        let own: Vec<_> = rows.iter().filter(own).collect();
        let votes = own.iter().all(|row| row["state"] != "learner");
        if !own.is_empty() && votes {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
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
            row["format"] = answer["format_version"].clone();
            row["supports"] = supported(answer, &row["node"]);
            rows.push(row);
        }
    }
    rows
}

/// The formats that a node supports, for people; `null` when that is not known.
fn supported(answer: &Value, node: &Value) -> Value {
    let mut nodes = answer["nodes"].as_array().into_iter().flatten();
    let node = nodes.find(|one| one["node"] == *node);
    let range = node.and_then(|node| {
        let end = |key: &str| node[key].as_u64();
        Some((end("format_version_min")?, end("format_version_max")?))
    });
    range.map_or(Value::Null, |(min, max)| json!(format!("{min}–{max}")))
}
