//! Requests that go to another node because it leads the group: at most one hop.
//!
//! Whoever is asked and does not lead says so, and the asker looks again for a leader. What was not sent, or was refused
//! before it reached the log, is tried again; what was sent and not answered has an unknown outcome, unless it changes
//! nothing. A lost receive counts as one that changes nothing: what it may have leased comes back when the lease ends.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use millrace_model::command::Receive;
use millrace_model::ledger::{ChangeError, GroupStatus, Message};
use millrace_model::outcome::{Accepted, Lease};
use millrace_model::query::{ParkedEvent, Peeked};
use millrace_model::queue::QueueCounters;
use millrace_model::{
    Answer, Command, Fault, FormatVersion, GroupId, Outcome, PayloadRef, Proposal, Query, Refusal,
    Revision, Unavailable,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::leadership::Leader;
use crate::members::GroupChange;
use crate::node::Node;
use crate::peer::connection::Broken;
use crate::peer::frame::Kind;
use crate::peer::message::{self, cut, length};
use crate::peer::peers::{Peers, count};
use crate::version;

/// Longest wait of a forwarded receive, whatever the frame says.
const WAIT_MAX: Duration = Duration::from_secs(millrace_model::limit::WAIT_SECONDS_MAX as u64);

/// A request to the leader of a group. Variants are only ever added at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Commit a command; its payloads, of these lengths, follow.
    Commit {
        group: GroupId,
        command: Command,
        lengths: Vec<u32>,
    },
    /// Lease entries, waiting for the first.
    Receive {
        group: GroupId,
        receive: Receive,
        wait_ms: u64,
    },
    /// Answer a question.
    Query { group: GroupId, query: Query },
    /// Read stored events.
    Payloads {
        group: GroupId,
        places: Vec<PayloadRef>,
    },
    /// Tell which entry a reader must have applied to have seen everything.
    ReadIndex { group: GroupId },
    /// Tell how the group stands.
    Status { group: GroupId },
    /// Change the members of the group.
    Change { group: GroupId, change: GroupChange },
    /// Write down that data of this version may come. Since version 2.
    Prepare { version: FormatVersion },
}

/// The answer. Variants are only ever added at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The outcome of a commit, and the revision of the catalog after it.
    Outcome(Outcome, Revision),
    /// Leases; their events, of these lengths, follow.
    Received(Vec<Lease>, Vec<u32>),
    /// No leases: why.
    Refused(Refusal),
    /// An answer.
    Answer(AnswerForm),
    /// Stored events of these lengths follow.
    Payloads(Vec<u32>),
    /// The entry to have applied.
    Index(u64),
    /// How the group stands.
    Status(GroupStatus),
    /// What came of a change of the members.
    Changed(Result<(), ChangeError>),
    /// It could not be done.
    Unavailable(UnavailableForm),
    /// The version is written down. Since version 2.
    Prepared,
}

/// An answer that travels; the catalog and audits do not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AnswerForm {
    Refused(Refusal),
    Component(Vec<u8>),
    Counters(QueueCounters),
    Peeked(Vec<Peeked>),
    Parked(Vec<ParkedEvent>),
    /// Since version 3.
    Remembered(Option<Vec<Result<Accepted, Refusal>>>),
    /// Since version 3.
    Moving(u64),
}

/// Why something could not be done, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum UnavailableForm {
    /// The node does not lead, or cannot be sure: nothing was done.
    NoQuorum,
    Overloaded,
    NotReady(String),
    OutcomeUnknown,
    StorageFull,
    Fault(String),
}

impl From<Unavailable> for UnavailableForm {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NoQuorum => Self::NoQuorum,
            Unavailable::Overloaded => Self::Overloaded,
            Unavailable::NotReady(reason) => Self::NotReady(reason),
            Unavailable::OutcomeUnknown => Self::OutcomeUnknown,
            Unavailable::StorageFull => Self::StorageFull,
            Unavailable::Fault(fault) => Self::Fault(fault.to_string()),
        }
    }
}

