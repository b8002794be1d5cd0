//! A restart of all nodes in good order, one after the other, under load.

use std::time::Duration;

use millrace_tests::Cluster;

use crate::trial::Trial;
use crate::{alone, long, promise, seed};

/// The load may stand still for so long at one step.
const STALL_MAX: Duration = Duration::from_secs(1);
/// Between two steps.
const BETWEEN: Duration = Duration::from_secs(1);

#[test]
fn a_rolling_restart_loses_nothing_and_stalls_nobody() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let mut trial = Trial::begin("rolling restart", cluster, seed());
    let mut stalls = Vec::new();
    for _ in 0..long(2) {
        for node in trial.cluster.numbers() {
            std::thread::sleep(BETWEEN);
            trial.stalled();
            let broker = trial.cluster.node(node);
            assert!(broker.stop().success(), "{}", broker.log());
            broker.restart();
            let stall = trial.stalled();
            promise::stalled_briefly(&trial.load, "a step", stall, STALL_MAX);
            stalls.push(stall.took);
        }
    }
    println!("the load stood still for {stalls:.2?} at the steps");
    trial.end();
}
