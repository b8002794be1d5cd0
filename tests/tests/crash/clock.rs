//! Clocks that jump and run fast (libfaketime): the time of the group does neither.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use millrace_tests::{Client, Cluster, Load, Setting};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::trial::Trial;
use crate::{alone, promise, seed};

/// A lease that no clock may end early, nor keep from ending.
const LEASE: Duration = Duration::from_secs(5);
/// By how much it may be ended early: a fiftieth, and the coarseness of clocks.
const EARLY_MAX: Duration = Duration::from_millis(150);
/// By how much it may end late, after a fail-over.
const LATE_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_clock_of_the_leader_that_jumps_or_runs_fast_moves_no_lease() {
    let _alone = alone();
    let clocks = Clocks::set();
    let mut trial = Trial::begin("clock jumps, clock runs fast", clocks.cluster(), seed());
    let client = Client::new(&trial.cluster.url(1));
    client.put("/v1/queues/leased", &json!({})).expect(201);
    let headers = [("content-type", "text/plain")];
    client
        .send("POST", "/v1/queues/leased/messages", &headers, b"once")
        .expect(200);
    let all = trial.cluster.urls();
    for time in ["+3600", "-3600", "+0 x10", "+0"] {
        let leader = trial.leader();
        let what = format!("clock of the leader set to {time}");
        lease(&trial.load, &all, &what, || clocks.show(leader, time));
        if time.contains("3600") {
            let other = &all[leader as usize % all.len()];
            let (leader, other) = (hour(&trial.cluster.url(leader)), hour(other));
            assert_ne!(leader, other, "the clock shows what it was set to");
        }
    }
    // The next leader's clock was never touched, and it goes on where the first one was.
    let leader = trial.leader();
    clocks.show(leader, "+3600");
    std::thread::sleep(Duration::from_secs(1));
    let others = trial.cluster.urls_without(leader);
    let load = &trial.load;
    let broker = trial.cluster.node(leader);
    lease(
        load,
        &others,
        "the leader with the wrong clock stands still",
        || {
            broker.signal("STOP");
        },
    );
    trial.cluster.node(leader).signal("CONT");
    trial.heals();
    trial.end();
}

/// Leases a message and lets something happen: the message comes again when the lease ends, and not before.
fn lease(load: &Load, doors: &[String], what: &str, happens: impl FnOnce()) {
    let (asked, _) = receive(doors);
    happens();
    let (_, receipt) = receive(doors);
    let took = asked.elapsed();
    println!("{what}: a lease of {LEASE:?} lasted {took:.2?}");
    // Nothing that the machine does to the nodes excuses that.
    assert!(
        took > LEASE - EARLY_MAX,
        "{what}: the lease ended after {took:?}"
    );
    promise::kept(load, what, asked, took, LEASE + LATE_MAX);
    let nack = json!({ "receipts": [receipt] });
    Client::new(&doors[0])
        .post("/v1/queues/leased/nack", &nack)
        .expect(200);
}

/// Asks the nodes in turn for the message, until it comes: when the one was asked that gave it, and its receipt.
fn receive(doors: &[String]) -> (Instant, Value) {
    let began = Instant::now();
    let body = json!({"max": 1, "wait_seconds": 1, "visibility_seconds": LEASE.as_secs()});
    for door in doors.iter().cycle() {
        let asked = Instant::now();
        let answer = Client::new(door).post("/v1/queues/leased/receive", &body);
        if answer.status == 200 {
            let receipt = &answer.json()["messages"][0]["receipt"];
            if !receipt.is_null() {
                return (asked, receipt.clone());
            }
        }
        assert!(
            began.elapsed() < 10 * LATE_MAX,
            "the message does not come: {}",
            answer.text()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    unreachable!("the nodes are asked again and again")
}

/// What the clock of a node shows, up to the hour.
fn hour(url: &str) -> String {
    let answer = Client::new(url).get("/livez");
    let date = answer.header("date").expect("every answer has a date");
    date.split(':').next().unwrap_or_default().to_owned()
}

/// The clocks of three nodes, each to be set by a file.
struct Clocks {
    folder: TempDir,
}

impl Clocks {
    /// All show the time of day.
    fn set() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let clocks = Self { folder };
        (1..=3).for_each(|node| clocks.show(node, "+0"));
        clocks
    }

    fn file(&self, node: u64) -> PathBuf {
        self.folder.path().join(node.to_string())
    }

    /// From now on the clock of a node shows this, in the words of faketime. The monotonic clock never shows anything else.
    fn show(&self, node: u64, time: &str) {
        // Renamed, so that nobody reads half of it.
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, format!("{time}\n")).expect("written");
        std::fs::rename(&beside, self.file(node)).expect("renamed");
    }

    fn cluster(&self) -> Cluster {
        let environment = (1..=3).map(|node| (node, self.variables(node)));
        let environment = environment.collect();
        Cluster::start_on(
            3,
            Setting {
                environment,
                ..Setting::default()
            },
        )
    }

    fn variables(&self, node: u64) -> Vec<(String, String)> {
        let file = self.file(node).display().to_string();
        let preload = library().display().to_string();
        let variables = [
            ("LD_PRELOAD", preload.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        variables.into_iter().map(owned).collect()
    }
}

fn library() -> PathBuf {
    let name = "faketime/libfaketimeMT.so.1";
    let folders = std::fs::read_dir("/usr/lib").expect("a folder");
    let mut found = folders.flatten().map(|folder| folder.path().join(name));
    let found = found.find(|path| path.is_file());
    found.expect("libfaketime is installed (Debian: faketime)")
}
