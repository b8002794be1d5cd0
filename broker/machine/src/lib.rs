//! The rules of the broker: a pure, synchronous state machine. Batches go in, outcomes come out, and rows of
//! [`millrace_model::Tables`] hold everything that lasts.
//!
//! [`Machine`] plays both roles. In group 0 it keeps the catalog; in a data group it keeps queues, parked
//! events and deduplication windows. The life of a message is read in this order: `publish.rs` (acceptance),
//! `queue/append.rs` (it becomes an entry), `queue/receive.rs` (a lease), `queue/settle.rs` (ack, nack,
//! extend), `queue/expire.rs` (what time does to it), `redrive.rs` (dead letters come back). What is for another group goes
//! through `outbox.rs` here and `inbox.rs` there; a queue that moves to another group, through `moves`.
//!
//! What it is not: there is no IO, clock, randomness, thread or hash map here, and nothing is known of logs,
//! of Raft or of HTTP. The same batches give the same rows on every node, byte for byte; everything in memory
//! can be made again from the rows, and never decides anything that the rows do not.

mod across;
mod adopt;
mod audit;
mod catalog;
mod deduplication;
mod inbox;
mod keys;
mod machine;
mod memory;
mod moves;
mod outbox;
mod parked;
mod publish;
mod query;
mod queue;
mod queues;
mod redrive;
mod references;
mod scan;
mod settle;
mod state;
mod sweep;
mod tick;
mod topics;
mod unpark;

pub use machine::{Applied, Machine};
pub use memory::MemoryTables;
pub use moves::{Departure, Portion};
pub use outbox::{Cargo, Outbox};
pub use references::reference;
