//! Three nodes with two data groups, and queues that move back and forth between them while nodes are killed.

use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_tests::{Client, Cluster, Setting, millrace};
use serde_json::{Value, json};

use crate::trial::Trial;
use crate::{alone, long, seed};

/// Each way once, so many times; more for a long run.
const ROUNDS: u32 = 3;

/// A queue that nobody consumes: it makes a move last.
const BACKLOG: &str = "backlog";
/// How many messages it has, all in all.
const BACKLOG_MESSAGES: usize = 20_000;
const AT_ONCE: usize = 1_000;

/// A queue of the load, which is used all the time.
const USED: &str = "crash-a";

/// The format that brought moves.
const NEEDED: u64 = 3;

#[test]
fn queues_move_back_and_forth_under_kills_and_lose_nothing() {
    let _alone = alone();
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut trial = Trial::begin("moves of queues", start(), seed);
    fill(&trial.cluster);
    let mut took = Vec::new();
    for round in 0..long(ROUNDS) * 2 {
        let to = 2 - round % 2;
        // The leader of the group that is left, of the other one, and of the catalog.
        let group = [u64::from(3 - to), u64::from(to), 0][(round / 2) as usize % 3];
        let victim = trial
            .cluster
            .wait("a leader", |cluster| cluster.leader(group));
        let door = trial.cluster.url(trial.others(&[victim])[0]);
        let began = Instant::now();
        let moves = [BACKLOG, USED].map(|queue| begin_move(&door, queue, to));
        std::thread::sleep(Duration::from_millis(random.u64(0..400)));
        trial.cluster.node(victim).kill();
        std::thread::sleep(Duration::from_millis(random.u64(0..3_000)));
        trial.cluster.node(victim).spawn();
        trial.cluster.node(victim).get_ready();
        for (queue, mover) in [BACKLOG, USED].into_iter().zip(moves) {
            ends(&trial.cluster, queue, to, mover);
        }
        took.push(began.elapsed());
        trial.goes_on(100);
    }
    println!("moves of {BACKLOG_MESSAGES} and of a used queue, with a kill: {took:.1?}");
    drain(&trial.cluster);
    trial.end();
}

/// Three nodes that know how to move queues.
fn start() -> Cluster {
    let groups = || vec![("MILLRACE_GROUPS".to_owned(), "2".to_owned())];
    let setting = Setting {
        environment: (1..=3).map(|node| (node, groups())).collect(),
        ..Setting::default()
    };
    let cluster = Cluster::start_on(3, setting);
    cluster.wait("the format that moves need", |cluster| {
        let mut nodes = cluster.numbers().into_iter();
        let version = |node| {
            let status = Client::new(&cluster.url(node)).get("/v1/cluster");
            status.with(200).json()["format_version"].as_u64()
        };
        nodes
            .all(|node| version(node) >= Some(NEEDED))
            .then_some(())
    });
    cluster
}

/// Sends the backlog, in batches.
fn fill(cluster: &Cluster) {
    let client = Client::new(&cluster.url(1));
    let config = json!({"retention_seconds": null});
    let path = format!("/v1/queues/{BACKLOG}");
    client.put(&path, &config).expect(201);
    for batch in 0..BACKLOG_MESSAGES / AT_ONCE {
        let event = |number: usize| {
            let id = (batch * AT_ONCE + number + 1).to_string();
            json!({"specversion": "1.0", "id": id, "source": "/crash", "type": "test.crash"})
        };
        let events = Value::from_iter((0..AT_ONCE).map(event)).to_string();
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let path = format!("{path}/messages");
        let sent = client.call("POST", &path, &headers, Some(events.as_bytes()));
        let sent = sent.expect("an answer").with(200).json();
        assert_eq!(sent["messages"].as_array().map(Vec::len), Some(AT_ONCE));
    }
}

/// The command, as an operator would type it: it waits until the queue is there.
fn begin_move(door: &str, queue: &str, to: u32) -> JoinHandle<Output> {
    let mut command = Command::new(millrace());
    command
        .args(["cluster", "move", queue, &to.to_string(), "--wait", "60"])
        .args(["--output", "json", "--server", door]);
    std::thread::spawn(move || command.output().expect("the binary can be run"))
}

/// The move comes to its end. A command that was told something else by a node that had just lost its leader is given again.
fn ends(cluster: &Cluster, queue: &str, to: u32, mover: JoinHandle<Output>) {
    let first = mover.join().expect("no panic");
    let mut last = first;
    let end = Instant::now() + Duration::from_secs(60);
    while !last.status.success() && Instant::now() < end {
        last = begin_move(&cluster.url(1), queue, to)
            .join()
            .expect("no panic");
    }
    let errors = String::from_utf8_lossy(&last.stderr);
    assert!(last.status.success(), "{queue} to {to}: {errors}");
    let said: Value = serde_json::from_slice(&last.stdout).expect("JSON");
    assert_eq!(
        (&said["group"], &said["is_moving"]),
        (&json!(to), &json!(false))
    );
    let shown = Client::new(&cluster.url(1)).get(&format!("/v1/queues/{queue}"));
    let shown = shown.with(200).json();
    assert_eq!(
        (&shown["group"], &shown["moving"]),
        (&json!(to), &Value::Null)
    );
    if queue == BACKLOG {
        assert_eq!(shown["counters"]["ready"], BACKLOG_MESSAGES);
    }
}

/// Each message of the backlog is there once, and in order.
fn drain(cluster: &Cluster) {
    let client = Client::new(&cluster.url(1));
    let mut next = 1;
    while next <= BACKLOG_MESSAGES {
        let path = format!("/v1/queues/{BACKLOG}/receive");
        let got = client.post(&path, &json!({"max": 1_000})).with(200).json();
        let messages = got["messages"].as_array().expect("messages");
        assert!(!messages.is_empty(), "nothing behind {next}");
        for message in messages {
            assert_eq!(message["event"]["id"], next.to_string());
            assert_eq!(message["sequence"], next);
            assert_eq!(message["receive_count"], 1);
            next += 1;
        }
        let receipts: Vec<_> = messages.iter().map(|it| &it["receipt"]).collect();
        let path = format!("/v1/queues/{BACKLOG}/ack");
        let acked = client.post(&path, &json!({ "receipts": receipts }));
        assert_eq!(acked.with(200).json()["acked"], messages.len());
    }
}
