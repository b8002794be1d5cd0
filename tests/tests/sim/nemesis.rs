//! What goes wrong: nodes crash, lose and tear what was not synced, stop and come back; links are cut, one way or in a
//! ring, and slow; clocks are wrong; leaders are moved.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use millrace_model::ledger::MemberChange;
use millrace_store::simulation::{self, Loss};
use turmoil::Sim;

use crate::client::{below, percent};
use crate::node::{FULL_DISK_BYTES, host};
use crate::scene::{Phase, Scene};

/// Longest time from one fault to the next.
const PAUSE_MS: u64 = 2_500;

/// Longest time that a fault lasts.
const FAULT_MS: u64 = 4_000;

/// How long a move takes, about.
const MOVE_MS: u64 = 300;

/// By how much a clock is wrong at most.
const SKEW_MS_MAX: u64 = 20_000;

/// What makes things go wrong.
pub(crate) struct Nemesis {
    scene: Rc<Scene>,
    next_ms: u64,
    /// When nodes that are down start again.
    down: BTreeMap<u64, u64>,
    /// When the network is whole again.
    cut_until: Option<u64>,
    slow_until: Option<u64>,
    /// When full disks have room again.
    full: BTreeMap<u64, u64>,
    latency: Duration,
    /// Nodes that run, or will again.
    hosts: BTreeSet<u64>,
    /// Who leaves, and who comes.
    replacing: Option<(u64, u64)>,
    pub(crate) faults: u64,
}

impl Nemesis {
    pub(crate) fn new(scene: &Rc<Scene>, latency: Duration) -> Self {
        Self {
            scene: Rc::clone(scene),
            next_ms: 0,
            down: BTreeMap::new(),
            cut_until: None,
            slow_until: None,
            full: BTreeMap::new(),
            latency,
            hosts: (1..=scene.nodes).collect(),
            replacing: None,
            faults: 0,
        }
    }

