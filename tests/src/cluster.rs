//! [`Cluster`]: the nodes of a cluster, each a process of its own on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::millrace;
use crate::broker::Broker;
use crate::client::Client;
use crate::hosts::Hosts;
use crate::mount::LoopDisk;

/// Longest wait for the nodes to agree, before a test gives up.
const AGREE_MAX: Duration = Duration::from_secs(60);

/// Longest wait for what a node says about the cluster: one that is stopped says nothing.
const STATUS_MAX: Duration = Duration::from_secs(3);

/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Nodes of one cluster. Dropping it kills them.
///
/// A cluster has a loopback address of its own (Linux has 16 million of them) and the same ports at every start: no other
/// test and no outgoing connection ever takes the port of a node that is down.
#[derive(Debug)]
pub struct Cluster {
    loopback: String,
    nodes: BTreeMap<u64, Broker>,
    // Last, so that disks and hosts go after the processes.
    setting: Setting,
}

/// What the nodes of a cluster run on, where it is not this machine as it is.
#[derive(Debug, Default)]
pub struct Setting {
    /// A host of its own for each node.
    pub hosts: Option<Hosts>,
    /// File systems for the data of some nodes.
    pub disks: BTreeMap<u64, LoopDisk>,
    /// Variables for the first start of some nodes; [`Broker::set`] changes them.
    pub environment: BTreeMap<u64, Vec<(String, String)>>,
}

/// What one node says about one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub group: u64,
    /// Its leader, if one is known.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// Index of the last entry applied on the node that was asked.
    pub applied: u64,
    /// State and last known index of each member.
    pub members: BTreeMap<u64, (String, Option<u64>)>,
}

impl Cluster {
    /// Starts `nodes` nodes on empty directories, and waits until all are ready.
    #[must_use]
    pub fn start(nodes: u64) -> Self {
        Self::start_on(nodes, Setting::default())
    }

    /// As [`Cluster::start`], with a host for each node.
    #[must_use]
    pub fn start_on_hosts(nodes: u64) -> Self {
        let hosts = Some(Hosts::make(nodes));
        let setting = Setting {
            hosts,
            ..Setting::default()
        };
        Self::start_on(nodes, setting)
    }

    /// As [`Cluster::start`], in a chosen setting.
    #[must_use]
    pub fn start_on(nodes: u64, setting: Setting) -> Self {
        let byte = || fastrand::u8(1..=250);
        let mut cluster = Self {
            loopback: format!("127.{}.{}.{}", byte(), byte(), byte()),
            nodes: BTreeMap::new(),
            setting,
        };
        let numbers: Vec<u64> = (1..=nodes).collect();
        for node in &numbers {
            cluster.spawn_new(*node, &numbers);
        }
        for node in &numbers {
            cluster.node(*node).get_ready();
        }
        cluster
    }

    /// Starts a node on an empty directory, with a list of these first members. Waits for nothing.
    pub fn spawn_new(&mut self, node: u64, list: &[u64]) {
        let list: Vec<String> = list.iter().map(|node| self.member(*node)).collect();
        let (host, list) = (self.host(node), list.join(","));
        let listen = format!("{host}:{}", 7440 + node);
        let peer_listen = format!("{host}:{}", 7450 + node);
        let flags = [
            "--node",
            &node.to_string(),
            "--listen",
            &listen,
            "--peer-listen",
            &peer_listen,
            "--cluster",
            &list,
        ];
        let mut broker = Broker::idle(&flags);
        if let Some(hosts) = &self.setting.hosts {
            broker.run_in(hosts.enter(node));
        }
        if let Some(disk) = self.setting.disks.get(&node) {
            broker.keep_data_in(disk.path().join("data"));
        }
        for (variable, value) in self.setting.environment.get(&node).into_iter().flatten() {
            broker.set(variable, value);
        }
        broker.spawn();
        self.nodes.insert(node, broker);
    }

    fn host(&self, node: u64) -> String {
        let hosts = self.setting.hosts.as_ref();
        hosts.map_or_else(|| self.loopback.clone(), |hosts| hosts.address(node))
    }

