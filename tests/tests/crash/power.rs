//! Power loss: what was not synced is gone.

use std::time::Duration;

use millrace_tests::{Broker, Cluster, Load, LoopDisk, Setting};

use crate::table::Run;
use crate::trial::Trial;
use crate::verdict::judge;
use crate::{alone, long, seed};

const DISK_MEBIBYTES: u32 = 2048;
/// Between two cuts.
const BETWEEN: Duration = Duration::from_secs(2);

#[test]
fn a_power_loss_under_load_loses_nothing() {
    let _alone = alone();
    let mut disk = LoopDisk::make(DISK_MEBIBYTES);
    let data = disk.path().join("data");
    let mut broker = Broker::start_in(&data);
    let mut load = Load::start(&[broker.url().to_owned()], 1);
    std::thread::sleep(Duration::from_secs(3));
    let before = load.deliveries();
    assert!(before > 0, "the load was under way");

    disk.cut_power();
    // With its disk gone the broker may end by itself; otherwise it ends now.
    std::thread::sleep(Duration::from_millis(200));
    broker.kill_or_find_dead();
    disk.power_up();
    broker.restart();
    load.point_to(&[broker.url().to_owned()]);

    std::thread::sleep(Duration::from_secs(2));
    load.drain();
    assert!(load.deliveries() > before, "it serves again");
    let figures = judge(&mut broker, &load);
    Run::new("power loss of a node alone").record(figures);
    drop(broker);
}

#[test]
fn a_power_loss_on_one_node_loses_nothing() {
    let _alone = alone();
    let mut trial = on_disks("power loss on the leader");
    for _ in 0..long(2) {
        std::thread::sleep(BETWEEN);
        let leader = trial.leader();
        let others = trial.others(&[leader]);
        cut(&mut trial, &[leader]);
        let served = trial.serves_through(&others);
        power_up(&mut trial, &[leader]);
        let healed = trial.heals();
        println!("power cut: the others served after {served:.2?}, all after {healed:.2?}");
    }
    trial.end();
}

#[test]
fn a_power_loss_on_all_nodes_loses_nothing() {
    let _alone = alone();
    let mut trial = on_disks("power loss on all nodes");
    let all = trial.cluster.numbers();
    for _ in 0..long(2) {
        std::thread::sleep(BETWEEN);
        cut(&mut trial, &all);
        power_up(&mut trial, &all);
        let served = trial.serves_through(&all);
        println!("power cut everywhere: served after {served:.2?}");
    }
    trial.heals();
    trial.end();
}

/// Cuts the power of some nodes at the same moment.
fn cut(trial: &mut Trial, nodes: &[u64]) {
    for node in nodes {
        trial.cluster.disk(*node).cut_power();
    }
    for node in nodes {
        trial.cluster.node(*node).kill_or_find_dead();
    }
}

fn power_up(trial: &mut Trial, nodes: &[u64]) {
    for node in nodes {
        trial.cluster.disk(*node).power_up();
        trial.cluster.node(*node).spawn();
    }
}

fn on_disks(fault: &'static str) -> Trial {
    let disks = (1..=3).map(|node| (node, LoopDisk::make(DISK_MEBIBYTES)));
    let setting = Setting {
        disks: disks.collect(),
        ..Setting::default()
    };
    Trial::begin(fault, Cluster::start_on(3, setting), seed())
}
