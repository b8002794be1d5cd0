//! Where this node stands among the others: who it is, whom it knows, and whom it lets in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use millrace_model::ledger::{ChangeError, NodeFormats};
use millrace_model::{Fault, FormatVersion, version};
use tokio::sync::watch;
use tokio::time::Instant;

use super::hello::{Hello, Purpose, Refused, Welcome, replaced};
use crate::identity::IdentityFile;
use crate::options::ClusterOptions;
use crate::simulated;
use crate::types::{ClusterId, Incarnation, Member};
use crate::version::Versions;

/// How long the same sentence is not said again in the log.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Most sentences that are remembered for that.
const SAID_MAX: usize = 256;

/// How long a node of the list that was heard of before there is a cluster is believed to be there with that data.
const HEARD_FOR: Duration = Duration::from_secs(10);

/// Where this node stands.
pub(crate) struct Standing {
    pub(crate) node: u64,
    pub(crate) incarnation: Incarnation,
    /// The first members, as this node was told; empty for a node alone.
    pub(crate) list: BTreeMap<u64, String>,
    /// How many data groups the cluster has, or is to have.
    pub(crate) data_groups: u32,
    /// Locked while it is written, which may take as long as its disk hangs.
    identity: Mutex<IdentityFile>,
    /// The newest format that is written down.
    recorded: Mutex<FormatVersion>,
    cluster: watch::Sender<Option<ClusterId>>,
    /// The members of the cluster, as this node knows them now.
    members: ArcSwap<BTreeMap<u64, Member>>,
    /// Before there is a cluster: which data the nodes of the list have, and when they were heard.
    heard: Mutex<BTreeMap<u64, (Incarnation, Instant)>>,
    /// What was last said against this node.
    objection: Mutex<Option<String>>,
    said: Mutex<BTreeMap<String, Instant>>,
    /// The leader said that this node is no member any more.
    removed: AtomicBool,
    /// The newest format that the node supports.
    format_max: FormatVersion,
    /// That of the cluster, as applied here.
    format: Mutex<FormatVersion>,
    /// What the others said of theirs when they were last connected.
    seen: Mutex<BTreeMap<u64, Versions>>,
    /// Held while the version is raised, and while a node is added: one of them at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is whole between any two statements under its lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Standing {
    pub(crate) fn new(identity: IdentityFile, options: &ClusterOptions) -> Self {
        let who = identity.get().clone();
        Self {
            node: who.node,
            incarnation: who.incarnation,
            list: options.members.clone(),
            data_groups: who.data_groups,
            recorded: Mutex::new(identity.recorded()),
            identity: Mutex::new(identity),
            cluster: watch::Sender::new(who.cluster),
            members: ArcSwap::default(),
            heard: Mutex::default(),
            objection: Mutex::default(),
            said: Mutex::default(),
            removed: AtomicBool::new(false),
            format_max: options.format_version_max,
            format: Mutex::default(),
            seen: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        }
    }

    /// What this node supports, and where it stands.
    pub(crate) fn versions(&self) -> Versions {
        Versions {
            min: FormatVersion::MIN,
            max: self.format_max,
            recorded: *lock(&self.recorded),
            cluster: *lock(&self.format),
        }
    }

    /// Writes down that data of this version may come.
    ///
    /// # Errors
    /// A [`Fault`] when this node does not support it, or cannot write.
    pub(crate) fn record(&self, version: FormatVersion) -> Result<(), Fault> {
        if version > self.format_max {
            let reason = version::newer("what comes", version, self.format_max);
            return Err(Fault::new("write down the format version", reason));
        }
        if version <= *lock(&self.recorded) {
            return Ok(());
        }
        self.write_down(|identity| identity.record(version))
    }

    /// Changes the identity; whoever else is to be served here meanwhile is served by another thread.
    fn write_down(
        &self,
        change: impl FnOnce(&mut IdentityFile) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let recorded = simulated::waiting(|| {
            let mut identity = lock(&self.identity);
            change(&mut identity).map(|()| identity.recorded())
        })?;
        let mut known = lock(&self.recorded);
        *known = recorded.max(*known);
        Ok(())
    }

    /// The cluster has this version, as applied here.
    ///
    /// # Errors
    /// As [`Standing::record`].
    pub(crate) fn set_version(&self, version: FormatVersion) -> Result<(), Fault> {
        self.record(version)?;
        *lock(&self.format) = version;
        Ok(())
    }

    /// Notes what another node said of its versions.
    pub(crate) fn see(&self, node: u64, versions: Versions) {
        lock(&self.seen).insert(node, versions);
    }

    /// What another node said last of its versions.
    pub(crate) fn seen(&self, node: u64) -> Option<Versions> {
        lock(&self.seen).get(&node).copied()
    }

    /// What every member supports, as far as it is known here.
    pub(crate) fn formats(&self) -> Vec<NodeFormats> {
        let range = |versions: Versions| (versions.min, versions.max);
        let of = |node: &u64| NodeFormats {
            node: *node,
            range: match *node == self.node {
                true => Some(range(self.versions())),
                false => self.seen(*node).map(range),
            },
        };
        self.members().keys().map(of).collect()
    }

