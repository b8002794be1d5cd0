//! Disks that hang for a while, and disks that are slow: the leader's, and that of a node alone.

use std::time::{Duration, Instant};

use millrace_tests::{Answer, Broker, Client, Cluster, LoopDisk, Setting, SlowDisk};
use serde_json::{Value, json};

use crate::trial::Trial;
use crate::{alone, long, promise, seed};

const DISK_MEBIBYTES: u32 = 2048;
/// How long a disk hangs: longer than a fail-over takes.
const HANGS: Duration = Duration::from_secs(6);
/// How long a disk is slow.
const SLOW: Duration = Duration::from_secs(8);
/// Writes a second that a slow disk takes.
const WRITES_A_SECOND: u32 = 20;
/// The load may stand still for so long when a disk is slow.
const STALL_MAX: Duration = Duration::from_secs(3);

#[test]
fn a_leader_whose_disk_hangs_is_replaced() {
    let _alone = alone();
    let mut trial = on_disks("leader's disk hangs");
    for _ in 0..long(1) {
        let leader = trial.leader();
        let others = trial.others(&[leader]);
        trial.cluster.disk(leader).freeze();
        let served = trial.serves_through(&others);
        println!("served after {served:.2?}");
        std::thread::sleep(HANGS.saturating_sub(served));
        trial.cluster.disk(leader).thaw();
        assert!(served < HANGS, "served only after the disk went on");
        let healed = trial.heals();
        println!("healed after {healed:.2?}");
    }
    trial.end();
}

#[test]
fn a_follower_whose_disk_hangs_holds_up_nobody() {
    let _alone = alone();
    let mut trial = on_disks("follower's disk hangs");
    for _ in 0..long(1) {
        let leader = trial.leader();
        let follower = trial.others(&[leader])[0];
        trial.stalled();
        trial.cluster.disk(follower).freeze();
        std::thread::sleep(HANGS);
        trial.serves_through(&trial.others(&[follower]));
        trial.cluster.disk(follower).thaw();
        let stall = trial.stalled();
        let healed = trial.heals();
        println!(
            "longest stall {:.2?}; healed after {healed:.2?}",
            stall.took
        );
        promise::stalled_briefly(&trial.load, "a follower's disk hangs", stall, STALL_MAX);
    }
    trial.end();
}

#[test]
fn a_leader_with_a_slow_disk_goes_on() {
    let _alone = alone();
    let mut trial = on_disks("leader's disk slow");
    for _ in 0..long(1) {
        let leader = trial.leader();
        trial.stalled();
        let before = trial.load.deliveries();
        let pid = trial.cluster.node(leader).pid();
        let slow = SlowDisk::make(trial.cluster.disk(leader), pid, WRITES_A_SECOND);
        std::thread::sleep(SLOW);
        drop(slow);
        let delivered = trial.load.deliveries() - before;
        let stall = trial.stalled();
        let healed = trial.heals();
        println!(
            "{delivered} deliveries in {SLOW:?}, longest stall {:.2?}; healed after {healed:.2?}",
            stall.took
        );
        promise::stalled_briefly(&trial.load, "the leader's disk is slow", stall, STALL_MAX);
    }
    trial.end();
}

/// Nobody can take over. What was handed to the log may yet take effect; what waits behind it never will, and its sender is told so.
#[test]
fn a_node_alone_whose_disk_hangs_says_what_became_of_each() {
    let _alone = alone();
    let disk = LoopDisk::make(DISK_MEBIBYTES);
    let broker = Broker::start_in(&disk.path().join("data"));
    let client = Client::patient(broker.url(), ANSWERED + QUICK);
    client.put("/v1/queues/q", &json!({})).expect(201);
    send(&client, "before").expect(200);

    let frozen = Frozen::new(&disk);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| timed(|| send(&client, "under way")));
        std::thread::sleep(Duration::from_millis(500));
        let behind = scope.spawn(|| timed(|| send(&client, "behind it")));
        std::thread::sleep(Duration::from_millis(500));
        let (looked, took) = timed(|| client.get("/v1/queues/q"));
        looked.expect(200);
        assert!(took < QUICK, "what needs no disk took {took:?}");

        let (first, took) = first.join().expect("the first sender");
        first.refused(504, "outcome_unknown");
        assert!(took < ANSWERED, "answered after {took:?}");
        let (behind, _) = behind.join().expect("the second sender");
        behind.refused(503, "not_ready");
    });
    let (late, took) = timed(|| send(&client, "later"));
    assert!(late.header("retry-after").is_some(), "{}", late.text());
    late.refused(503, "not_ready");
    assert!(took < QUICK, "refused only after {took:?}");
    drop(frozen);

    let began = Instant::now();
    while send(&client, "after").status != 200 {
        assert!(began.elapsed() < HANGS, "it does not go on");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The outcome of the second was unknown; it came to pass.
    assert_eq!(received(&client), ["before", "under way", "after"]);
    drop(broker);
}

/// A disk that hangs as long as this lives: a broker on it cannot end before.
struct Frozen<'d>(&'d LoopDisk);

impl<'d> Frozen<'d> {
    fn new(disk: &'d LoopDisk) -> Self {
        disk.freeze();
        Self(disk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.thaw_if_frozen();
    }
}

/// A sender is told within this time: a commit's patience, and a look.
const ANSWERED: Duration = Duration::from_secs(12);
/// What waits for no disk is answered within this time.
const QUICK: Duration = Duration::from_secs(2);

fn send(client: &Client, text: &str) -> Answer {
    let plain = [("content-type", "text/plain")];
    client.send("POST", "/v1/queues/q/messages", &plain, text.as_bytes())
}

fn received(client: &Client) -> Vec<String> {
    let answer = client.post("/v1/queues/q/receive", &json!({ "max": 10 }));
    let answer = answer.with(200).json();
    let messages = answer["messages"].as_array().expect("messages").iter();
    let text = |message: &Value| message["event"]["data"].as_str().map(str::to_owned);
    messages.filter_map(text).collect()
}

fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = act();
    (done, began.elapsed())
}

fn on_disks(fault: &'static str) -> Trial {
    let disks = (1..=3).map(|node| (node, LoopDisk::make(DISK_MEBIBYTES)));
    let setting = Setting {
        disks: disks.collect(),
        ..Setting::default()
    };
    let mut trial = Trial::begin(fault, Cluster::start_on(3, setting), seed());
    std::thread::sleep(Duration::from_secs(1));
    trial.stalled();
    trial
}
