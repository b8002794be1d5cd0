//! Who leads a group, as this node knows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use crate::group::Group;
use crate::members;
use crate::peer::peers::Peers;
use crate::types::{Member, Raft, TypeConfig};
use crate::waiters::WaitersByQueue;

/// A leader that no majority has answered for so long leads nobody, and refuses at once until one answers again. The others
/// stand for election at about the same time.
const FORSAKEN_AFTER: Duration = Duration::from_millis(1500);

/// A leader whose own disk has synced nothing of what waits for so long hands over: it could answer nobody, while the
/// others hear its heartbeats and wait for it.
const DISK_HANGS_AFTER: Duration = Duration::from_secs(1);

/// How often a leader looks whether it is forsaken, or its disk hangs.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who leads a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    /// This node, and it is the only one with a vote: what is applied here is all there is.
    Alone,
    /// This node.
    Here,
    /// Another one.
    At(u64),
    /// Nobody is known to.
    Unknown,
}

/// Who leads a group, to be watched.
#[derive(Debug)]
pub(crate) struct Leadership {
    watched: watch::Sender<Leader>,
    /// The same as a number: every request looks at it, and takes no lock for that.
    now: AtomicU64,
    /// How often this node's disk was seen to hang while it led.
    hangs: AtomicU64,
}

/// Numbers that stand for leaders; all others are those of nodes, which are far smaller.
const UNKNOWN: u64 = 0;
const ALONE: u64 = u64::MAX;
const HERE: u64 = u64::MAX - 1;

impl Leader {
    fn number(self) -> u64 {
        match self {
            Self::Unknown => UNKNOWN,
            Self::Alone => ALONE,
            Self::Here => HERE,
            Self::At(node) => node,
        }
    }

    fn of(number: u64) -> Self {
        match number {
            UNKNOWN => Self::Unknown,
            ALONE => Self::Alone,
            HERE => Self::Here,
            node => Self::At(node),
        }
    }
}

type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;

fn leader(metrics: &ServerMetrics) -> Leader {
    match metrics.current_leader {
        None => Leader::Unknown,
        Some(leader) if leader != metrics.id => Leader::At(leader),
        Some(_) => {
            let membership = metrics.membership_config.membership();
            let is_alone = membership.voter_ids().all(|voter| voter == metrics.id);
            if is_alone {
                Leader::Alone
            } else {
                Leader::Here
            }
        }
    }
}

impl Leadership {
    /// As it is now.
    pub(crate) fn of(raft: &Raft) -> Self {
        let metrics = raft.server_metrics();
        let now = leader(&metrics.borrow_watched());
        Self {
            watched: watch::Sender::new(now),
            now: AtomicU64::new(now.number()),
            hangs: AtomicU64::new(0),
        }
    }

    /// Who leads.
    pub(crate) fn leader(&self) -> Leader {
        Leader::of(self.now.load(Ordering::Acquire))
    }

    /// How often this node's disk was seen to hang while it led. What was under way when that changed is not answered before the
    /// disk goes on.
    pub(crate) fn hangs(&self) -> u64 {
        self.hangs.load(Ordering::Relaxed)
    }

    /// Takes over what is new; whether it is.
    fn set(&self, leader: Leader) -> bool {
        self.now.store(leader.number(), Ordering::Release);
        self.watched.send_if_modified(|before| {
            let changed = *before != leader;
            *before = leader;
            changed
        })
    }

    /// Whether this node leads.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.leader(), Leader::Here | Leader::Alone)
    }

    /// Ready when somebody else leads than `before`, or at `deadline`.
    pub(crate) async fn change(&self, before: Leader, deadline: Instant) {
        let mut leader = self.watched.subscribe();
        let changed = leader.wait_for(|leader| *leader != before);
        let _ = tokio::time::timeout_at(deadline, changed).await;
    }
}

