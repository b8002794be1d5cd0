//! The deterministic simulation: the real cluster, machine and store of three or five nodes in one thread, over a simulated
//! network, simulated disks and a simulated clock. One seed gives one run. `tests/sim/run` builds and calls it.
//!
//! Built without `--cfg simulation` it is empty.
#![cfg_attr(
    simulation,
    allow(
        clippy::panic,
        clippy::unwrap_used,
        reason = "a harness fails its test by panicking"
    )
)]

#[cfg(simulation)]
mod catalog;
#[cfg(simulation)]
mod client;
#[cfg(simulation)]
mod consumer;
#[cfg(simulation)]
mod judge;
#[cfg(simulation)]
mod located;
#[cfg(simulation)]
mod mover;
#[cfg(simulation)]
mod moves;
#[cfg(simulation)]
mod nemesis;
#[cfg(simulation)]
mod node;
#[cfg(simulation)]
mod places;
#[cfg(simulation)]
mod plan;
#[cfg(simulation)]
mod plant;
#[cfg(simulation)]
mod publisher;
#[cfg(simulation)]
mod received;
#[cfg(simulation)]
mod run;
#[cfg(simulation)]
mod scene;
#[cfg(simulation)]
mod watch;

#[cfg(simulation)]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(simulation))]
fn main() {}
