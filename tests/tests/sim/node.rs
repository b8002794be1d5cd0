//! What runs on a simulated host: one node of the broker with its clients.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::{Cluster, ClusterOptions};
use millrace_model::ledger::{ChangeError, MemberChange};
use millrace_model::{Answer, GroupId, Ledger as _, Query};
use millrace_store::simulation;
use tokio::time::Instant;

use crate::client::{Client, below, pause};
use crate::scene::{Audited, Phase, QUEUES, Scene};

/// Longest time from one audit of a node to the next.
const AUDIT_MS: u64 = 5_000;

/// The host of a node.
pub(crate) fn host(node: u64) -> String {
    format!("node-{node}")
}

fn options(scene: &Scene, node: u64) -> ClusterOptions {
    let mut options = ClusterOptions::new(simulation::root(node), node);
    let mut members = scene.members.borrow().clone();
    members.insert(node);
    options.members = members
        .into_iter()
        .map(|node| (node, format!("{}:7441", host(node))))
        .collect();
    options.peer_listen = "0.0.0.0:7441".parse().unwrap();
    options.snapshot_bytes = scene.snapshot_bytes;
    options.log.segment_bytes = 128 << 10;
    options.log.cache_bytes = 64 << 10;
    options.log.spare_segments = 1;
    options.log.free_segments_max = 2;
    options.log.disk_reserve_bytes = 0;
    options
}

/// One life of node `node`.
pub(crate) async fn run(scene: Rc<Scene>, node: u64) {
    simulation::run_as(node);
    let cluster = match Cluster::start(options(&scene, node)).await {
        Ok(cluster) => Arc::new(cluster),
        Err(fault) => {
            if !simulation::is_dead(node) {
                scene.object(format!("node {node} does not start: {fault}"));
            }
            return pending().await;
        }
    };
    scene.tell(format!("node {node} has started"));
    scene
        .running
        .borrow_mut()
        .insert(node, Arc::downgrade(&cluster));
    let client = || Client {
        scene: Rc::clone(&scene),
        cluster: Arc::clone(&cluster),
        node,
    };
    let tasks = [
        tokio::task::spawn_local(client().make_catalog()),
        tokio::task::spawn_local(client().publish_all()),
        tokio::task::spawn_local(client().publish_all()),
        tokio::task::spawn_local(client().consume_all()),
        tokio::task::spawn_local(client().consume_all()),
        tokio::task::spawn_local(client().watch_all()),
    ];
    tokio::select! {
        biased;
        () = told_to_stop(&scene, node) => {}
        fault = cluster.failed() => {
            if !simulation::is_dead(node) {
                scene.object(format!("node {node} has failed: {fault}"));
            }
            return pending().await;
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    cluster.drain();
    cluster.hand_over().await;
    match cluster.stop().await {
        Ok(()) => scene.tell(format!("node {node} has stopped")),
        Err(_) if simulation::is_dead(node) => {}
        Err(fault) => scene.object(format!("node {node} does not stop: {fault}")),
    }
}

async fn told_to_stop(scene: &Scene, node: u64) {
    while !scene.stopping.borrow().contains(&node) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Client {
    /// Changes leaders and members, says when queues are empty, and how the groups stand here.
    async fn watch_all(self) {
        let mut audit_at = Instant::now();
        loop {
            pause(200).await;
            if self.phase() == Phase::Done {
                return;
            }
            self.transfer().await;
            self.change_members().await;
            self.count().await;
            // An audit reads all rows, so it is for now and then, and for the end.
            if Instant::now() >= audit_at || self.scene.left.get() == Some(0) {
                audit_at = Instant::now() + Duration::from_millis(below(AUDIT_MS));
                self.audit().await;
            }
        }
    }

    async fn transfer(&self) {
        if let Some(node) = self.scene.leader_wanted.take() {
            let change = MemberChange::Transfer { node, group: None };
            let _ = self.cluster.change_members(change).await;
        }
    }

    /// Makes the change that is wanted; again, through whatever node, until it is made.
    async fn change_members(&self) {
        let Some(change) = self.scene.change.borrow().clone() else {
            return;
        };
        let made = self.cluster.change_members(change.clone()).await;
        let mut wanted = self.scene.change.borrow_mut();
        if wanted.as_ref() != Some(&change) {
            return;
        }
        let is_made = match (&change, &made) {
            (_, Ok(())) => true,
            (MemberChange::Remove { node }, Err(ChangeError::NotFound(other))) => node == other,
            (MemberChange::Add { .. }, Err(ChangeError::Conflict(reason))) => {
                reason.ends_with("already")
            }
            _ => false,
        };
        self.scene
            .tell(format!("node {}: {change:?}: {made:?}", self.node));
        if is_made {
            *wanted = None;
            match change {
                MemberChange::Remove { node } => self.scene.members.borrow_mut().remove(&node),
                MemberChange::Add { node, .. } => self.scene.members.borrow_mut().insert(node),
                MemberChange::Transfer { .. } => true,
            };
        }
    }

    async fn audit(&self) {
        let mut groups = vec![GroupId::META];
        groups.extend(self.cluster.data_groups());
        for group in groups {
            if let Ok(Answer::Audit(audit)) = self.cluster.query(group, Query::Audit).await {
                let audited = Audited {
                    applied: audit.applied,
                    digest: audit.digest,
                    violations: audit.violations,
                };
                self.scene.audited(self.node, group, audited);
            }
        }
    }

    /// Says how much there is left to be consumed.
    async fn count(&self) {
        if self.phase() == Phase::Drain
            && let Some(left) = self.left().await
        {
            self.scene.left.set(Some(left));
        }
    }

    /// How many entries there are in all queues; `None` when nobody can tell.
    async fn left(&self) -> Option<u64> {
        let topology = self.topology()?;
        let mut left = 0;
        for queue in QUEUES {
            let queue = &topology.queues[&crate::client::name(queue)];
            match self
                .cluster
                .query(queue.group, Query::Counters(queue.id))
                .await
            {
                Ok(Answer::Counters(counters)) => {
                    left += counters.ready + counters.leased + counters.delayed
                }
                _ => return None,
            }
        }
        Some(left)
    }
}
