//! The rows of a node: one fjall database, one keyspace for each Raft group, and memory in front of them.

mod group;
mod metrics;
mod options;
mod snapshot;
mod store;

pub use group::GroupTables;
pub use metrics::{Reading, TableMetrics};
pub use options::TableOptions;
pub use snapshot::TableSnapshot;
pub use store::TableStore;
