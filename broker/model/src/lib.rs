//! The words of the broker: names, events, configuration, commands, outcomes, limits, and the two seams
//! ([`Ledger`], [`Router`]) and one store trait ([`Tables`]) through which the rooms meet.
//!
//! What it is not: there is no IO here, no clock, no randomness, no async runtime and no rule of the broker.
//! The rules live in `millrace-machine`.

pub mod batch;
pub mod catalog;
pub mod command;
pub mod digest;
pub mod event;
pub mod fault;
pub mod filter;
pub mod id;
pub mod ledger;
pub mod limit;
pub mod name;
pub mod outcome;
pub mod plugin;
pub mod problem;
pub mod query;
pub mod queue;
pub mod receipt;
pub mod refusal;
pub mod router;
pub mod row;
pub mod subscription;
pub mod tables;
pub mod time;
pub mod topic;
pub mod version;

pub use batch::{Batch, Item, Proposal};
pub use catalog::{Topology, Versioned};
pub use command::Command;
pub use event::{Data, Event};
pub use fault::Fault;
pub use filter::Filter;
pub use id::{DeduplicationKey, GroupId, PayloadRef, QueueId, Revision, SubscriptionId, TopicId};
pub use ledger::{BoxFuture, Ledger, Unavailable};
pub use name::Name;
pub use outcome::Outcome;
pub use plugin::PluginVersion;
pub use problem::Problem;
pub use query::{Answer, Query};
pub use queue::QueueConfig;
pub use receipt::Receipt;
pub use refusal::Refusal;
pub use router::{Plan, PlanRequest, Router};
pub use subscription::SubscriptionConfig;
pub use tables::Tables;
pub use time::Timestamp;
pub use topic::TopicConfig;
pub use version::{Feature, FormatVersion};
