//! Full disks in a cluster: a follower's, and the leader's.

use std::time::{Duration, Instant};

use millrace_tests::{Answer, Client, Cluster, LoopDisk, Setting};
use serde_json::json;

use crate::trial::Trial;
use crate::{alone, promise, seed};

/// Room for the log's first segments and the tables' reserve, and for little more.
const DISK_MEBIBYTES: u32 = 1024;
/// One event of the bulk that fills a disk.
static BULK: [u8; 256 * 1024] = [b'x'; 256 * 1024];
/// More than any node can take in whose disk is full: three segments.
const BULK_EVENTS: usize = 800;
/// Events of the bulk that are there to be received when a disk is full.
const BEFORE: usize = 20;
/// What a node without room says of itself comes within this time.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The load may stand still for so long when a follower has no room.
const STALL_MAX: Duration = Duration::from_secs(3);

#[test]
fn a_follower_without_room_holds_up_nobody() {
    let _alone = alone();
    let mut trial = on_disks("follower's disk full");
    let leader = trial.leader();
    let follower = trial.others(&[leader])[0];
    let served = trial.others(&[follower]);
    trial.cluster.disk(follower).fill();
    let client = Client::new(&trial.cluster.url(served[1]));
    for _ in 0..BULK_EVENTS {
        bulk(&client).expect(200);
    }
    let behind = lag(&trial, leader, follower);
    trial.goes_on(200);
    let stall = trial.stalled();
    println!(
        "the follower lacks {behind} entries; longest stall {:.2?}",
        stall.took
    );
    assert!(behind > 0, "its disk was not full");
    promise::stalled_briefly(&trial.load, "a follower without room", stall, STALL_MAX);
    let asked = Instant::now();
    Client::new(&trial.cluster.url(follower))
        .get("/livez")
        .expect(200);
    promise::kept(
        &trial.load,
        "/livez of the full node",
        asked,
        asked.elapsed(),
        ANSWER_MAX,
    );
    assert!(!trial.cluster.node(follower).has_ended(), "it ended");

    trial.cluster.disk(follower).empty();
    let healed = trial.heals();
    println!("room again: healed after {healed:.2?}");
    trial.end();
}

#[test]
fn a_leader_without_room_refuses_writes_and_serves_the_rest() {
    let _alone = alone();
    let mut trial = on_disks("leader's disk full");
    let leader = trial.leader();
    let client = Client::new(&trial.cluster.url(leader));
    for _ in 0..BEFORE {
        bulk(&client).expect(200);
    }
    trial.cluster.disk(leader).fill();
    let statuses: Vec<u16> = (0..BULK_EVENTS).map(|_| bulk(&client).status).collect();
    let is_expected = |status: &u16| matches!(status, 200 | 503 | 504 | 507);
    assert!(statuses.iter().all(is_expected), "{statuses:?}");
    let refused = statuses.iter().filter(|status| **status == 507).count();
    // It says so, or hands over to a node that has room.
    let next = trial.leader();
    println!("{refused} of {BULK_EVENTS} refused with 507; led by {leader}, then by {next}");
    assert!(refused > 0 || next != leader, "its disk was not full");
    // A node without room that leads no more serves nothing: nor can it note for whom it voted.
    let full = if next == leader { 0 } else { leader };
    for node in trial.others(&[full]) {
        let client = Client::new(&trial.cluster.url(node));
        client.get("/v1/queues/bulk").expect(200);
        let receive = json!({"max": 2, "wait_seconds": 0, "visibility_seconds": 30});
        let received = client
            .post("/v1/queues/bulk/receive", &receive)
            .with(200)
            .json();
        let messages = received["messages"].as_array().expect("messages");
        let receipts: Vec<_> = messages.iter().map(|message| &message["receipt"]).collect();
        assert_eq!(receipts.len(), 2, "receives go on through node {node}");
        let acked = client.post("/v1/queues/bulk/ack", &json!({ "receipts": receipts }));
        assert_eq!(
            acked.with(200).json()["acked"],
            2,
            "acks go on through node {node}"
        );
    }
    trial.cluster.disk(leader).empty();
    let healed = trial.heals();
    println!("room again: healed after {healed:.2?}");
    trial.end();
}

/// A load on three nodes with a small disk each, and a queue for the bulk.
fn on_disks(fault: &'static str) -> Trial {
    let disks = (1..=3).map(|node| (node, LoopDisk::make(DISK_MEBIBYTES)));
    let setting = Setting {
        disks: disks.collect(),
        ..Setting::default()
    };
    let trial = Trial::begin(fault, Cluster::start_on(3, setting), seed());
    let client = Client::new(&trial.cluster.url(1));
    client.put("/v1/queues/bulk", &json!({})).expect(201);
    trial
}

fn bulk(client: &Client) -> Answer {
    let headers = [("content-type", "text/plain")];
    client.send("POST", "/v1/queues/bulk/messages", &headers, &BULK)
}

/// How many entries of the data group a follower lacks, as its leader sees it.
fn lag(trial: &Trial, leader: u64, follower: u64) -> u64 {
    let views = trial.cluster.view(leader).expect("the leader answers");
    let data = &views[1];
    let index = |node: u64| data.members[&node].1.unwrap_or_default();
    index(leader) - index(follower)
}
