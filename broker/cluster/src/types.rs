//! The types that openraft works with.

use std::fmt;

use bytes::Bytes;
use millrace_model::Outcome;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use openraft::{LogId, RaftTypeConfig};

/// Which types this broker uses openraft with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Body;
    type R = Outcomes;
    type NodeId = u64;
    type Node = openraft::impls::BasicNode;
    type Term = u64;
    /// One leader a term, as Raft has it: a position in the log is then (term, index), which is what a record keeps.
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Self::D, u64, Self::Node>;
    type Entry = openraft::Entry<Committed, Self::Payload>;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
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
pub(crate) type Membership = openraft::Membership<u64, openraft::impls::BasicNode>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_machine::StateMachine>;

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
