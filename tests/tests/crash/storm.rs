//! Three nodes, and kill -9 on one of them after the other.

use std::time::{Duration, Instant};

use millrace_tests::{Cluster, Figures, Load};

use crate::table::{Run, percentiles};
use crate::verdict::judge_cluster;
use crate::{DATA_GROUP, alone, promise, seed};

const KILLS: u32 = 25;
/// All nodes live for so long between two kills, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 500..2000;

#[test]
fn a_storm_of_kills_over_three_nodes_loses_nothing() {
    let _alone = alone();
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cluster = Cluster::start(3);
    let mut load = Load::start(&cluster.urls(), seed);
    let began = Instant::now();
    let mut fail_overs = FailOvers::default();
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(random.u64(LIFE_MS)));
        kill_one(&mut cluster, &load, &mut random, &mut fail_overs);
    }
    let back = kill_all(&mut cluster, &load);
    let stormed = began.elapsed();
    let stall = load.stall();
    load.drain();
    let figures = judge_cluster(&mut cluster, &load);
    let mut run = Run::new("kill -9 storm");
    run.fail_overs.extend(&fail_overs.down);
    run.fail_overs.extend(&fail_overs.restarted);
    run.stall = stall.took;
    run.record(figures);
    report(&figures, &fail_overs, back, stormed);
}

/// From the kill of a leader to the first acknowledged publish through another node.
#[derive(Default)]
struct FailOvers {
    /// The leader came back after that only.
    down: Vec<Duration>,
    /// The leader was started again at once, and may lead on.
    restarted: Vec<Duration>,
}

/// Kills a node, more often than not the leader, and starts it again: at once, or when the others have gone on.
fn kill_one(
    cluster: &mut Cluster,
    load: &Load,
    random: &mut fastrand::Rng,
    fail_overs: &mut FailOvers,
) {
    let leader = cluster.leader(DATA_GROUP);
    let any = random.choice(cluster.numbers()).expect("three nodes");
    let victim = leader.filter(|_| random.bool()).unwrap_or(any);
    let at_once = random.bool();
    cluster.node(victim).kill();
    if at_once {
        cluster.node(victim).spawn();
    }
    if leader == Some(victim) {
        let took = promise::served(load, &cluster.urls_without(victim));
        let kind = if at_once {
            &mut fail_overs.restarted
        } else {
            &mut fail_overs.down
        };
        kind.push(took);
    }
    if !at_once {
        cluster.node(victim).spawn();
    }
    cluster.node(victim).get_ready();
}

/// Kills all nodes at once and starts them again: how long until a publish was acknowledged.
fn kill_all(cluster: &mut Cluster, load: &Load) -> Duration {
    let nodes = cluster.numbers();
    nodes.iter().for_each(|node| cluster.node(*node).kill());
    nodes.iter().for_each(|node| cluster.node(*node).spawn());
    let back = load.probe(&cluster.urls(), Duration::from_secs(60));
    nodes
        .iter()
        .for_each(|node| cluster.node(*node).get_ready());
    back.expect("served again within a minute")
}

fn report(figures: &Figures, fail_overs: &FailOvers, back: Duration, stormed: Duration) {
    assert!(!fail_overs.down.is_empty(), "no leader was killed");
    println!(
        "{} kills in {stormed:.0?}; {} published, {} acknowledged, {} found, {} lost, {} deliveries again; \
         fail-over {}, with the leader started again at once {}; all three killed: back after {back:.2?}",
        KILLS + 3,
        figures.published,
        figures.acknowledged,
        figures.found,
        figures.lost,
        figures.duplicated,
        percentiles(&fail_overs.down),
        percentiles(&fail_overs.restarted),
    );
}
