//! Networks that are cut: both ways, one way, between two of three, and in a ring; and one that loses packets.

use std::time::{Duration, Instant};

use millrace_tests::{Client, Cluster, Hosts};

use crate::trial::Trial;
use crate::{alone, long, promise, seed};

/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(4);
/// Between two cuts.
const WHOLE: Duration = Duration::from_secs(1);
/// A node without a majority knows it after this time, and refuses at once from then on.
const KNOWN_AFTER: Duration = Duration::from_secs(3);
/// The slowest refusal. Half a second is spent on trying again.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// The load may stand still for so long when a node that does not lead is cut off.
const STALL_MAX: Duration = Duration::from_secs(3);
const LOSS_PERCENT: u32 = 30;
const LOSSY: Duration = Duration::from_secs(12);

/// The leader is cut so: it refuses, the others go on with another one.
fn leader_is_cut(name: &'static str, times: u32, how: fn(&Hosts, u64, &[u64])) {
    let _alone = alone();
    let mut trial = on_hosts(name, 3);
    for _ in 0..long(times) {
        let leader = trial.leader();
        let others = trial.others(&[leader]);
        let apart = |trial: &Trial| how(trial.cluster.hosts(), leader, &others);
        cut(&mut trial, &others, apart, |trial| refuses(trial, leader));
    }
    trial.end();
}

#[test]
fn a_leader_that_is_cut_off_refuses_and_the_others_serve() {
    leader_is_cut("leader cut off", 2, |hosts, leader, _| {
        hosts.isolate(leader);
    });
}

#[test]
fn a_leader_that_is_not_heard_is_replaced() {
    leader_is_cut("leader not heard", 1, |hosts, leader, others| {
        for other in others {
            hosts.drop_from(leader, *other);
        }
    });
}

#[test]
fn a_leader_that_hears_nothing_is_replaced() {
    leader_is_cut("leader hears nothing", 1, |hosts, leader, others| {
        for other in others {
            hosts.drop_from(*other, leader);
        }
    });
}

#[test]
fn a_follower_that_is_cut_off_one_way_disturbs_nobody() {
    let _alone = alone();
    let mut trial = on_hosts("follower cut off one way", 3);
    for is_deaf in [true, false].repeat(long(1) as usize) {
        let leader = trial.leader();
        let follower = trial.others(&[leader])[0];
        let served = trial.others(&[follower]);
        cut(
            &mut trial,
            &served,
            |trial| {
                let hosts = trial.cluster.hosts();
                for other in &served {
                    let (from, to) = if is_deaf {
                        (*other, follower)
                    } else {
                        (follower, *other)
                    };
                    hosts.drop_from(from, to);
                }
            },
            |_| {},
        );
        let stall = trial.stalled();
        println!(
            "follower cut off, deaf: {is_deaf}, longest stall {:.2?}",
            stall.took
        );
        promise::stalled_briefly(&trial.load, "one follower cut off", stall, STALL_MAX);
    }
    trial.end();
}

#[test]
fn a_node_that_both_others_reach_is_enough() {
    let _alone = alone();
    let mut trial = on_hosts("leader and follower cut", 3);
    for _ in 0..long(1) {
        let leader = trial.leader();
        let others = trial.others(&[leader]);
        let (end, middle) = (others[0], others[1]);
        cut(
            &mut trial,
            &[leader, middle],
            |trial| {
                trial.cluster.hosts().part(leader, end);
            },
            |_| {},
        );
    }
    trial.end();
}

#[test]
fn a_ring_of_five_serves() {
    let _alone = alone();
    let mut trial = on_hosts("ring of five", 5);
    let all = trial.cluster.numbers();
    for _ in 0..long(1) {
        trial.leader();
        cut(
            &mut trial,
            &all,
            |trial| {
                let hosts = trial.cluster.hosts();
                // Each keeps its two neighbours.
                (1..=5).for_each(|node| hosts.part(node, (node + 1) % 5 + 1));
            },
            |_| {},
        );
    }
    trial.end();
}

#[test]
fn a_network_that_loses_packets_loses_no_event() {
    let _alone = alone();
    let mut trial = on_hosts("30 % of packets lost", 3);
    for _ in 0..long(1) {
        let before = trial.load.deliveries();
        trial.cluster.hosts().lose(LOSS_PERCENT);
        std::thread::sleep(LOSSY);
        let delivered = trial.load.deliveries() - before;
        trial.cluster.hosts().heal();
        let healed = trial.heals();
        let stall = trial.stalled();
        println!(
            "{delivered} deliveries in {LOSSY:?} of loss, longest stall {:.2?}; healed after {healed:.2?}",
            stall.took
        );
    }
    trial.end();
}

fn on_hosts(fault: &'static str, nodes: u64) -> Trial {
    let seed = seed();
    Trial::begin(fault, Cluster::start_on_hosts(nodes), seed)
}

/// One cut: `served` must serve soon and go on to the end of it, and all within 10 s of it.
fn cut(trial: &mut Trial, served: &[u64], make: impl FnOnce(&Trial), during: impl FnOnce(&Trial)) {
    std::thread::sleep(WHOLE);
    make(trial);
    let began = Instant::now();
    let took = trial.serves_through(served);
    std::thread::sleep(KNOWN_AFTER.saturating_sub(began.elapsed()));
    during(trial);
    std::thread::sleep(CUT.saturating_sub(began.elapsed()));
    let late = trial.serves_through(served);
    trial.run.fail_overs.pop();
    trial.cluster.hosts().heal();
    let healed = trial.heals();
    println!("cut: served after {took:.2?}, {late:.2?} at its end; healed after {healed:.2?}");
}

/// A node without a majority refuses everything fast, and says when to come again.
fn refuses(trial: &Trial, node: u64) {
    let client = Client::new(&trial.cluster.url(node));
    let headers = [("content-type", "text/plain")];
    for path in ["/v1/topics/crash/messages", "/v1/queues/crash-a/messages"] {
        let began = Instant::now();
        let answer = client.send("POST", path, &headers, b"nobody may acknowledge this");
        let took = began.elapsed();
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(
            answer.header("retry-after").is_some(),
            "{path}: when to come again"
        );
        promise::kept(
            &trial.load,
            &format!("{path}: to refuse"),
            began,
            took,
            REFUSED_WITHIN,
        );
    }
    let began = Instant::now();
    client.get("/v1/queues/crash-a").expect(503);
    let took = began.elapsed();
    promise::kept(&trial.load, "to refuse a read", began, took, REFUSED_WITHIN);
}
