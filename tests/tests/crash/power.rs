//! Power loss: what was not synced is gone.

use std::time::Duration;

use millrace_tests::{Broker, Load, LoopDisk};

use crate::alone;
use crate::verdict::judge;

#[test]
fn a_power_loss_under_load_loses_nothing() {
    let _alone = alone();
    let mut disk = LoopDisk::make(2048);
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
    judge(&mut broker, &load);
    drop(broker);
}
