//! The disk of a node: a write-ahead log of our own, and tables on fjall for everything that is state.
//!
//! What it is not: it knows nothing of consensus, queues or HTTP. The log stores bytes under (group, term, index); the
//! tables store rows. `cluster` adapts both to Raft.

mod clock;
pub mod disk;
pub mod fault;
mod kv;
pub mod log;
pub mod refs;
#[cfg(simulation)]
pub mod simulation;
pub mod snapshot;
pub mod spill;
pub mod tables;
