//! Makes the catalog, and changes it under load.

use millrace_model::catalog::Topology;
use millrace_model::command::{CatalogCommand, Expect};
use millrace_model::subscription::{Destinations, OnFailure};
use millrace_model::version::Feature;
use millrace_model::{
    Command, GroupId, Ledger as _, Outcome, Proposal, SubscriptionConfig, TopicConfig,
};
use std::sync::Arc;

use crate::client::{Client, below, name, pause};
use crate::places::{self, QUEUES, SUBSCRIPTION, THREE, TOPIC, TWO};
use crate::plant::Plant;
use crate::scene::Phase;

impl Client {
    /// The catalog, once it holds everything; `None` when it does not yet.
    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        let topology = self.cluster.topology();
        let route = topology.topics.get(&name(TOPIC))?;
        let whole = topology.queues.len() == QUEUES.len() && !route.subscriptions.is_empty();
        whole.then_some(topology)
    }

    /// Makes topic, queues and subscription, again until it is done.
    pub(crate) async fn make_catalog(self) {
        while self.phase() == Phase::Setup && !self.crosses_groups() {
            pause(200).await;
        }
        for queue in QUEUES {
            self.configure(&self.put_queue(queue, 3)).await;
        }
        self.configure(&self.put_topic()).await;
        self.configure(&put_subscription()).await;
        if self.phase() == Phase::Setup {
            self.scene.tell("the catalog is made");
            self.scene.phase.set(Phase::Load);
        }
    }

    /// Whether events and queues may go from one group to another, if they must.
    fn crosses_groups(&self) -> bool {
        let topology = self.cluster.topology();
        let needed = [Feature::CrossGroupDelivery, Feature::QueueMoves];
        needed.iter().all(|feature| topology.has(*feature)) || self.scene.groups == 1
    }

    fn put_queue(&self, queue: &str, visibility_seconds: u32) -> CatalogCommand {
        CatalogCommand::PutQueue {
            name: name(queue),
            config: places::config(queue, visibility_seconds),
            group: places::group(queue, self.scene.groups),
            among: Vec::new(),
            expect: Expect::Any,
        }
    }

    fn put_topic(&self) -> CatalogCommand {
        CatalogCommand::PutTopic {
            name: name(TOPIC),
            config: TopicConfig::default(),
            among: self.cluster.data_groups(),
            expect: Expect::Any,
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

    /// Configures a queue anew now and then. Nobody may be shown an older catalog after that was confirmed.
    pub(crate) async fn reconfigure_all(self) {
        while self.phase() != Phase::Done {
            pause(8_000).await;
            if self.phase() == Phase::Load {
                self.reconfigure().await;
            }
            self.look_at_catalog().await;
        }
    }

    async fn reconfigure(&self) {
        let seconds = 2 + u32::try_from(below(4)).unwrap();
        let command = Command::Catalog(self.put_queue(THREE, seconds));
        let outcome = self
            .cluster
            .commit(GroupId::META, Proposal::bare(command))
            .await;
        if let Ok(Outcome::Queue { queue, .. }) = outcome {
            let version = queue.queue.version;
            let node = self.node;
            self.scene
                .tell(format!("node {node}: {THREE} has version {version}"));
            let configured = self.scene.configured.get().max(version.0);
            self.scene.configured.set(configured);
        }
    }

    async fn look_at_catalog(&self) {
        let mut told = self.scene.configured.get();
        if self.cluster.fresh().await.is_err() {
            return;
        }
        let topology = self.cluster.topology();
        let Some(queue) = topology.queues.get(&name(THREE)) else {
            return;
        };
        if self.scene.is_planted(Plant::Catalog) {
            told = u64::MAX;
        }
        let (node, shown) = (self.node, queue.queue.version.0);
        if shown < told {
            self.scene.object(format!(
                "the catalog went back: node {node} shows version {shown} of {THREE} after {told} was confirmed"
            ));
        }
    }
}

fn put_subscription() -> CatalogCommand {
    CatalogCommand::PutSubscription {
        topic: name(TOPIC),
        name: name(SUBSCRIPTION),
        config: SubscriptionConfig {
            filter: None,
            plugin: None,
            to: Destinations::Queue(name(TWO)),
            on_failure: OnFailure::Park,
            paused: false,
        },
        expect: Expect::Any,
    }
}
