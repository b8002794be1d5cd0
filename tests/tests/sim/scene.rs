//! What the harness, the nodes' clients and the nemesis share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use bytes::Bytes;
use millrace_cluster::Cluster;
use millrace_model::digest::Digest;
use millrace_model::ledger::MemberChange;
use millrace_model::{GroupId, Revision};
use millrace_store::simulation;
use millrace_tests::{Fact, History, Outcome};

use crate::places::{MOVES, TWO};
use crate::plant::Plant;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The catalog is made.
    Setup,
    /// They publish and consume, while things go wrong.
    Load,
    /// They consume what is left.
    Drain,
    /// Nothing.
    Done,
}

/// An event that was published, as often as it took.
pub(crate) struct Published {
    pub(crate) stored: Bytes,
    /// What queue two gets in place of it, since a plugin made that of it.
    pub(crate) changed: Option<Bytes>,
    /// It does not go to queue two at once, but waits in a parked list.
    pub(crate) parks: bool,
    /// How long it is delayed.
    pub(crate) delay_ms: Option<u64>,
    /// Where it goes.
    pub(crate) queues: Vec<&'static str>,
    /// Whether it bears a key.
    pub(crate) once: bool,
    /// A client tries it.
    pub(crate) busy: bool,
    pub(crate) acknowledged: bool,
    /// Some attempt may have taken effect.
    pub(crate) unknown: bool,
    pub(crate) attempts: u32,
    /// The number that it was answered with.
    pub(crate) sequence: Option<u64>,
}

/// How one group stands on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audited {
    pub(crate) applied: u64,
    pub(crate) digest: Digest,
    pub(crate) violations: Vec<String>,
    /// Deliveries that wait to be carried to other groups.
    pub(crate) under_way: u64,
}

/// Something was received for the first time.
pub(crate) struct Front {
    pub(crate) sequence: u64,
    /// Of the history's clock.
    pub(crate) answered_at: u64,
}

/// What everybody shares. One thread runs all of it.
pub(crate) struct Scene {
    /// How many nodes the cluster has.
    pub(crate) nodes: u64,
    /// How many data groups.
    pub(crate) groups: u32,
    /// Who they are.
    pub(crate) members: RefCell<BTreeSet<u64>>,
    /// The number that a new node gets.
    pub(crate) next_number: Cell<u64>,
    /// A change of the members that is to be made, until it is.
    pub(crate) change: RefCell<Option<MemberChange>>,
    pub(crate) snapshot_bytes: u64,
    pub(crate) phase: Cell<Phase>,
    pub(crate) history: History,
    pub(crate) published: RefCell<BTreeMap<String, Published>>,
    pub(crate) running: RefCell<BTreeMap<u64, std::sync::Weak<Cluster>>>,
    /// Nodes that are to stop in an orderly way.
    pub(crate) stopping: RefCell<Vec<u64>>,
    /// A node that is to lead, if somebody can arrange it.
    pub(crate) leader_wanted: Cell<Option<u64>>,
    /// The last version of a queue's configuration that was confirmed.
    pub(crate) configured: Cell<u64>,
    /// By queue: the entry, and the how manieth lease of it.
    pub(crate) leases: RefCell<BTreeSet<(String, u64, u32)>>,
    /// By queue and sequence: the event.
    pub(crate) entries: RefCell<BTreeMap<(String, u64), String>>,
    /// By queue: the last of the entries that were received for the first time, and when that was answered.
    pub(crate) fronts: RefCell<BTreeMap<String, Vec<Front>>>,
    /// A queue is about to move: somebody may want to know.
    pub(crate) is_moved: Cell<bool>,
    /// The moves that ended, by their revisions, and whether the queue came to its new group.
    pub(crate) moves: RefCell<BTreeMap<Revision, bool>>,
    /// Queues that move still, as far as anybody could tell last.
    pub(crate) moving: RefCell<Vec<String>>,
    /// What is to be done wrong.
    pub(crate) plant: Cell<Option<Plant>>,
    pub(crate) audits: RefCell<BTreeMap<(u64, GroupId), Audited>>,
    /// What a group is at an entry, and the node that was there first.
    pub(crate) digests: RefCell<BTreeMap<(GroupId, u64), (u64, Digest)>>,
    /// Entries in all queues, as far as anybody could tell last.
    pub(crate) left: Cell<Option<u64>>,
    /// What must not be, in words.
    pub(crate) wrong: RefCell<Vec<String>>,
    /// What happened, in order, for people.
    pub(crate) story: RefCell<Vec<String>>,
    pub(crate) now_ms: Cell<u64>,
    trace: RefCell<DefaultHasher>,
    pub(crate) verbose: bool,
}

