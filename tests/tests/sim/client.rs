//! What all clients of a node need: the node, and random numbers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::Cluster;
use millrace_model::Name;
use millrace_store::simulation;

use crate::scene::{Phase, Scene};

/// A client of one node, in one life of it.
pub(crate) struct Client {
    pub(crate) scene: Rc<Scene>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) node: u64,
}

/// A number below `end`.
pub(crate) fn below(end: u64) -> u64 {
    simulation::random() % end
}

/// Whether something of that probability comes to pass.
pub(crate) fn percent(probability: u64) -> bool {
    below(100) < probability
}

/// Sleeps for up to `ms`.
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(1 + below(ms))).await;
}

impl Client {
    pub(crate) fn phase(&self) -> Phase {
        self.scene.phase.get()
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
