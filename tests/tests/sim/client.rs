//! What all clients of a node need: the catalog, and random numbers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::Cluster;
use millrace_model::catalog::Topology;
use millrace_model::command::{CatalogCommand, Expect};
use millrace_model::{Command, GroupId, Ledger as _, Name, Outcome, Proposal, QueueConfig};
use millrace_store::simulation;

use crate::scene::{Phase, QUEUES, Scene, TOPIC};

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

    /// The catalog, once it holds everything; `None` when it does not yet.
    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        let topology = self.cluster.topology();
        let route = topology.topics.get(&name(TOPIC))?;
        let whole = topology.queues.len() == QUEUES.len() && route.topic.group != GroupId::META;
        whole.then_some(topology)
    }

    /// Makes topic and queues, again until it is done.
    pub(crate) async fn make_catalog(self) {
        for queue in QUEUES {
            let config = QueueConfig {
                visibility_seconds: 3,
                ..QueueConfig::default()
            };
            let (name, expect) = (name(queue), Expect::Any);
            let group = GroupId::DATA;
            self.configure(&CatalogCommand::PutQueue {
                name,
                config,
                group,
                among: Vec::new(),
                expect,
            })
            .await;
        }
        let (name, expect) = (name(TOPIC), Expect::Any);
        let config = millrace_model::TopicConfig::default();
        self.configure(&CatalogCommand::PutTopic {
            name,
            config,
            among: Vec::new(),
            expect,
        })
        .await;
        if self.phase() == Phase::Setup {
            self.scene.tell("the catalog is made");
            self.scene.phase.set(Phase::Load);
        }
    }

    async fn configure(&self, command: &CatalogCommand) {
        while self.phase() == Phase::Setup {
            let proposal = Proposal::bare(Command::Catalog(command.clone()));
            match self.cluster.commit(GroupId::META, proposal).await {
                Ok(Outcome::Refused(refusal)) => self.scene.object(format!("{refusal}")),
                Ok(_) => return,
                Err(_) => pause(200).await,
            }
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
