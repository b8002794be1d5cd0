//! What must hold at the end of every crash test.

use std::path::Path;
use std::process::Command;

use millrace_tests::{Broker, Cluster, Figures, Load, millrace};
use serde_json::Value;

/// Checks the history of the load, stops the broker, and audits what it left on disk.
pub(crate) fn judge(broker: &mut Broker, load: &Load) -> Figures {
    let figures = keeps_its_promises(load);
    println!("{figures:?}, {} deliveries", load.deliveries());
    assert!(broker.stop().success());
    audit(broker.data());
    figures
}

/// Checks the history of the load, waits until all nodes are level, kills them at once, and audits what they left on disk:
/// each equal to a replay of its log, and all equal to each other at the same index.
pub(crate) fn judge_cluster(cluster: &mut Cluster, load: &Load) -> Figures {
    let figures = keeps_its_promises(load);
    cluster.wait_until_level();
    // Not an orderly stop: each hand-over writes an entry that the node which went before does not have.
    let nodes = cluster.numbers();
    nodes.iter().for_each(|node| cluster.node(*node).kill());
    let left = nodes.iter().map(|node| audit(cluster.node(*node).data()));
    let left: Vec<Vec<GroupLeft>> = left.collect();
    for (node, other) in nodes.iter().zip(&left) {
        assert_eq!(*other, left[0], "node {node} and node {}", nodes[0]);
    }
    figures
}

/// The history holds no broken promise.
fn keeps_its_promises(load: &Load) -> Figures {
    let violations = load.history().violations();
    let figures = load.history().figures();
    assert!(
        figures.acknowledged > 100,
        "a load that was no load proves nothing"
    );
    assert_eq!(violations, [], "{} promises broken", violations.len());
    assert_eq!(figures.lost, 0);
    figures
}

/// One group as a directory has it.
#[derive(Debug, PartialEq, Eq)]
struct GroupLeft {
    group: u64,
    last_index: u64,
    digest: String,
}

/// The offline audit finds every invariant kept, and the tables equal to a replay of the log.
fn audit(data: &Path) -> Vec<GroupLeft> {
    let output = Command::new(millrace())
        .args(["check", "--output", "json"])
        .arg(data)
        .output()
        .expect("the binary can be run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let audit: Value = serde_json::from_str(&said).expect("JSON");
    let groups = audit["groups"].as_array().expect("groups");
    assert!(groups.len() >= 2, "the catalog and the data: {audit}");
    groups.iter().map(audited).collect()
}

fn audited(group: &Value) -> GroupLeft {
    assert_eq!(group["violations"], serde_json::json!([]), "{group}");
    // A log that was purged holds too little for a replay.
    let replay = &group["replay_digest"];
    assert!(replay.is_null() || *replay == group["digest"], "{group}");
    GroupLeft {
        group: group["group"].as_u64().expect("a number"),
        last_index: group["last_index"].as_u64().expect("an index"),
        digest: group["digest"].as_str().expect("a digest").to_owned(),
    }
}
