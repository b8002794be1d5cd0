//! kill -9, again and again.

use std::time::{Duration, Instant};

use millrace_tests::{Broker, Load};

use crate::table::Run;
use crate::verdict::judge;
use crate::{alone, seed};

const KILLS: u32 = 50;
/// The broker lives for so long between two kills, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 50..600;

#[test]
fn fifty_kills_under_load_lose_nothing() {
    let _alone = alone();
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut broker = Broker::start();
    let mut load = Load::start(&[broker.url().to_owned()], seed);
    let mut slowest = Duration::ZERO;
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(random.u64(LIFE_MS)));
        broker.kill();
        let began = Instant::now();
        broker.restart();
        slowest = slowest.max(began.elapsed());
        load.point_to(&[broker.url().to_owned()]);
    }
    load.drain();
    println!("{KILLS} kills, slowest restart {slowest:?}");
    let figures = judge(&mut broker, &load);
    Run::new("kill -9 of a node alone")
        .after(&[slowest])
        .record(figures);
}
