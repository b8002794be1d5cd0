//! What runs on a simulated host: one node of the broker with its clients.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::{Cluster, ClusterOptions};
use millrace_model::limit;
use millrace_store::simulation;

use crate::client::Client;
use crate::scene::Scene;

/// What a batch says of one command or one row that is carried or moved, beside its bytes: none here names many receipts.
const ROW_BYTES_MAX: usize = 256;

/// Longest entry of a log: all that is batched, or carried to another group, at once after a stall.
const BODY_BYTES_MAX: usize = max(limit::BATCH_BYTES_MAX, limit::CARRY_BYTES_MAX)
    + max(limit::BATCH_COMMANDS_MAX, limit::CARRY_ROWS_MAX) * ROW_BYTES_MAX;

/// As small as may be, so that segments come and go: three quarters of it are for one entry.
const SEGMENT_BYTES: u32 = (BODY_BYTES_MAX.div_ceil(3) * 4).next_multiple_of(4096) as u32;

/// What a full disk has left: the tables want 24 MiB beside what they write, and have a reserve to make up for it; and a
/// writer that is in the middle of something gets a segment all the same, which is seldom and not often in a row.
pub(crate) const FULL_DISK_BYTES: u64 = (24 << 20) + 5 * SEGMENT_BYTES as u64;

const fn max(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

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
    options.data_groups = Some(scene.groups);
    options.snapshot_bytes = scene.snapshot_bytes;
    options.log.segment_bytes = SEGMENT_BYTES;
    assert!(
        options.log.body_bytes_max() >= BODY_BYTES_MAX,
        "a segment has room for the largest entry"
    );
    options.log.cache_bytes = 64 << 10;
    options.log.free_segments_max = 3;
    // More than a full disk has left, so the log takes no segment that it can do without.
    options.log.disk_reserve_bytes = FULL_DISK_BYTES + (2 << 20);
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
        tokio::task::spawn_local(client().move_all()),
        tokio::task::spawn_local(client().move_queues()),
        tokio::task::spawn_local(client().reconfigure_all()),
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