impl Scene {
    pub(crate) fn new(nodes: u64, groups: u32, snapshot_bytes: u64, verbose: bool) -> Rc<Self> {
        Rc::new(Self {
            nodes,
            groups,
            members: RefCell::new((1..=nodes).collect()),
            next_number: Cell::new(nodes + 1),
            change: RefCell::default(),
            snapshot_bytes,
            phase: Cell::new(Phase::Setup),
            history: History::default(),
            published: RefCell::default(),
            running: RefCell::default(),
            stopping: RefCell::default(),
            leader_wanted: Cell::new(None),
            configured: Cell::new(0),
            leases: RefCell::default(),
            entries: RefCell::default(),
            fronts: RefCell::default(),
            is_moved: Cell::new(false),
            moves: RefCell::default(),
            moving: RefCell::default(),
            plant: Cell::new(None),
            audits: RefCell::default(),
            digests: RefCell::default(),
            left: Cell::new(None),
            wrong: RefCell::default(),
            story: RefCell::default(),
            now_ms: Cell::new(0),
            trace: RefCell::new(DefaultHasher::new()),
            verbose,
        })
    }

    /// Notes what happened.
    pub(crate) fn tell(&self, what: impl Into<String>) {
        let line = format!("{:>8.3} s  {}", self.now_ms.get() as f64 / 1e3, what.into());
        line.hash(&mut *self.trace.borrow_mut());
        if self.verbose {
            println!("{line}");
        }
        self.story.borrow_mut().push(line);
    }

    /// Notes what must not be.
    pub(crate) fn object(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format!("WRONG: {what}"));
        self.wrong.borrow_mut().push(what);
    }

    /// Notes how a group stands on a node: at one entry all are the same.
    pub(crate) fn audited(&self, node: u64, group: GroupId, audited: Audited) {
        for what in &audited.violations {
            self.object(format!("node {node}, group {group}: {what}"));
        }
        let mut digests = self.digests.borrow_mut();
        let there = digests.entry((group, audited.applied));
        let (first, digest) = *there.or_insert((node, audited.digest));
        if digest != audited.digest {
            let at = audited.applied;
            self.object(format!(
                "group {group} on node {node} is not what it is on node {first} at entry {at}"
            ));
        }
        self.audits.borrow_mut().insert((node, group), audited);
    }

    /// Notes that a move has ended.
    pub(crate) fn note_move(&self, revision: Revision, has_come: bool) {
        self.moves.borrow_mut().insert(revision, has_come);
    }

    /// How many queues have come to their new groups, as far as anybody looked.
    pub(crate) fn moved(&self) -> usize {
        let moves = self.moves.borrow();
        moves.values().filter(|has_come| **has_come).count()
    }

    /// Takes the state of the disks into the trace.
    pub(crate) fn mark(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        let mut trace = self.trace.borrow_mut();
        for node in 1..self.next_number.get() {
            simulation::changes(node).hash(&mut *trace);
        }
    }

    /// Two runs of one seed have the same.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.borrow().finish()
    }

    /// Tells the history what became of all publishes.
    pub(crate) fn close_history(&self) {
        for (from, to) in MOVES.map(|(from, to)| (from.to_owned(), to.to_owned())) {
            self.history.record(Fact::Moves { from, to });
        }
        for (id, published) in self.published.borrow().iter() {
            if let Some(changed) = &published.changed {
                self.history.record(Fact::Changed {
                    id: id.clone(),
                    queue: TWO.to_owned(),
                    digest: History::digest(changed),
                });
            }
            let outcome = match published {
                Published {
                    acknowledged: true, ..
                } => Outcome::Acknowledged,
                Published {
                    unknown: false,
                    busy: false,
                    ..
                } => Outcome::Refused,
                _ => Outcome::Unknown,
            };
            self.history.record(Fact::Published {
                id: id.clone(),
                digest: History::digest(&published.stored),
                queues: published.queues.iter().map(ToString::to_string).collect(),
                // A key is taken once, and so is what was tried once.
                once: published.once || published.attempts <= 1,
                outcome,
            });
        }
    }
}
