//! The seam between the door and the agreement: commit, receive, read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::batch::Proposal;
use crate::catalog::Topology;
use crate::command::Receive;
use crate::fault::Fault;
use crate::id::{GroupId, PayloadRef};
use crate::outcome::{Lease, Outcome};
use crate::query::{Answer, Query};
use crate::refusal::Refusal;
use crate::version::FormatVersion;

/// A future that can cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The agreement, as the door sees it. Implemented by `broker/cluster`.
pub trait Ledger: Send + Sync + 'static {
    /// Commits one command, on whatever node the group is led: durable on a majority and applied by the leader when
    /// the future is ready. A change of the
    /// catalog is ready only when every data group has adopted it.
    ///
    /// # Errors
    /// [`Unavailable`]: whether the command took effect is told by the variant.
    fn commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> BoxFuture<'_, Result<Outcome, Unavailable>>;

    /// Leases entries, waiting up to `wait` for the first; costs nothing while it waits.
    ///
    /// # Errors
    /// [`Unavailable`] as [`Ledger::commit`]; the inner error when the queue is gone.
    fn receive(
        &self,
        group: GroupId,
        receive: Receive,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Result<Vec<Message>, Refusal>, Unavailable>>;

    /// Asks the group's leader, which answers what is applied, and never something older than what any client was
    /// told before. The catalog and an audit are those of this node.
    ///
    /// # Errors
    /// [`Unavailable`] when the group cannot answer.
    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, Unavailable>>;

    /// Reads stored events, in the order asked for.
    ///
    /// # Errors
    /// [`Unavailable`] when the group cannot answer.
    fn payloads(
        &self,
        group: GroupId,
        places: Vec<PayloadRef>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, Unavailable>>;

    /// Ready when [`Ledger::topology`] holds every change of the catalog that was acknowledged, through whatever
    /// node, before the call. At once on a node alone.
    ///
    /// # Errors
    /// [`Unavailable`] when the group of the catalog has no leader, or this node does not catch up in time.
    fn fresh(&self) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// The catalog as applied here, which may be behind on a node that does not lead. Cheap: for every request.
    fn topology(&self) -> Arc<Topology>;

    /// The data groups; a new topic or queue is placed in one of them.
    fn data_groups(&self) -> Vec<GroupId>;

    /// How the node and its groups stand, as far as this node knows. Cheap.
    fn status(&self) -> Status;

    /// As [`Ledger::status`], but each group as its leader sees it, if it answers in time.
    fn cluster(&self) -> BoxFuture<'_, Status>;

    /// Changes who the members are, or who leads; in every group. Ready when it is done, but for
    /// [`MemberChange::Add`], which is ready when the node is a member that catches up.
    ///
    /// # Errors
    /// [`ChangeError`]: why not, and whether to try again.
    fn change_members(&self, change: MemberChange) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Lines of Prometheus text about log, tables, batches and groups.
    fn metrics(&self) -> String;
}

/// A leased entry with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The lease.
    pub lease: Lease,
    /// The stored event: CloudEvents JSON text.
    pub event: Bytes,
}

/// How a node and its groups stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: u64,
    /// Why the node is not ready to serve; empty when it is.
    pub reasons: Vec<String>,
    /// Whether writes of events are refused for lack of space.
    pub storage_full: bool,
    /// Its groups.
    pub groups: Vec<GroupStatus>,
    /// The format version of the cluster, as applied here.
    pub version: FormatVersion,
    /// What the members support; only when it was asked for the cluster.
    pub nodes: Vec<NodeFormats>,
}

/// Which formats a node supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFormats {
    /// The node.
    pub node: u64,
    /// The oldest and the newest; `None` when it was not heard of yet.
    pub range: Option<(FormatVersion, FormatVersion)>,
}

/// How a group stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group.
    pub id: GroupId,
    /// Its leader, if one is known.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// Index of the last entry applied here.
    pub applied: u64,
    /// Its members.
    pub members: Vec<MemberStatus>,
}

/// How a member of a group stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The node.
    pub node: u64,
    /// `leader`, `follower`, `learner` or `candidate`.
    pub state: String,
    /// Index of the last entry known to be on it; only the group's leader knows it.
    pub match_index: Option<u64>,
}

/// A change of the members or leaders of all groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Adds a node that waits to be added: it catches up first, and has a vote after that.
    Add {
        /// Its number.
        node: u64,
        /// Where its peers reach it, `HOST:PORT`.
        address: String,
    },
    /// Removes a node, whether it runs or not.
    Remove {
        /// Its number.
        node: u64,
    },
    /// Makes a voter the leader.
    Transfer {
        /// Its number.
        node: u64,
        /// Of this group; of all when there is none.
        group: Option<GroupId>,
    },
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeError {
    /// There is no such node.
    #[error("node {0} is not a member")]
    NotFound(u64),
    /// The change cannot be, as things stand; the text says why.
    #[error("{0}")]
    Conflict(String),
    /// The node to be added was not found ready at its address; the text says why.
    #[error("{0}")]
    Unreachable(String),
    /// A group has no leader, or did not finish in time. What was begun goes on; ask for the status.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a group cannot do what is asked now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// Too much waits already: 429. Nothing was done.
    #[error("too many requests wait: try again later")]
    Overloaded,
    /// No leader with a majority is known: 503. Nothing was done.
    #[error("no majority of the group can be reached")]
    NoQuorum,
    /// The node is starting or stopping: 503. Nothing was done.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// Whether it took effect is not known: 504. A retry with the same `Idempotency-Key` is safe.
    #[error(
        "it is not known whether the request took effect: retry it with the same Idempotency-Key"
    )]
    OutcomeUnknown,
    /// The disk is full: 507. Nothing was done.
    #[error("the disk is full: free space or consume messages; reads and acks go on")]
    StorageFull,
    /// IO failed, or damage was found: 503. The node stops.
    #[error("{0}")]
    Fault(#[from] Fault),
}
