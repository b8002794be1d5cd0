//! The types that openraft works with.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use millrace_model::Outcome;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use openraft::{LogId, RaftTypeConfig};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Which types this broker uses openraft with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Body;
    type R = Outcomes;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    /// One leader a term, as Raft has it: a position in the log is then (term, index), which is what a record keeps.
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Self::D, u64, Self::Node>;
    type Entry = openraft::Entry<Committed, Self::Payload>;
    type AsyncRuntime = crate::simulated::Runtime;
    type Responder<T>
        = Callback<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// What a position in the log holds besides the index.
type Committed =
    <openraft::impls::leader_id_std::LeaderId<u64, u64> as openraft::vote::RaftLeaderId>::Committed;

pub(crate) type Position = LogId<Committed>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_machine::StateMachine>;

/// Tells the data of a node from other data under the same number: made with the data, never changed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct Incarnation(pub(crate) Uuid);

impl Incarnation {
    /// One that never was.
    pub(crate) fn new() -> Self {
        Self(crate::simulated::uuid())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the members of a group know of each other. The default one is nobody; openraft's test suite wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Where its peers reach it, `HOST:PORT`.
    pub(crate) address: String,
    /// Which data it has. A node of this number with other data is refused: it may have lost its votes.
    pub(crate) incarnation: Incarnation,
}

/// Names a cluster: a digest of its first members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ClusterId(pub(crate) Uuid);

impl ClusterId {
    /// The cluster that `founders` form, whatever their addresses are.
    pub(crate) fn of(founders: &BTreeMap<u64, Member>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"millrace cluster 1");
        for (node, member) in founders {
            hasher.update(&node.to_le_bytes());
            hasher.update(member.incarnation.0.as_bytes());
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(Uuid::from_bytes(id))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position from its parts.
pub(crate) fn position(term: u64, index: u64) -> Position {
    use openraft::vote::RaftLeaderId as _;
    let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: 0 };
    Position::new(leader.to_committed(), index)
}

/// The body of a log entry, as [`millrace_model::Batch::encode`] made it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Body(pub(crate) Bytes);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The outcomes of one batch, in the order of its commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.0.len())
    }
}

/// Calls back with the result of a write, on the thread that has it: no task is woken only to wake others.
pub(crate) struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    pub(crate) fn new(call: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// The result of proposing one batch.
pub(crate) type WriteResult = ClientWriteResult<TypeConfig>;