    /// The hosts of a cluster that was started on hosts.
    #[track_caller]
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        self.setting.hosts.as_ref().expect("started on hosts")
    }

    /// The disk of a node that was started on one.
    #[track_caller]
    pub fn disk(&mut self, node: u64) -> &mut LoopDisk {
        let disk = self.setting.disks.get_mut(&node);
        disk.expect("the node has a disk of its own")
    }

    /// `N=HOST:PORT`, as lists of members and `millrace cluster add` have it.
    #[must_use]
    pub fn member(&self, node: u64) -> String {
        format!("{node}={}:{}", self.host(node), 7450 + node)
    }

    /// The process of a node.
    #[track_caller]
    pub fn node(&mut self, node: u64) -> &mut Broker {
        self.nodes.get_mut(&node).expect("a node of this number")
    }

    /// Kills a node for good, and forgets it.
    pub fn forget(&mut self, node: u64) {
        self.nodes.remove(&node);
    }

    /// All nodes.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// The URL of a node: the same at every start.
    #[must_use]
    pub fn url(&self, node: u64) -> String {
        format!("http://{}:{}", self.host(node), 7440 + node)
    }

    /// The URLs of all nodes, whether they run or not.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.urls_without(0)
    }

    /// The URLs of all nodes but one.
    #[must_use]
    pub fn urls_without(&self, node: u64) -> Vec<String> {
        let others = self.nodes.keys().filter(|other| **other != node);
        others.map(|node| self.url(*node)).collect()
    }

    /// What a node says about all groups; `None` when it does not answer.
    #[must_use]
    pub fn view(&self, node: u64) -> Option<Vec<GroupView>> {
        view(&self.url(node))
    }

    /// Who leads a group, as those say that have heard of its newest term; `None` while there is an election.
    #[must_use]
    pub fn leader(&self, group: u64) -> Option<u64> {
        let views = self.nodes.keys().filter_map(|node| self.view(*node));
        let views = views.flatten().filter(|view| view.group == group);
        views.max_by_key(|view| (view.term, view.leader))?.leader
    }

    /// Waits until `found` finds something.
    ///
    /// # Panics
    /// When it does not within a minute; `what` says what was waited for.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            if began.elapsed() > AGREE_MAX {
                let nodes = self.nodes.keys();
                let views: Vec<_> = nodes.map(|node| (node, self.view(*node))).collect();
                panic!("waited {AGREE_MAX:?} for {what}: {views:#?}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until every node has applied all that any node has, the nodes are the voters of every group, and nothing
    /// moves any more. To be called when all load has ended.
    pub fn wait_until_level(&self) {
        let voters: BTreeSet<u64> = self.nodes.keys().copied().collect();
        let mut before = None;
        self.wait("all nodes to be level", |cluster| {
            let now = cluster.level(&voters);
            let is_still = now.is_some() && now == before;
            before = now;
            is_still.then_some(())
        });
    }

    /// The last index of each group, if all nodes are there.
    fn level(&self, voters: &BTreeSet<u64>) -> Option<Vec<u64>> {
        let views = voters.iter().map(|node| self.view(*node));
        let views: Vec<Vec<GroupView>> = views.collect::<Option<_>>()?;
        let first = &views[0];
        let is_level = views.iter().flatten().zip(first.iter().cycle());
        let mut is_level = is_level.map(|(view, first)| {
            view.group == first.group
                && view.applied == first.applied
                && view.all_vote(voters)
                && (view.members.values()).all(|(_, index)| *index == Some(first.applied))
        });
        is_level
            .all(|is_level| is_level)
            .then(|| first.iter().map(|view| view.applied).collect())
    }

    /// Runs `millrace cluster ARGS` against a node, and waits for its end.
    #[must_use]
    pub fn command(&self, node: u64, args: &[&str]) -> Output {
        Command::new(millrace())
            .arg("cluster")
            .args(args)
            .args(["--server", &self.url(node)])
            .output()
            .expect("the binary can be run")
    }
}

impl Drop for Cluster {
    /// A process whose disk is frozen cannot be killed.
    fn drop(&mut self) {
        self.setting
            .disks
            .values()
            .for_each(LoopDisk::thaw_if_frozen);
    }
}

impl GroupView {
    /// Whether these nodes, and no others, are members and have a vote, and one of them leads.
    #[must_use]
    pub fn all_vote(&self, voters: &BTreeSet<u64>) -> bool {
        let has_vote = |state: &str| state == "leader" || state == "follower";
        self.members.keys().eq(voters.iter())
            && self.members.values().all(|(state, _)| has_vote(state))
            && self.leader.is_some_and(|leader| voters.contains(&leader))
    }
}

/// As [`Cluster::view`], for the node at this URL.
pub(crate) fn view(url: &str) -> Option<Vec<GroupView>> {
    let client = Client::patient(url, STATUS_MAX);
    let answer = client.call("GET", "/v1/cluster", &[], None).ok()?;
    let json = answer.with(200).json();
    let groups = json["groups"].as_array().expect("a list of groups");
    Some(groups.iter().map(group_view).collect())
}

fn group_view(group: &Value) -> GroupView {
    let members = group["members"].as_array().expect("a list of members");
    let member = |member: &Value| {
        let state = member["state"].as_str().expect("a state").to_owned();
        let node = member["node"].as_u64().expect("a number");
        (node, (state, member["match_index"].as_u64()))
    };
    GroupView {
        group: group["id"].as_u64().expect("a number"),
        leader: group["leader"].as_u64(),
        term: group["term"].as_u64().expect("a term"),
        applied: group["applied"].as_u64().expect("an index"),
        members: members.iter().map(member).collect(),
    }
}
