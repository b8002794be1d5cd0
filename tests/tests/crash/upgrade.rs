//! Three nodes of version 1, upgraded one after the other under load; and one that tries to go back.
//!
//! The older version is the same binary, told to behave so; with `MILLRACE_OLD_BIN` naming a broker of version 1, also that.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_tests::{Client, Cluster, Load, Setting};
use serde_json::{Value, json};

use crate::table::Run;
use crate::verdict::judge_cluster;
use crate::{alone, promise, seed};

/// Tells a broker to behave as one of that version.
const VERSION_MAX: &str = "MILLRACE_FORMAT_VERSION_MAX";

/// The version that the upgrade ends at.
const NEWEST: u64 = 4;

/// Longer than the members must have supported a version before the cluster is raised to it.
const A_WHILE: Duration = Duration::from_secs(5);

#[test]
fn a_rolling_upgrade_loses_nothing_and_a_way_back_is_refused() {
    let _alone = alone();
    let seed = seed();
    let mut cluster = start_old();
    let mut load = Load::start(&cluster.urls(), seed);
    for node in cluster.numbers() {
        std::thread::sleep(A_WHILE);
        assert_eq!(
            versions(&cluster),
            vec![1; node as usize - 1],
            "before {node}"
        );
        upgrade(&mut cluster, &load, node);
    }
    cluster.wait("the raise on all nodes", |cluster| {
        (versions(cluster) == [NEWEST; 3]).then_some(())
    });
    says_so(&cluster);
    let stall = load.stall();
    refuses_the_way_back(&mut cluster, 2);
    load.drain();
    let figures = judge_cluster(&mut cluster, &load);
    let mut run = Run::new("rolling upgrade");
    run.stall = stall.took;
    run.record(figures);
    println!(
        "rolling upgrade: longest stall {:.2?}; {figures:?}",
        stall.took
    );
}

/// Three nodes that behave as version 1 does.
fn start_old() -> Cluster {
    let old = || vec![(VERSION_MAX.to_owned(), "1".to_owned())];
    let environment = (1..=3).map(|node| (node, old())).collect();
    let setting = Setting {
        environment,
        ..Setting::default()
    };
    let mut cluster = Cluster::start_on(3, setting);
    for node in cluster.numbers() {
        cluster.node(node).stop();
        be_old(&mut cluster, node);
        cluster.node(node).restart();
    }
    cluster
}

/// From the next start on, the node is of version 1.
fn be_old(cluster: &mut Cluster, node: u64) {
    let broker = cluster.node(node);
    broker.set(VERSION_MAX, "1");
    if let Ok(binary) = std::env::var("MILLRACE_OLD_BIN") {
        // Its name stands where that of the new one does.
        let words = ["sh", "-c", &format!("shift; exec {binary} \"$@\""), "sh"];
        broker.run_in(words.map(str::to_owned).to_vec());
    }
}

/// From the next start on, the node is of the newest version.
fn be_new(cluster: &mut Cluster, node: u64) {
    cluster.node(node).unset_all();
    cluster.node(node).run_in(Vec::new());
}

fn upgrade(cluster: &mut Cluster, load: &Load, node: u64) {
    assert!(cluster.node(node).stop().success());
    be_new(cluster, node);
    cluster.node(node).restart();
    let served = promise::served(load, &[cluster.url(node)]);
    println!("node {node} upgraded; it serves after {served:.2?}");
}

fn status(cluster: &Cluster, node: u64) -> Value {
    Client::new(&cluster.url(node))
        .get("/v1/cluster")
        .with(200)
        .json()
}

/// The format version of the cluster, as each of the nodes says that are upgraded.
fn versions(cluster: &Cluster) -> Vec<u64> {
    let answers = cluster
        .numbers()
        .into_iter()
        .map(|node| status(cluster, node));
    let is_new = |answer: &Value| {
        let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
        let mut own = nodes.iter().filter(|node| node["node"] == answer["node"]);
        own.any(|own| own["format_version_max"] == NEWEST)
    };
    let answers = answers.filter(is_new);
    answers
        .map(|answer| answer["format_version"].as_u64().expect("a number"))
        .collect()
}

/// Every node tells what every node supports, and so does the command.
fn says_so(cluster: &Cluster) {
    let nodes = status(cluster, 1)["nodes"].clone();
    let one = |node| json!({"node": node, "format_version_min": 1, "format_version_max": NEWEST});
    assert_eq!(nodes, json!([one(1), one(2), one(3)]));
    let output = cluster.command(1, &["status", "--output", "json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains(&format!("\"format_version\": {NEWEST}"))
            || said.contains(&format!("\"format_version\":{NEWEST}")),
        "{said}"
    );
}

/// A node that comes back as version 1 ends with the reason, changes nothing, and serves again as what it was.
fn refuses_the_way_back(cluster: &mut Cluster, node: u64) {
    assert!(cluster.node(node).stop().success());
    let data = cluster.node(node).data().to_owned();
    let before = files(&data);
    be_old(cluster, node);
    let end = cluster.node(node).try_restart().expect_err("refused");
    assert!(!end.success());
    let said = cluster.node(node).log();
    let is_told =
        said.contains(&format!("format {NEWEST}")) && said.contains("start the newer broker");
    assert!(is_told, "{said}");
    println!("the way back: {}", said.trim());
    assert!(
        files(&data) == before,
        "the data of node {node} is untouched"
    );
    be_new(cluster, node);
    cluster.node(node).restart();
}

/// All files with a digest of what they hold.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
            continue;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&std::fs::read(&path).expect("a file"));
        found.insert(path, hasher.finish());
    }
    found
}