impl From<UnavailableForm> for Unavailable {
    fn from(form: UnavailableForm) -> Self {
        match form {
            UnavailableForm::NoQuorum => Self::NoQuorum,
            UnavailableForm::Overloaded => Self::Overloaded,
            UnavailableForm::NotReady(reason) => Self::NotReady(reason),
            UnavailableForm::OutcomeUnknown => Self::OutcomeUnknown,
            UnavailableForm::StorageFull => Self::StorageFull,
            UnavailableForm::Fault(reason) => Fault::new("the leader of the group", reason).into(),
        }
    }
}

impl AnswerForm {
    fn of(answer: Answer) -> Option<Self> {
        Some(match answer {
            Answer::Refused(refusal) => Self::Refused(refusal),
            Answer::Component(bytes) => Self::Component(bytes),
            Answer::Counters(counters) => Self::Counters(counters),
            Answer::Peeked(entries) => Self::Peeked(entries),
            Answer::Parked(events) => Self::Parked(events),
            Answer::Remembered(results) => Self::Remembered(results),
            Answer::Moving(entries) => Self::Moving(entries),
            Answer::Topology(_) | Answer::Audit(_) => return None,
        })
    }
}

impl From<AnswerForm> for Answer {
    fn from(form: AnswerForm) -> Self {
        match form {
            AnswerForm::Refused(refusal) => Self::Refused(refusal),
            AnswerForm::Component(bytes) => Self::Component(bytes),
            AnswerForm::Counters(counters) => Self::Counters(counters),
            AnswerForm::Peeked(entries) => Self::Peeked(entries),
            AnswerForm::Parked(events) => Self::Parked(events),
            AnswerForm::Remembered(results) => Self::Remembered(results),
            AnswerForm::Moving(entries) => Self::Moving(entries),
        }
    }
}

/// A commit as a request, and what follows it.
pub(crate) fn commit(group: GroupId, proposal: Proposal) -> (Request, Vec<Bytes>) {
    let lengths = proposal.payloads.iter().map(length).collect();
    let request = Request::Commit {
        group,
        command: proposal.command,
        lengths,
    };
    (request, proposal.payloads)
}

/// Asks node `leader`.
///
/// # Errors
/// [`Broken`]: whether it was sent.
pub(crate) async fn ask(
    peers: &Peers,
    leader: u64,
    request: &Request,
    follows: Vec<Bytes>,
    deadline: Instant,
) -> Result<(Reply, Bytes), Broken> {
    let asked = exchange(peers, leader, request, follows, deadline).await;
    count(&peers.counters.requests, asked.is_ok());
    asked
}

async fn exchange(
    peers: &Peers,
    leader: u64,
    request: &Request,
    follows: Vec<Bytes>,
    deadline: Instant,
) -> Result<(Reply, Bytes), Broken> {
    let place = peers.forwards.try_acquire();
    let _place = place.map_err(|_| Broken::Overloaded)?;
    let lanes = peers.member(leader).ok_or(Broken::Unsent)?;
    let mut parts = vec![message::head(request)];
    parts.extend(follows);
    // Whoever is not waited for any more need not wait either: a long poll ends at the leader too.
    let cancels = matches!(request, Request::Receive { .. });
    let mut sent = lanes
        .requests
        .send(Kind::Request, parts, cancels, deadline)
        .await?;
    let frame = sent.answer(deadline).await?;
    match message::open::<Reply>(&frame.body) {
        Ok(reply) if frame.kind == Kind::Reply => Ok(reply),
        other => {
            let reason = other
                .err()
                .map_or_else(|| "failed".to_owned(), |error| error.to_string());
            peers
                .standing
                .object(leader, &format!("an answer cannot be read: {reason}"));
            Err(Broken::Lost)
        }
    }
}

/// Leased entries from an answer.
///
/// # Errors
/// `InvalidData` when events are missing.
pub(crate) fn messages(
    leases: Vec<Lease>,
    lengths: Vec<u32>,
    events: Bytes,
) -> io::Result<Vec<Message>> {
    let events = cut(events, lengths)?;
    if events.len() != leases.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let pairs = leases.into_iter().zip(events);
    Ok(pairs
        .map(|(lease, event)| Message { lease, event })
        .collect())
}

