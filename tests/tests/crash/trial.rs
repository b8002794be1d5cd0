//! A cluster under load and under observation, to be mistreated; and the verdict at the end.

use std::time::{Duration, Instant};

use millrace_tests::{Client, Cluster, Load, Stall, Watch};
use serde_json::json;

use crate::table::Run;
use crate::verdict::judge_cluster;
use crate::{DATA_GROUP, promise};

/// Every node serves within this time when a fault is over.
const HEALED: Duration = Duration::from_secs(10);
/// How long it is waited for that at all: what is late is told with how late it was.
const PATIENCE: Duration = Duration::from_secs(60);

/// One run of one fault on one cluster.
pub(crate) struct Trial {
    pub(crate) cluster: Cluster,
    pub(crate) load: Load,
    pub(crate) run: Run,
    watch: Watch,
}

impl Trial {
    /// Starts the load, and looks on that no term ever has two leaders.
    pub(crate) fn begin(fault: &'static str, cluster: Cluster, seed: u64) -> Self {
        let load = Load::start(&cluster.urls(), seed);
        let watch = Watch::start(&cluster.urls());
        Self {
            cluster,
            load,
            run: Run::new(fault),
            watch,
        }
    }

    /// The leader of the data group, made the leader of the catalog too.
    pub(crate) fn leader(&self) -> u64 {
        self.cluster.wait("one node to lead all groups", |cluster| {
            let leader = cluster.leader(DATA_GROUP)?;
            if cluster.leader(0) == Some(leader) {
                return Some(leader);
            }
            let client = Client::patient(&cluster.url(leader), HEALED);
            let body = json!({ "node": leader }).to_string();
            let headers = [("content-type", "application/json")];
            let path = "/v1/cluster/transfer";
            let _ = client.call("POST", path, &headers, Some(body.as_bytes()));
            std::thread::sleep(Duration::from_millis(200));
            None
        })
    }

    /// All nodes but these.
    pub(crate) fn others(&self, but: &[u64]) -> Vec<u64> {
        let nodes = self.cluster.numbers();
        nodes
            .into_iter()
            .filter(|node| !but.contains(node))
            .collect()
    }

    /// Notes how long it takes until one of these nodes acknowledges a publish.
    pub(crate) fn serves_through(&mut self, nodes: &[u64]) -> Duration {
        let doors: Vec<String> = nodes.iter().map(|node| self.cluster.url(*node)).collect();
        let took = promise::served(&self.load, &doors);
        self.run.fail_overs.push(took);
        took
    }

    /// Waits until each node acknowledges a publish again: how long that took.
    pub(crate) fn heals(&self) -> Duration {
        let began = Instant::now();
        for node in self.cluster.numbers() {
            let door = [self.cluster.url(node)];
            let took = self.load.probe(&door, PATIENCE);
            assert!(took.is_some(), "node {node} serves nothing");
        }
        let took = began.elapsed();
        promise::kept(&self.load, "to heal", began, took, HEALED);
        took
    }

    /// Waits until so many more events were delivered.
    pub(crate) fn goes_on(&self, events: u64) {
        let before = self.load.deliveries();
        self.cluster.wait("the load to go on", |_| {
            (self.load.deliveries() >= before + events).then_some(())
        });
    }

    /// Notes the longest stall so far, and forgets it.
    pub(crate) fn stalled(&mut self) -> Stall {
        let stall = self.load.stall();
        self.run.stall = self.run.stall.max(stall.took);
        stall
    }

    /// Drains the queues, and judges history and disks.
    pub(crate) fn end(mut self) {
        self.stalled();
        self.load.drain();
        let terms = self.watch.end();
        let figures = judge_cluster(&mut self.cluster, &self.load);
        println!("{terms} terms, one leader in each");
        self.run.record(figures);
    }
}
