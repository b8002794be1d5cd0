//! The clock that never jumps: the system's, or under `cfg(simulation)` the one of the simulated node.

#[cfg(not(simulation))]
pub(crate) use std::time::Instant;

#[cfg(simulation)]
pub(crate) use tokio::time::Instant;
