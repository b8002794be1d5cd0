//! The harness of the tests of the whole: a real `millrace serve` process on a free port or a cluster of them, a client for it, raw HTTP for
//! what no client would send, network namespaces and small file systems whose faults can be chosen, and the checker of a run's history.
//!
//! It knows the broker by its public contract alone and links none of its rooms.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness fails its test by panicking"
)]

mod binary;
mod broker;
mod client;
mod cluster;
mod history;
mod hosts;
mod load;
mod machine;
mod mount;
mod program;
pub mod raw;
mod watch;

pub use binary::{millrace, repository};
pub use broker::Broker;
pub use client::{Answer, Client};
pub use cluster::{Cluster, GroupView, Setting};
pub use history::{Fact, Figures, History, Outcome, Violation};
pub use hosts::Hosts;
pub use load::{Load, Stall, counter};
pub use machine::{Machine, parts as machine_parts};
pub use mount::{LoopDisk, SlowDisk, TmpDisk};
pub use watch::Watch;
