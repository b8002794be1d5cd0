//! Crash tests: a broker that is killed, or whose machine loses power, under load; and a cluster whose nodes are killed, stopped,
//! robbed of their disks, or damaged.
//!
//! One binary of its own, since these tests want the machine for themselves: each takes [`alone`] first.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod broken;
mod checker;
mod clock;
mod damage;
mod flipped;
mod full;
mod kill;
mod lost_disk;
mod machine;
mod moves;
mod partition;
mod power;
mod promise;
mod repair;
mod rolling;
mod slow;
mod stopped;
mod storm;
mod table;
mod trial;
mod upgrade;
mod verdict;
mod wound;
mod wrong;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The group that holds events and queues.
const DATA_GROUP: u64 = 1;

/// Held by the one test that runs a load.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has its own message; the others run on.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The seed of this run: `CRASH_SEED`, or a new one, which is printed.
fn seed() -> u64 {
    let named = std::env::var("CRASH_SEED").ok();
    let seed = named.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("CRASH_SEED is a number"),
    );
    println!("CRASH_SEED={seed}");
    seed
}

/// How often or how long: so many times for a short run, and `CRASH_LENGTH` times as many for a long one.
fn long(times: u32) -> u32 {
    let length = std::env::var("CRASH_LENGTH").ok();
    times
        * length.map_or(1, |length| {
            length.parse().expect("CRASH_LENGTH is a number")
        })
}
