//! The ordered key-value store below tables: fjall, or under `cfg(simulation)` maps in memory that lose on a crash what fjall
//! may lose.

#[cfg(not(simulation))]
pub(crate) use fjall::{
    CompressionType, Database, Error, Guard, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    OwnedWriteBatch, PersistMode, Readable, Result, Snapshot, UserValue as Value,
};

#[cfg(simulation)]
pub(crate) use crate::simulation::kv::*;