    /// Does what is due after one step of the simulation.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        self.go_on(sim);
        self.bury(sim, now_ms);
        self.empty(now_ms);
        self.heal(sim, now_ms);
        // What falls into a move is what matters of it.
        if self.scene.is_moved.take() && percent(50) {
            self.next_ms = self.next_ms.min(now_ms + below(MOVE_MS));
        }
        if self.scene.phase.get() == Phase::Load && now_ms >= self.next_ms {
            self.next_ms = now_ms + 200 + below(PAUSE_MS);
            self.harm(sim, now_ms);
        }
    }

    /// Nodes whose disks have died, or that have stopped, are down for a while.
    fn bury(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        for node in self.hosts.clone() {
            if self.down.contains_key(&node) {
                continue;
            }
            if simulation::is_dead(node) {
                self.scene.tell(format!("node {node} is dead"));
                sim.crash(host(node).as_str());
            } else if !self.has_stopped(sim, node) {
                continue;
            }
            self.down.insert(node, now_ms + 50 + below(FAULT_MS));
        }
    }

    /// Only who is told to stop does.
    fn has_stopped(&self, sim: &mut Sim<'_>, node: u64) -> bool {
        self.scene.stopping.borrow().contains(&node) && !sim.is_host_running(host(node).as_str())
    }

    fn heal(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        let peace = self.scene.phase.get() == Phase::Drain;
        if peace {
            for node in &self.hosts {
                simulation::set_slow(*node, 0);
                simulation::set_skew(*node, 0);
            }
        }
        let is_due = |until: u64| peace || now_ms >= until;
        if self.cut_until.is_some_and(is_due) {
            self.cut_until = None;
            self.scene.tell("the network is whole");
            self.pairs(|one, other| sim.repair(one, other));
        }
        if self.slow_until.is_some_and(is_due) {
            self.slow_until = None;
            let latency = self.latency;
            self.pairs(|one, other| sim.set_link_max_message_latency(one, other, latency));
        }
        let due: Vec<_> = self
            .down
            .iter()
            .filter(|(_, until)| is_due(**until))
            .map(|(node, _)| *node)
            .collect();
        for node in due {
            self.down.remove(&node);
            self.scene
                .stopping
                .borrow_mut()
                .retain(|other| *other != node);
            simulation::revive(node);
            self.scene.tell(format!("node {node} starts"));
            sim.bounce(host(node).as_str());
        }
    }

    /// Gives full disks room again.
    fn empty(&mut self, now_ms: u64) {
        let peace = self.scene.phase.get() == Phase::Drain;
        let is_due = |_: &u64, until: &mut u64| peace || now_ms >= *until;
        for (node, _) in self.full.extract_if(.., is_due) {
            self.scene
                .tell(format!("the disk of node {node} has room again"));
            simulation::set_full(node, None);
        }
    }

    fn fill(&mut self, node: u64, now_ms: u64) {
        self.scene.tell(format!("the disk of node {node} is full"));
        simulation::set_full(node, Some(FULL_DISK_BYTES));
        self.full.insert(node, now_ms + 1_000 + below(2 * FAULT_MS));
    }

    fn harm(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        self.faults += 1;
        let node = self.any();
        match below(13) {
            12 if percent(20) => {
                let all = self.hosts.clone();
                all.into_iter().for_each(|node| self.fill(node, now_ms));
            }
            12 => self.fill(node, now_ms),
            10 => {
                let ms = if percent(50) { 0 } else { below(150) };
                self.scene
                    .tell(format!("each sync of node {node} takes {ms} ms more"));
                simulation::set_slow(node, ms);
            }
            11 => self.replace(sim, node),
            0..=2 => self.crash(node),
            3 => self.hosts.iter().for_each(|node| self.crash(*node)),
            4 => {
                self.scene.tell(format!("node {node} is to stop"));
                self.scene.stopping.borrow_mut().push(node);
            }
            5..=6 => self.cut(sim, now_ms),
            7 => self.slow(sim, now_ms),
            8 => {
                // Time never goes back, so until a clock has caught up no lease ends.
                let ms = i64::try_from(below(2 * SKEW_MS_MAX)).unwrap() - SKEW_MS_MAX.cast_signed();
                self.scene
                    .tell(format!("the clock of node {node} is {ms} ms off"));
                simulation::set_skew(node, ms);
            }
            _ => self.transfer(node),
        }
    }

    fn any(&self) -> u64 {
        let nodes = self.hosts.len() as u64;
        let at = usize::try_from(below(nodes)).unwrap();
        *self.hosts.iter().nth(at).unwrap()
    }

    /// Takes a member out for good and puts a new node in its place.
    fn replace(&mut self, sim: &mut Sim<'_>, node: u64) {
        let is_member = self.scene.members.borrow().contains(&node);
        if self.replacing.is_some() || !is_member || self.scene.change.borrow().is_some() {
            return;
        }
        let new = self.scene.next_number.get();
        self.scene.next_number.set(new + 1);
        self.scene
            .tell(format!("node {new} is to take the place of node {node}"));
        self.replacing = Some((node, new));
        *self.scene.change.borrow_mut() = Some(MemberChange::Remove { node });
        self.hosts.insert(new);
        crate::run::add_host(sim, &self.scene, new);
    }

    /// The node is out: its host goes, and the new one comes in.
    fn go_on(&mut self, sim: &mut Sim<'_>) {
        let Some((old, new)) = self.replacing else {
            return;
        };
        if self.scene.change.borrow().is_some() {
            return;
        }
        self.replacing = None;
        self.hosts.remove(&old);
        self.down.remove(&old);
        sim.crash(host(old).as_str());
        self.scene.tell(format!("node {old} is gone"));
        let address = format!("{}:7441", host(new));
        *self.scene.change.borrow_mut() = Some(MemberChange::Add { node: new, address });
    }

    fn crash(&self, node: u64) {
        if self.down.contains_key(&node) {
            return;
        }
        let loss = match below(4) {
            0 => Loss::Nothing,
            1 => Loss::Everything,
            _ => Loss::Torn,
        };
        let changes = if percent(30) { 0 } else { below(60) };
        self.scene.tell(format!(
            "node {node} is to die after {changes} changes, losing {loss:?}"
        ));
        simulation::crash_after(node, changes, loss);
        if percent(30) {
            simulation::crash(node, loss);
        }
    }

    fn cut(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        if self.cut_until.is_some() {
            return;
        }
        self.cut_until = Some(now_ms + 300 + below(FAULT_MS));
        let alone = self.any();
        let others = self.hosts.iter().copied().filter(|node| *node != alone);
        match below(4) {
            0 => {
                self.scene.tell(format!("node {alone} is cut off"));
                others.for_each(|other| sim.partition(host(alone).as_str(), host(other).as_str()));
            }
            1 => {
                self.scene.tell(format!("node {alone} is not heard"));
                others.for_each(|other| {
                    sim.partition_oneway(host(alone).as_str(), host(other).as_str())
                });
            }
            2 => {
                self.scene.tell(format!("node {alone} hears nothing"));
                others.for_each(|other| {
                    sim.partition_oneway(host(other).as_str(), host(alone).as_str())
                });
            }
            _ => {
                self.scene.tell("each node is not heard by the next one");
                let nexts = self.hosts.iter().cycle().skip(1);
                for (node, next) in self.hosts.iter().zip(nexts) {
                    sim.partition_oneway(host(*node).as_str(), host(*next).as_str());
                }
            }
        }
    }

    fn slow(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        let (node, ms) = (self.any(), 30 + below(400));
        self.slow_until = Some(now_ms + FAULT_MS);
        self.scene
            .tell(format!("the links of node {node} take up to {ms} ms"));
        let latency = Duration::from_millis(ms);
        for other in self.hosts.iter().copied().filter(|other| *other != node) {
            sim.set_link_max_message_latency(host(node).as_str(), host(other).as_str(), latency);
        }
    }

    fn transfer(&self, node: u64) {
        self.scene.tell(format!("node {node} is to lead"));
        self.scene.leader_wanted.set(Some(node));
    }

    fn pairs(&self, mut call: impl FnMut(&str, &str)) {
        for one in &self.hosts {
            for other in self.hosts.range(one + 1..) {
                call(&host(*one), &host(*other));
            }
        }
    }
}
