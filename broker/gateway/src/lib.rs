//! The door of the broker: HTTP in, commands out, answers back.
//!
//! A request goes `serve` (connections) → `door` (id, admission, panics, counts) → `paths` and `routes` (one line
//! a route) → a handler, which reads with `body`, `json` and `intake`, asks the two seams of the model,
//! [`millrace_model::Ledger`] and [`millrace_model::Router`], and answers. All that says "no" is a
//! `problem::Failure`; `problem/causes.rs` alone chooses statuses for what the other rooms say.
//!
//! What it is not: no rule of the broker is here (they live in `millrace-machine`), nothing is stored, and
//! nothing is decided about where events go.

mod across;
mod admission;
mod body;
mod call;
mod catalog;
mod clock;
mod config;
mod connection;
mod door;
mod entropy;
mod etag;
mod gateway;
mod intake;
mod json;
mod members;
mod metrics;
mod moving;
mod openapi;
mod operations;
mod page;
mod parked;
mod paths;
mod plugin;
mod problem;
mod publish;
mod query;
mod queue;
mod rfc3339;
mod routes;
mod schema;
mod serve;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;
mod view;

pub use clock::Clock;
pub use config::GatewayConfig;
pub use entropy::Entropy;
pub use gateway::Gateway;
pub use serve::serve;
