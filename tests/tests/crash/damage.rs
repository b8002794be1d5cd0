//! Torn, flipped and zeroed bytes in everything that a node keeps: of one node of three, and of all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use millrace_tests::{Client, Cluster, millrace};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lost_disk::replace;
use crate::trial::Trial;
use crate::wound::{PLACES, WOUNDS, Wound, wound};
use crate::{alone, long, seed};

/// Events that stay in a queue, so that a node that was away gets them in a snapshot: more bytes than the log keeps.
const BULK_EVENTS: usize = 1000;
static BULK: [u8; 256 * 1024] = [b'x'; 256 * 1024];
/// A damaged node says so within this time, or serves.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// Events that the load delivers through a node that was damaged, before it is believed.
const DELIVERED: u64 = 100;

/// What became of a damaged node.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It did not start, and said why. It wrote nothing.
    Refused(String),
    /// It started, found out, ended, and said why.
    Ended(String),
    /// It serves only right bytes, and will find the damage when it comes to it; `millrace check` finds it now.
    Unnoticed,
    /// It serves, as it should.
    Whole,
}

#[test]
fn a_damaged_node_serves_no_wrong_byte_and_says_why() {
    let _alone = alone();
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut trial = Trial::begin("damaged files of one node", Cluster::start(3), seed);
    let leader = trial.leader();
    let mut patient = trial.others(&[leader])[0];
    install_snapshot(&mut trial, patient);
    for place in PLACES {
        let turn = random.usize(..WOUNDS.len());
        for wound in WOUNDS
            .iter()
            .cycle()
            .skip(turn)
            .take(long(1).min(3) as usize)
        {
            patient = damage(&mut trial, patient, place, *wound);
        }
    }
    trial.end();
}

/// Damages one file of a node, starts it, and heals it: by the bytes as they were when it wrote nothing, or by another
/// node in its place. Which node is damaged next.
fn damage(trial: &mut Trial, patient: u64, place: &str, how: Wound) -> u64 {
    assert!(trial.cluster.node(patient).stop().success());
    let data = trial.cluster.node(patient).data().to_owned();
    let copy = TempDir::new().expect("a temporary folder");
    mirror(&data, copy.path());
    let Some(path) = wound(&data, place, how) else {
        println!("{place}: there is none");
        trial.cluster.node(patient).restart();
        return patient;
    };
    let (passes, check) = checked(&data);
    let fate = fate(trial, patient);
    // Of the watermark there are two copies.
    assert!(
        !passes || fate == Fate::Whole,
        "check finds nothing: {fate:?}"
    );
    let file = path
        .strip_prefix(&data)
        .expect("within")
        .display()
        .to_string();
    println!("{how:?} {place} ({file}): check says: {check}; fate: {fate:?}");
    match fate {
        Fate::Whole => patient,
        Fate::Refused(_) => {
            trial.serves_through(&trial.others(&[patient]));
            trial.run.fail_overs.pop();
            mirror(copy.path(), &data);
            trial.cluster.node(patient).restart();
            patient
        }
        Fate::Ended(_) | Fate::Unnoticed => reseed(trial, patient),
    }
}

/// Starts a damaged node and lets it lead: it refuses, or it ends, or every byte that it serves is right.
fn fate(trial: &mut Trial, patient: u64) -> Fate {
    let broker = trial.cluster.node(patient);
    if let Err(end) = broker.try_restart() {
        assert_eq!(end.code(), Some(1), "{}", broker.log());
        return Fate::Refused(reason(&broker.log()));
    }
    let url = trial.cluster.url(patient);
    lead(trial, patient);
    let before = trial.load.deliveries();
    let client = Client::patient(&url, KNOWN_WITHIN);
    let is_read = reads_bulk(&client);
    trial.cluster.wait("the load to go on", |_| {
        (trial.load.deliveries() >= before + DELIVERED).then_some(())
    });
    let broker = trial.cluster.node(patient);
    if is_read && !broker.has_ended() {
        assert!(broker.stop().success(), "{}", broker.log());
        let (is_whole, _) = checked(broker.data());
        broker.restart();
        return if is_whole {
            Fate::Whole
        } else {
            Fate::Unnoticed
        };
    }
    let end = broker.wait_for_end(KNOWN_WITHIN);
    assert!(!end.success(), "{}", broker.log());
    Fate::Ended(reason(&broker.log()))
}