    /// Whether a node of these versions can be added.
    ///
    /// # Errors
    /// [`ChangeError::Conflict`]: it is too old.
    pub(crate) fn check_newcomer(&self, node: u64, theirs: &Versions) -> Result<(), ChangeError> {
        let needed = self.versions().needed();
        if theirs.max >= needed {
            return Ok(());
        }
        let reason = format!(
            "the cluster has format version {needed}, node {node} supports up to {}: start the newer broker on it",
            theirs.max
        );
        Err(ChangeError::Conflict(reason))
    }

    /// The cluster that the node belongs to, once there is one.
    pub(crate) fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.subscribe()
    }

    /// The first members, if this node is one of them.
    pub(crate) fn founders(&self) -> BTreeMap<u64, Member> {
        lock(&self.identity).get().founders.clone()
    }

    /// Makes the node a member of a cluster, for good.
    ///
    /// # Errors
    /// A [`Fault`] when it is a member of another, or that cannot be written down.
    pub(crate) fn join(
        &self,
        cluster: ClusterId,
        founders: BTreeMap<u64, Member>,
    ) -> Result<(), Fault> {
        self.write_down(|identity| identity.join(cluster, founders))?;
        lock(&self.objection).take();
        self.cluster.send_replace(Some(cluster));
        Ok(())
    }

    /// The members as this node knows them.
    pub(crate) fn members(&self) -> Arc<BTreeMap<u64, Member>> {
        self.members.load_full()
    }

    pub(crate) fn set_members(&self, members: BTreeMap<u64, Member>) {
        self.members.store(Arc::new(members));
    }

    /// The greeting to `to`.
    pub(crate) fn hello(&self, to: u64, known: Option<Incarnation>, purpose: Purpose) -> Hello {
        Hello {
            from: self.node,
            incarnation: self.incarnation,
            to,
            to_incarnation: known,
            cluster: *self.cluster.borrow(),
            purpose,
            list: self.list.clone(),
            data_groups: self.data_groups,
            versions: self.versions(),
        }
    }

    /// Whether whoever says `hello` may come in.
    ///
    /// # Errors
    /// [`Refused`], in words for the other side.
    pub(crate) fn admit(&self, hello: &Hello) -> Result<Welcome, Refused> {
        if hello.from == self.node && hello.incarnation != self.incarnation {
            let reason = format!(
                "two nodes are started as node {}: give each its own number",
                self.node
            );
            return Err(Refused::new(reason));
        }
        if hello.to != self.node || hello.from == self.node {
            let reason = format!(
                "this is node {}, not node {}: correct the list of members",
                self.node, hello.to
            );
            return Err(Refused::new(reason));
        }
        let present = *self.cluster.borrow();
        match (present, hello.cluster) {
            (Some(mine), Some(theirs)) if mine != theirs => {
                let reason = format!("this is a node of cluster {mine}, not of {theirs}");
                return Err(Refused::new(reason));
            }
            (Some(_), theirs) => self.admit_member(hello, theirs.is_some())?,
            (None, Some(theirs)) => self.admit_cluster(hello, theirs)?,
            (None, None) => self.admit_founder(hello)?,
        }
        Ok(self.welcome())
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            node: self.node,
            incarnation: self.incarnation,
            cluster: *self.cluster.borrow(),
            versions: self.versions(),
        }
    }

    /// This node is in a cluster. A node of the same cluster that it does not know yet is let in: this node may be
    /// behind, and that one may lead.
    fn admit_member(&self, hello: &Hello, is_of_cluster: bool) -> Result<(), Refused> {
        match self.members().get(&hello.from) {
            Some(member) if member.incarnation == hello.incarnation => Ok(()),
            Some(_) => Err(Refused::new(replaced(hello.from))),
            None if is_of_cluster => Ok(()),
            None => Err(Refused::new(format!(
                "node {0} is not a member of this cluster, which runs already: add it with `millrace cluster add {0}=HOST:PORT`",
                hello.from
            ))),
        }
    }

    /// A cluster greets this node, which is in none: it takes it in, if it knows it by its data.
    fn admit_cluster(&self, hello: &Hello, theirs: ClusterId) -> Result<(), Refused> {
        if hello.data_groups != self.data_groups {
            let reason = format!(
                "the cluster has {0} data groups, node {1} was started with {2}: start it with --groups {0}",
                hello.data_groups, self.node, self.data_groups
            );
            self.object(hello.from, &reason);
            return Err(Refused::new(reason));
        }
        if hello.purpose == Purpose::Greeting {
            return Ok(());
        }
        if hello.to_incarnation != Some(self.incarnation) {
            return Err(Refused::new(replaced(self.node)));
        }
        // Before anything of it comes. What this node does not support is not raised to while it is a member.
        let version = hello.versions.needed().min(self.format_max);
        self.record(version)
            .map_err(|fault| Refused::new(fault.to_string()))?;
        self.join(theirs, BTreeMap::new())
            .map_err(|fault| Refused::new(fault.to_string()))?;
        tracing::info!(cluster = %theirs, by = hello.from, "taken into a cluster");
        Ok(())
    }

    /// Neither is in a cluster: they may form one, if they agree on the list.
    fn admit_founder(&self, hello: &Hello) -> Result<(), Refused> {
        if let Some(difference) = self.difference(hello) {
            let reason = format!("the lists of first members differ: {difference}");
            self.object(hello.from, &reason);
            return Err(Refused::new(reason));
        }
        self.hear(hello.from, hello.incarnation)
    }

    fn difference(&self, hello: &Hello) -> Option<String> {
        if hello.data_groups != self.data_groups {
            return Some(format!(
                "node {} has {} data groups, node {} has {}: start all with the same --groups",
                self.node, self.data_groups, hello.from, hello.data_groups
            ));
        }
        let nodes = self.list.keys().chain(hello.list.keys());
        let address = |list: &BTreeMap<u64, String>, node| {
            list.get(node)
                .cloned()
                .unwrap_or_else(|| "no such member".to_owned())
        };
        nodes
            .filter(|node| self.list.get(node) != hello.list.get(node))
            .map(|node| {
                format!(
                    "for node {node}, node {} was told {}, node {} was told {}",
                    self.node,
                    address(&self.list, node),
                    hello.from,
                    address(&hello.list, node)
                )
            })
            .next()
    }

    /// Notes which data a node of the list has.
    ///
    /// # Errors
    /// [`Refused`] when another one of that number was heard just now.
    pub(crate) fn hear(&self, node: u64, incarnation: Incarnation) -> Result<(), Refused> {
        let mut heard = lock(&self.heard);
        match heard.get(&node) {
            Some((other, at)) if *other != incarnation && at.elapsed() < HEARD_FOR => {
                let reason =
                    format!("two nodes are started as node {node}: give each its own number");
                drop(heard);
                self.object(node, &reason);
                Err(Refused::new(reason))
            }
            _ => {
                heard.insert(node, (incarnation, Instant::now()));
                Ok(())
            }
        }
    }

    /// The nodes of the list that were not heard of late.
    pub(crate) fn unheard(&self) -> Vec<u64> {
        let heard = lock(&self.heard);
        let is_there = |node: &u64| {
            heard
                .get(node)
                .is_some_and(|(_, at)| at.elapsed() < HEARD_FOR)
        };
        let unheard = |node: &u64| *node != self.node && !is_there(node);
        self.list.keys().copied().filter(unheard).collect()
    }

    /// The first members, when all of them were heard, and not too long ago: one of them may have begun anew.
    pub(crate) fn all_heard(&self) -> Option<BTreeMap<u64, Member>> {
        let heard = lock(&self.heard);
        let member = |(node, address): (&u64, &String)| {
            let incarnation = if *node == self.node {
                self.incarnation
            } else {
                let (incarnation, at) = heard.get(node)?;
                (at.elapsed() < HEARD_FOR).then_some(*incarnation)?
            };
            let address = address.clone();
            Some((
                *node,
                Member {
                    address,
                    incarnation,
                },
            ))
        };
        self.list.iter().map(member).collect()
    }

    /// Notes what stands between this node and node `peer`, and says it in the log, but not over and over.
    pub(crate) fn object(&self, peer: u64, reason: &str) {
        if self.cluster.borrow().is_none() {
            *lock(&self.objection) = Some(reason.to_owned());
        }
        if self.is_news(&format!("{peer}: {reason}")) {
            tracing::warn!(peer, "{reason}");
        }
    }

    /// Whether `sentence` was not said for a while.
    pub(crate) fn is_news(&self, sentence: &str) -> bool {
        let mut said = lock(&self.said);
        said.retain(|_, at| at.elapsed() < SAY_AGAIN);
        if said.contains_key(sentence) || said.len() >= SAID_MAX {
            return false;
        }
        said.insert(sentence.to_owned(), Instant::now());
        true
    }

    /// Notes whether this node was removed; whether that is new.
    pub(crate) fn set_removed(&self, is_removed: bool) -> bool {
        self.removed.swap(is_removed, Ordering::Relaxed) != is_removed
    }

    /// Why the node is in no cluster; `None` when it is in one.
    pub(crate) fn waits_for(&self) -> Option<String> {
        if self.removed.load(Ordering::Relaxed) {
            return Some(format!(
                "node {} was removed from the cluster: stop it; to use it again, empty its directory and add it, best under a new number",
                self.node
            ));
        }
        if self.cluster.borrow().is_some() {
            return None;
        }
        if let Some(objection) = lock(&self.objection).clone() {
            return Some(objection);
        }
        let unheard: Vec<_> = self.unheard().iter().map(u64::to_string).collect();
        Some(format!(
            "the cluster is not formed yet: node {} was not heard",
            unheard.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests;
