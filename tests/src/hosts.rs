//! [`Hosts`]: machines of their own for the nodes of a cluster: network namespaces at one bridge, and faults of the network between
//! them. Needs root, iproute2 and nftables, as CI has them.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::{run, said};

/// Where Linux keeps the names of network namespaces.
const NAMES: &str = "/run/netns";
/// Part of the network that is set aside for tests of network devices (RFC 2544): nobody's real addresses.
const NETWORK: &str = "198.18";
/// Addresses of one set of hosts: a /27. The last usable one is ours, the client's.
const ADDRESSES: u8 = 32;
const CLIENT: u8 = 30;

/// Network namespaces, one a node, at a bridge that lies in one more. The test itself, with all clients, has an address at
/// the bridge too. Dropping it removes everything; what a killed run left is removed when the next one begins.
#[derive(Debug)]
pub struct Hosts {
    /// `mrPID-COUNT`: begins the name of everything that belongs to it.
    tag: String,
    /// The first three bytes of all addresses.
    prefix: String,
    /// The last byte of the network's address.
    base: u8,
    nodes: u64,
}

impl Hosts {
    /// Makes a host for each of the nodes 1 to `nodes`.
    ///
    /// # Panics
    /// When that fails: the test needs root, iproute2 and nftables.
    #[must_use]
    pub fn make(nodes: u64) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        assert!(
            nodes < u64::from(CLIENT),
            "a network has {ADDRESSES} addresses"
        );
        remove_leftovers();
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let (prefix, base) = free_network();
        let hosts = Self {
            tag: format!("mr{}-{count}", std::process::id()),
            prefix,
            base,
            nodes,
        };
        hosts.make_bridge();
        (1..=nodes).for_each(|node| hosts.make_host(node));
        hosts
    }

    /// The bridge, and the leg of the test.
    fn make_bridge(&self) {
        let (bridge, leg) = (self.name(0), format!("{}-r", self.tag));
        ip(&["netns", "add", &bridge]);
        ip(&[
            "-n", &bridge, "link", "add", "name", "switch", "type", "bridge",
        ]);
        ip(&["-n", &bridge, "link", "set", "switch", "up"]);
        ip(&[
            "link", "add", &leg, "type", "veth", "peer", "name", "p0", "netns", &bridge,
        ]);
        ip(&["-n", &bridge, "link", "set", "p0", "master", "switch", "up"]);
        let address = format!("{}/27", self.last_byte(CLIENT));
        ip(&["addr", "add", &address, "dev", &leg]);
        ip(&["link", "set", &leg, "up"]);
    }

    fn make_host(&self, node: u64) {
        let (bridge, host, port) = (self.name(0), self.name(node), format!("p{node}"));
        ip(&["netns", "add", &host]);
        ip(&[
            "link", "add", "eth0", "netns", &host, "type", "veth", "peer", "name", &port, "netns",
            &bridge,
        ]);
        ip(&[
            "-n", &bridge, "link", "set", &port, "master", "switch", "up",
        ]);
        let address = format!("{}/27", self.address(node));
        ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"]);
        ip(&["-n", &host, "link", "set", "eth0", "up"]);
        ip(&["-n", &host, "link", "set", "lo", "up"]);
        self.nft(node, "add table inet faults");
        self.nft(
            node,
            "add chain inet faults input { type filter hook input priority 0; }",
        );
    }

    fn name(&self, node: u64) -> String {
        format!("{}-{node}", self.tag)
    }

    /// The address of a node.
    #[must_use]
    pub fn address(&self, node: u64) -> String {
        self.last_byte(u8::try_from(node).expect("few nodes"))
    }

    fn last_byte(&self, of: u8) -> String {
        format!("{}.{}", self.prefix, self.base + of)
    }

    /// The words that stand before a command which is to run on the host of a node. The process keeps its number.
    #[must_use]
    pub fn enter(&self, node: u64) -> Vec<String> {
        let name = self.name(node);
        vec!["nsenter".to_owned(), format!("--net={NAMES}/{name}")]
    }

    /// What `from` sends no longer reaches `to`; the other direction is left as it is.
    pub fn drop_from(&self, from: u64, to: u64) {
        let from = self.address(from);
        self.nft(
            to,
            &format!("add rule inet faults input ip saddr {from} drop"),
        );
    }

    /// Two nodes no longer reach each other.
    pub fn part(&self, one: u64, other: u64) {
        self.drop_from(one, other);
        self.drop_from(other, one);
    }

    /// A node reaches no other node, and none reaches it. Clients do.
    pub fn isolate(&self, node: u64) {
        self.others(node).for_each(|other| self.part(node, other));
    }

    /// Each packet between nodes is lost with this probability, in percent.
    pub fn lose(&self, percent: u32) {
        let drop = format!("numgen random mod 100 < {percent} drop");
        for node in 1..=self.nodes {
            for other in self.others(node) {
                let from = self.address(other);
                self.nft(
                    node,
                    &format!("add rule inet faults input ip saddr {from} {drop}"),
                );
            }
        }
    }

    /// Everybody reaches everybody again.
    pub fn heal(&self) {
        (1..=self.nodes).for_each(|node| self.nft(node, "flush chain inet faults input"));
    }

    fn others(&self, node: u64) -> impl Iterator<Item = u64> {
        (1..=self.nodes).filter(move |other| *other != node)
    }

    fn nft(&self, node: u64, rule: &str) {
        let words = self.enter(node);
        run(Command::new(&words[0])
            .args(&words[1..])
            .args(["nft", rule]));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        (0..=self.nodes).for_each(|node| remove(&self.name(node)));
    }
}

fn ip(words: &[&str]) {
    run(Command::new("ip").args(words));
}

/// The beginning of a network that nothing on this machine is in.
fn free_network() -> (String, u8) {
    let taken = said(Command::new("ip").args(["-4", "-o", "addr"]));
    loop {
        let prefix = format!("{NETWORK}.{}", fastrand::u8(..));
        let base = fastrand::u8(..u8::MAX / ADDRESSES + 1) * ADDRESSES;
        if !taken.contains(&format!("{prefix}.{}/", base + CLIENT)) {
            return (prefix, base);
        }
    }
}

/// Removes the namespaces of processes that are no more.
fn remove_leftovers() {
    let Ok(names) = fs::read_dir(NAMES) else {
        return;
    };
    for name in names.flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        let maker = name
            .strip_prefix("mr")
            .and_then(|rest| rest.split_once('-'));
        let maker: Option<u32> = maker.and_then(|(pid, _)| pid.parse().ok());
        if maker.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            remove(&name);
        }
    }
}

/// A namespace goes when its last process is gone: nodes of a killed run are still there.
fn remove(name: &str) {
    let pids = Command::new("ip").args(["netns", "pids", name]).output();
    let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for pid in pids.unwrap_or_default().split_whitespace() {
        let _ = Command::new("kill").args(["-9", pid]).status();
    }
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}
