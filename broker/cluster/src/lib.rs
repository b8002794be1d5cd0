//! The agreement: every group of this node, on openraft.
//!
//! One [`Cluster`] is the node's [`millrace_model::Ledger`]. A command goes to its group's batcher, becomes part of one log
//! entry, is made durable by the log and a majority, is applied by the group's own thread, and comes back as an
//! outcome. Receivers wait here and cost nothing while they wait; what falls due is proposed by the leader alone.
//!
//! What it is not: it decides nothing about queues and topics (that is `machine`) and nothing about disks (that is
//! `store`). No type of openraft leaves this crate.

mod apply;
mod balance;
mod batcher;
mod carrier;
mod catalog;
mod change;
mod clock;
mod cluster;
mod codec;
mod formation;
mod forward;
mod group;
mod identity;
mod leadership;
mod log_store;
mod members;
mod metrics;
mod mover;
mod node;
mod offline;
mod options;
mod peer;
mod piggyback;
mod purge;
mod removed;
mod request;
mod simulated;
mod snapshot;
mod spill;
mod state_machine;
mod ticker;
mod types;
mod version;
mod waiters;

pub use cluster::Cluster;
pub use offline::{GroupReport, check};
pub use options::ClusterOptions;

#[cfg(test)]
mod tests;
