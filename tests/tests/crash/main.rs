//! Crash tests: a broker that is killed, or whose machine loses power, under load; and a cluster whose nodes are killed, stopped,
//! robbed of their disks, or damaged.
//!
//! One binary of its own, since these tests want the machine for themselves: each takes [`alone`] first.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod checker;
mod flipped;
mod kill;
mod lost_disk;
mod power;
mod stopped;
mod storm;
mod verdict;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The group that holds events and queues.
const DATA_GROUP: u64 = 1;

/// The others serve within this time when a leader is gone. Wide: the promise is 3 s, which a busy machine cannot hold. What it
/// took is printed.
const FAIL_OVER_MAX: Duration = Duration::from_secs(10);

/// Held by the one test that runs a load.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has its own message; the others run on.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