/// Makes the node lead, if it can.
fn lead(trial: &mut Trial, node: u64) {
    for _ in 0..20 {
        if trial.cluster.leader(crate::DATA_GROUP) == Some(node)
            || trial.cluster.node(node).has_ended()
        {
            return;
        }
        let _ = trial
            .cluster
            .command(node, &["transfer", &node.to_string()]);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Looks at all of the bulk through a node; `false` when it refuses, or goes away over it. Never a wrong byte.
fn reads_bulk(client: &Client) -> bool {
    let mut page = String::new();
    loop {
        let path = format!("/v1/queues/bulk/messages?limit=50{page}");
        let Ok(answer) = client.call("GET", &path, &[], None) else {
            return false;
        };
        if answer.status != 200 {
            return false;
        }
        let json = answer.json();
        let messages = json["items"].as_array().expect("messages");
        assert!(messages.iter().all(is_right), "a wrong byte is served");
        match json["next"].as_str() {
            Some(next) => page = format!("&after={next}"),
            None => return true,
        }
    }
}

fn is_right(message: &Value) -> bool {
    let data = message["event"]["data"].as_str();
    data.is_some_and(|data| data.len() == BULK.len() && data.bytes().all(|byte| byte == b'x'))
}

/// The last thing that it said, which names the damage.
fn reason(log: &str) -> String {
    assert!(!log.contains("panicked at"), "{log}");
    let words = [
        "damage",
        "corrupt",
        "crc",
        "checksum",
        "lost",
        "missing",
        "gone",
        "cannot be read",
    ];
    let lower = log.to_lowercase();
    assert!(
        words.iter().any(|word| lower.contains(word)),
        "it does not say what is wrong: {log}"
    );
    log.trim().lines().last().unwrap_or_default().to_owned()
}

/// Whether `millrace check` lets it pass, and what it says.
fn checked(data: &Path) -> (bool, String) {
    let mut check = Command::new(millrace());
    let output = check.args(["check", "--output", "json"]).arg(data).output();
    let output = output.expect("the binary can be run");
    if output.status.success() {
        return (true, "it passes".to_owned());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let audit: Value = serde_json::from_str(&said).unwrap_or_default();
    let groups = audit["groups"].as_array().cloned().unwrap_or_default();
    let mut violations = groups
        .iter()
        .flat_map(|group| group["violations"].as_array().cloned());
    let violation = violations.find_map(|list| list.first().map(Value::to_string));
    let errors = String::from_utf8_lossy(&output.stderr);
    (
        false,
        reason(&violation.unwrap_or_else(|| errors.into_owned())),
    )
}

/// The node takes on so much in its absence that it gets a snapshot.
fn install_snapshot(trial: &mut Trial, node: u64) {
    trial.cluster.node(node).kill();
    let door = trial.others(&[node])[0];
    let client = Client::new(&trial.cluster.url(door));
    client.put("/v1/queues/bulk", &json!({})).expect(201);
    for _ in 0..BULK_EVENTS {
        let headers = [("content-type", "text/plain")];
        client
            .send("POST", "/v1/queues/bulk/messages", &headers, &BULK)
            .expect(200);
    }
    trial.cluster.node(node).restart();
    let broker = trial.cluster.node(node);
    let began = std::time::Instant::now();
    while !broker.log().contains("snapshot of the leader is installed") {
        assert!(
            began.elapsed() < KNOWN_WITHIN,
            "no snapshot came: {}",
            broker.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Another node takes the place of a damaged one, with empty data.
fn reseed(trial: &mut Trial, patient: u64) -> u64 {
    let others = trial.others(&[patient]);
    let newcomer = trial.cluster.numbers().into_iter().max().expect("nodes") + 1;
    // It may have led: until there is another leader nobody can be removed.
    trial.serves_through(&others);
    trial.run.fail_overs.pop();
    trial.leader();
    replace(&mut trial.cluster, patient, others[0], newcomer);
    trial.load.point_to(&trial.cluster.urls());
    newcomer
}

#[test]
fn three_damaged_nodes_refuse_and_none_starts_empty() {
    let _alone = alone();
    let seed = seed();
    let mut trial = Trial::begin("damaged logs of all nodes", Cluster::start(3), seed);
    trial.goes_on(500);
    let nodes = trial.cluster.numbers();
    for node in &nodes {
        assert!(trial.cluster.node(*node).stop().success());
    }
    let copies: Vec<TempDir> = nodes
        .iter()
        .map(|_| TempDir::new().expect("a temporary folder"))
        .collect();
    for (node, how) in nodes.iter().zip(WOUNDS) {
        let data = trial.cluster.node(*node).data().to_owned();
        mirror(&data, copies[*node as usize - 1].path());
        wound(&data, "log", how).expect("there is a log");
        println!("{how:?} log: check says: {}", checked(&data).1);
    }
    // All at once: none may wait for another.
    nodes
        .iter()
        .for_each(|node| trial.cluster.node(*node).spawn());
    for node in &nodes {
        let broker = trial.cluster.node(*node);
        assert_eq!(
            broker.wait_for_end(KNOWN_WITHIN).code(),
            Some(1),
            "{}",
            broker.log()
        );
        println!("node {node} said: {}", reason(&broker.log()));
    }
    for node in &nodes {
        let data: PathBuf = trial.cluster.node(*node).data().to_owned();
        mirror(copies[*node as usize - 1].path(), &data);
        trial.cluster.node(*node).spawn();
    }
    trial.heals();
    trial.end();
}

/// Makes `to` the same as `from`.
fn mirror(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let mut copy = Command::new("cp");
    let copied = copy
        .args(["-a", "--sparse=always"])
        .arg(from)
        .arg(to)
        .status();
    assert!(copied.expect("cp is there").success());
}
