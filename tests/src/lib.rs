//! The harness of the tests of the whole: a real `millrace serve` process on a free port or a cluster of them, a client for it, raw HTTP for
//! what no client would send, small file systems to fill and to cut the power of, and the checker of a run's history.
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
mod load;
mod mount;
pub mod raw;

pub use binary::{millrace, repository};
pub use broker::Broker;
pub use client::{Answer, Client};
pub use cluster::{Cluster, GroupView};
pub use history::{Fact, Figures, History, Outcome, Violation};
pub use load::{Load, counter};
pub use mount::{LoopDisk, TmpDisk};
