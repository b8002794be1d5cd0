//! The seam between the door and the agreement: commit, receive, read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::Proposal;
use crate::catalog::Topology;
use crate::command::Receive;
use crate::fault::Fault;
use crate::id::{GroupId, PayloadRef};
use crate::outcome::{Lease, Outcome};
use crate::query::{Answer, Query};
use crate::refusal::Refusal;

/// A future that can cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The agreement, as the door sees it. Implemented by `broker/cluster`.
pub trait Ledger: Send + Sync + 'static {
    /// Commits one command: durable on a majority and applied here when the future is ready. A change of the
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

    /// Asks what is applied here.
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

    /// The catalog as applied here. Cheap: for every request.
    fn topology(&self) -> Arc<Topology>;

    /// The data groups; a new topic or queue is placed in one of them.
    fn data_groups(&self) -> Vec<GroupId>;

    /// How the node and its groups stand.
    fn status(&self) -> Status;

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
}

/// How a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The node.
    pub node: u64,
    /// `leader`, `follower`, `learner` or `candidate`.
    pub state: String,
    /// Index of the last entry known to be on it.
    pub match_index: Option<u64>,
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
