//! Disks that hang for a while, and disks that are slow: the leader's.

use std::time::Duration;

use millrace_tests::{Cluster, LoopDisk, Setting, SlowDisk};

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