/// The parts of the answer to a request that there is no room for.
pub(crate) fn overloaded() -> Vec<Bytes> {
    vec![message::head(&Reply::Unavailable(
        UnavailableForm::Overloaded,
    ))]
}

/// Does what a peer asks, if this node leads; the parts of the answer.
pub(crate) async fn answer(node: &Node, body: Bytes) -> Vec<Bytes> {
    let answered = match message::open::<Request>(&body) {
        Ok((request, follows)) => serve(node, request, follows).await,
        Err(error) => Err(Unavailable::NotReady(error.to_string())),
    };
    let (reply, follows) =
        answered.unwrap_or_else(|unavailable| (Reply::Unavailable(unavailable.into()), Vec::new()));
    let mut parts = vec![message::head(&reply)];
    parts.extend(follows);
    parts
}

type Served = Result<(Reply, Vec<Bytes>), Unavailable>;

async fn serve(node: &Node, request: Request, follows: Bytes) -> Served {
    let bare = |reply| Ok((reply, Vec::new()));
    match request {
        Request::Commit {
            group,
            command,
            lengths,
        } => commit_here(node, group, command, cut(follows, lengths)).await,
        Request::Receive {
            group,
            receive,
            wait_ms,
        } => receive_here(node, group, receive, Duration::from_millis(wait_ms)).await,
        Request::Query { group, query } => {
            let answer = AnswerForm::of(leads(node, group)?.query(group, query).await?);
            let own = || Unavailable::NotReady("the question is each node's own".to_owned());
            bare(Reply::Answer(answer.ok_or_else(own)?))
        }
        Request::Payloads { group, places } => {
            let events = leads(node, group)?.payloads(group, &places).await?;
            Ok((Reply::Payloads(events.iter().map(length).collect()), events))
        }
        Request::ReadIndex { group } => {
            let deadline = node.commit_deadline();
            let index = leads(node, group)?.group(group)?.linear(deadline).await?;
            bare(Reply::Index(index))
        }
        Request::Status { group } => bare(Reply::Status(node.group(group)?.status())),
        Request::Change { group, change } => {
            let group = leads(node, group)?.group(group)?;
            let changed = version::change_members(node, group, change).await;
            bare(Reply::Changed(changed))
        }
        Request::Prepare { version } => {
            node.peers.standing.record(version)?;
            bare(Reply::Prepared)
        }
    }
}

/// The node, if it leads `group`.
fn leads(node: &Node, group: GroupId) -> Result<&Node, Unavailable> {
    match node.group(group)?.leader() {
        Leader::Here | Leader::Alone => Ok(node),
        Leader::At(_) | Leader::Unknown => Err(Unavailable::NoQuorum),
    }
}

async fn commit_here(
    node: &Node,
    group: GroupId,
    command: Command,
    payloads: io::Result<Vec<Bytes>>,
) -> Served {
    let payloads = payloads.map_err(|error| Unavailable::NotReady(error.to_string()))?;
    let proposal = Proposal { command, payloads };
    let outcome = leads(node, group)?.commit(group, proposal).await?;
    let revision = *node.meta.view.revision.borrow();
    Ok((Reply::Outcome(outcome, revision), Vec::new()))
}

async fn receive_here(node: &Node, group: GroupId, receive: Receive, wait: Duration) -> Served {
    let until = Instant::now() + wait.min(WAIT_MAX);
    match leads(node, group)?.receive(group, receive, until).await? {
        Err(refusal) => Ok((Reply::Refused(refusal), Vec::new())),
        Ok(messages) => {
            let (leases, events): (Vec<_>, Vec<_>) = messages
                .into_iter()
                .map(|message| (message.lease, message.event))
                .unzip();
            let lengths = events.iter().map(length).collect();
            Ok((Reply::Received(leases, lengths), events))
        }
    }
}
