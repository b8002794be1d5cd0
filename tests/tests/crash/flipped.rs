//! A flipped bit in the log of a follower: it does not start, and the two others go on.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_tests::{Cluster, Load};
use serde_json::json;

use crate::table::Run;
use crate::verdict::judge_cluster;
use crate::{DATA_GROUP, alone, promise};

/// What the damaged event holds: found in the log by it.
const MARK: &[u8] = b"here is where the bit flips";

#[test]
fn a_follower_with_a_damaged_log_does_not_start_and_the_others_go_on() {
    let _alone = alone();
    let mut cluster = Cluster::start(3);
    let mut load = Load::start(&cluster.urls(), 4);
    mark(&mut cluster);
    // Not the last thing in the log: what follows tells damage from a write that was cut off.
    let before = load.deliveries();
    cluster.wait("more load", |_| {
        (load.deliveries() > before + 500).then_some(())
    });

    let leader = cluster.leader(DATA_GROUP).expect("a leader");
    let follower = cluster.numbers().into_iter().find(|node| *node != leader);
    let follower = follower.expect("three nodes");
    let broker = cluster.node(follower);
    assert!(broker.stop().success());
    let (path, at) = marked(&broker.data().join("log"));
    flip(&path, at);
    match broker.try_restart() {
        Ok(()) => panic!("it started on a damaged log:\n{}", broker.log()),
        Err(end) => assert_eq!(end.code(), Some(1), "{}", broker.log()),
    }
    names_the_damage(&broker.log());

    let before = load.deliveries();
    let served = promise::served(&load, &cluster.urls_without(follower));
    cluster.wait("the load to go on", |_| {
        (load.deliveries() > before + 500).then_some(())
    });
    flip(&path, at);
    cluster.node(follower).restart();
    load.drain();
    let figures = judge_cluster(&mut cluster, &load);
    Run::new("flipped bit in a follower's log")
        .after(&[served])
        .record(figures);
    println!("log damaged: the others served after {served:.2?}; {figures:?}");
}

/// Puts the mark into the logs of all nodes: acknowledged, and applied by each of them.
fn mark(cluster: &mut Cluster) {
    let client = cluster.node(1).client();
    client.put("/v1/queues/marked", &json!({})).expect(201);
    let headers = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "marked"),
        ("ce-source", "/crash"),
        ("ce-type", "test.marked"),
    ];
    let path = "/v1/queues/marked/messages";
    client.send("POST", path, &headers, MARK).expect(200);
    for node in cluster.numbers() {
        let log = cluster.node(node).data().join("log");
        cluster.wait("the mark in every log", |_| find(&log));
    }
}

fn names_the_damage(log: &str) {
    assert!(!log.contains("panicked at"), "{log}");
    let words = ["damage", "corrupt", "crc", "checksum"];
    let lower = log.to_lowercase();
    assert!(
        words.iter().any(|word| lower.contains(word)),
        "it does not say what is wrong: {log}"
    );
    println!("it said: {}", log.trim().lines().last().unwrap_or_default());
}

fn marked(log: &Path) -> (PathBuf, usize) {
    find(log).expect("the mark is in the log")
}

/// The file of the log that holds the mark, and where in it.
fn find(log: &Path) -> Option<(PathBuf, usize)> {
    let entries = fs::read_dir(log).expect("a folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find_map(|path| {
        let bytes = fs::read(&path).ok()?;
        let at = bytes
            .windows(MARK.len())
            .position(|window| window == MARK)?;
        Some((path, at))
    })
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x01;
    fs::write(path, bytes).expect("writable");
}
