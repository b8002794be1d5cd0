//! openraft's storage test suite, on the real log and the real tables.

use std::sync::Arc;

use arc_swap::ArcSwap;
use millrace_model::{GroupId, Topology};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::apply::{ApplyLane, View};
use crate::log_store::LogStore;
use crate::node;
use crate::options::ClusterOptions;
use crate::state_machine::StateMachine;
use crate::types::TypeConfig;
use crate::waiters::WaitersByQueue;

struct Stores;

/// What must live as long as a pair of stores.
type Guard = (
    TempDir,
    Arc<millrace_store::log::Log>,
    millrace_store::tables::TableStore,
);

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Guard> for Stores {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let mut options = ClusterOptions::new(dir.path(), 0);
        options.log.segment_bytes = 1 << 20;
        let (log, tables) = node::open(&options).unwrap();
        let (waiters, topology) = (
            Arc::new(WaitersByQueue::default()),
            Arc::new(ArcSwap::from_pointee(Topology::default())),
        );
        let view = Arc::new(View::new(waiters, topology, std::iter::empty()));
        let group = GroupId::DATA;
        let applier =
            ApplyLane::open(group, tables.group(group).unwrap(), log.group(group), view).unwrap();
        let stores = (LogStore(log.group(group)), StateMachine(applier));
        Ok(((dir, log, tables), stores.0, stores.1))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_suite_of_openraft_passes() {
    Suite::test_all(Stores).await.unwrap();
}
