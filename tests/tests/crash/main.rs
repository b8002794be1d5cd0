//! Crash tests: a broker that is killed, or whose machine loses power, under load.
//!
//! One binary of its own, since these tests want the machine for themselves: each takes [`alone`] first.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod checker;
mod kill;
mod power;
mod verdict;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by the one test that runs a load.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has its own message; the others run on.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
