//! A node that lost its disk: refused under its number, never a voter, and replaced by another one under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use millrace_tests::{Client, Cluster, Load};

use crate::table::Run;
use crate::verdict::judge_cluster;
use crate::{DATA_GROUP, alone, promise};

/// How long one voter and the node without its votes are watched for a majority that they must not make: several elections.
const WATCHED: Duration = Duration::from_secs(6);
const NEWCOMER: u64 = 4;

#[test]
fn a_node_that_lost_its_disk_is_refused_and_replaced() {
    let _alone = alone();
    let mut cluster = Cluster::start(3);
    let mut load = Load::start(&cluster.urls(), 3);
    let lost = cluster.leader(DATA_GROUP).expect("a leader");
    lose_disk(&mut cluster, lost);
    let others: Vec<u64> = (1..=3).filter(|node| *node != lost).collect();
    let served = promise::served(&load, &cluster.urls_without(lost));
    says_why(&mut cluster, lost);

    makes_no_majority(&mut cluster, &load, lost, others[1]);
    replace(&mut cluster, lost, others[0], NEWCOMER);
    load.point_to(&cluster.urls());
    // One of the others may go now, also the one that leads: the newcomer has a vote and the data.
    let leader = cluster.leader(DATA_GROUP);
    let victim = leader.filter(|node| *node != NEWCOMER);
    let victim = victim.unwrap_or(others[0]);
    cluster.node(victim).kill();
    // The newcomer is a voter.
    let again = promise::served(&load, &cluster.urls_without(victim));
    cluster.node(victim).restart();

    load.drain();
    let figures = judge_cluster(&mut cluster, &load);
    Run::new("disk lost, node replaced")
        .after(&[served, again])
        .record(figures);
    println!(
        "disk lost: served after {served:.2?}, with the newcomer after {again:.2?}; {figures:?}"
    );
}

fn lose_disk(cluster: &mut Cluster, node: u64) {
    let broker = cluster.node(node);
    broker.kill();
    std::fs::remove_dir_all(broker.data()).expect("removed");
    broker.spawn();
    if let Err(end) = broker.try_listen() {
        panic!("it ended ({end}): {}", broker.log());
    }
}

/// It says on `/readyz` and on standard error that it is refused, and for what.
fn says_why(cluster: &mut Cluster, node: u64) {
    let client = Client::new(&cluster.url(node));
    let reason = cluster.wait("a reason on /readyz", |_| {
        let problem = client.get("/readyz").refused(503, "not_ready").to_string();
        names_the_loss(&problem).then_some(problem)
    });
    println!("/readyz of the node that lost its disk: {reason}");
    let log = cluster.node(node).log();
    assert!(names_the_loss(&log), "{log}");
    let publish = client.send("POST", "/v1/topics/crash/messages", &[], b"x");
    assert_eq!(publish.status, 503, "{}", publish.text());
}

fn names_the_loss(text: &str) -> bool {
    text.contains("other data") || text.contains("lost its") || text.contains("another incarnation")
}

/// With one of the two others down, the last one and the node without votes serve nothing. When it is back they do.
fn makes_no_majority(cluster: &mut Cluster, load: &Load, lost: u64, other: u64) {
    cluster.node(other).kill();
    // What was under way ends; from then on nothing is acknowledged.
    let began = Instant::now();
    let left = cluster.urls_without(other);
    if let Some(took) = load.probe(&left, WATCHED) {
        panic!("acknowledged by one voter after {took:?}");
    }
    assert!(began.elapsed() >= WATCHED);
    let view = cluster.view(lost).expect("it answers");
    for group in view {
        assert_ne!(group.leader, Some(lost), "{group:?}");
        assert_eq!(group.term, 0, "it took part in an election: {group:?}");
    }
    cluster.node(other).restart();
    // Its connections come first: whoever asks for a change of members before them is told to ask again.
    promise::served(load, &left);
}

/// `millrace cluster remove` and `add`, under load: a new node, with empty data, takes the place of a lost one.
pub(crate) fn replace(cluster: &mut Cluster, lost: u64, asked: u64, newcomer: u64) {
    let removed = cluster.command(asked, &["remove", &lost.to_string()]);
    assert!(removed.status.success(), "{removed:?}");
    cluster.forget(lost);
    let mut list = cluster.numbers();
    list.push(newcomer);
    cluster.spawn_new(newcomer, &list);
    if let Err(end) = cluster.node(newcomer).try_listen() {
        panic!("it ended ({end}): {}", cluster.node(newcomer).log());
    }
    let member = cluster.member(newcomer);
    let added = cluster.command(asked, &["add", &member, "--wait", "60"]);
    assert!(added.status.success(), "{added:?}");
    cluster.node(newcomer).get_ready();
    let voters: BTreeSet<u64> = list.into_iter().collect();
    cluster.wait("three voters", |cluster| {
        let groups = cluster.view(newcomer)?;
        groups
            .iter()
            .all(|group| group.all_vote(&voters))
            .then_some(())
    });
}