/// Keeps the group's leadership up to date, wakes those who wait here when it has gone elsewhere, and lets the members
/// of group 0 be known to all connections, for as long as the group lives.
pub(crate) async fn follow(group: Arc<Group>, peers: Arc<Peers>, waiters: Arc<WaitersByQueue>) {
    let mut metrics = group.raft.server_metrics();
    let mut disk = OwnDisk::new();
    loop {
        let seen = metrics.borrow_watched().clone();
        let elected = leader(&seen);
        let is_forsaken = elected == Leader::Here && is_forsaken(&group.raft);
        let hangs = elected == Leader::Here && disk.hangs(&group.raft);
        let now = if is_forsaken || hangs {
            Leader::Unknown
        } else {
            elected
        };
        if hangs && disk.is_to_flee() {
            group.leadership.hangs.fetch_add(1, Ordering::Relaxed);
            flee(&group).await;
        }
        if group.id == millrace_model::GroupId::META {
            let membership = seen.membership_config.membership();
            let members = membership
                .nodes()
                .map(|(node, member)| (*node, member.clone()));
            note_members(&peers, members.collect());
        }
        if group.leadership.set(now) {
            tracing::info!(group = %group.id, leader = ?now, term = seen.vote.leader_id().term, "leadership");
            waiters.wake_all();
            if now == Leader::Here {
                members::take_over(&group);
            }
            if matches!(now, Leader::Here | Leader::Alone) {
                let standing = &peers.standing;
                members::correct_address(&group, standing.list.get(&standing.node));
            }
        }
        let is_open = if elected == Leader::Here {
            let changed = tokio::time::timeout(LOOK_EVERY, metrics.changed()).await;
            !matches!(changed, Ok(Err(_)))
        } else {
            let is_open = metrics.changed().await.is_ok();
            disk = OwnDisk::new();
            is_open
        };
        if !is_open {
            return;
        }
    }
}

/// Openraft's leaders lead until they hear of a newer term, which one that is cut off never does.
fn is_forsaken(raft: &Raft) -> bool {
    let answered = raft.metrics().borrow_watched().last_quorum_acked;
    answered.is_some_and(|answered| answered.elapsed() > FORSAKEN_AFTER)
}

/// What this node's own disk has synced of the group, since when that is so although more waits, and when the lead was handed
/// over for it.
struct OwnDisk {
    synced: Option<u64>,
    since: Instant,
    fled: Option<Instant>,
}

impl OwnDisk {
    fn new() -> Self {
        Self {
            synced: None,
            since: Instant::now(),
            fled: None,
        }
    }

    /// Whether it has synced nothing for too long, of a group that this node leads.
    fn hangs(&mut self, raft: &Raft) -> bool {
        let metrics = raft.metrics().borrow_watched().clone();
        let replication = metrics.replication.as_ref();
        let own = replication.and_then(|replication| replication.get(&metrics.id));
        let synced = own.and_then(|own| own.as_ref()).map(|own| own.index);
        if synced != self.synced || synced == metrics.last_log_index {
            self.synced = synced;
            self.since = Instant::now();
            self.fled = None;
        }
        self.since.elapsed() > DISK_HANGS_AFTER
    }

    /// Whether to hand over now: at once, and again when nobody has taken over.
    fn is_to_flee(&mut self) -> bool {
        let is_time = self
            .fled
            .is_none_or(|fled| fled.elapsed() > DISK_HANGS_AFTER);
        if is_time {
            self.fled = Some(Instant::now());
        }
        is_time
    }
}

/// Hands over to whoever is furthest, and does not wait for it.
async fn flee(group: &Arc<Group>) {
    let Some(to) = members::successor(group) else {
        return;
    };
    tracing::warn!(group = %group.id, to, "the disk syncs nothing: handing over");
    if let Err(fatal) = group.raft.trigger().transfer_leader(to).await {
        tracing::warn!(group = %group.id, %fatal, "not handed over");
    }
}

/// Connects to all members at once: an election that had to wait for connections would be lost.
fn note_members(peers: &Peers, members: BTreeMap<u64, Member>) {
    if members.is_empty() || *peers.standing.members() == members {
        return;
    }
    peers.keep(&members);
    for (node, member) in &members {
        if *node != peers.standing.node {
            peers.to(*node, member);
        }
    }
    peers.standing.set_members(members);
}
