//! The peers as openraft wants them.
//!
//! Heartbeats, votes and transfers go one by one over the control connection; entries are streamed over their own, many
//! requests before the first answer, and answered in order, since a connection keeps the order and the other side takes
//! them in it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::RPCTypes;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::connection::{Broken, Connection, Sent};
use super::frame::{Frame, Kind};
use super::message::{self, AppendReply};
use super::peers::{Lanes, Peers, count};
use super::snapshot;
use crate::snapshot::SnapshotData;
use crate::types::{Member, Position, TypeConfig, Vote};

/// Most appends of one stream without an answer.
pub(crate) const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Bytes of appends of one stream without an answer above which no further one is sent; a larger one travels alone.
const APPEND_BYTES_IN_FLIGHT_MAX: usize = 8 << 20;

/// How long an append may go unanswered: it is on the disk then. Openraft would give it three quarters of a heartbeat,
/// which every stall of a disk exceeds; whether the peer lives at all is found out by heartbeats and pings.
const APPEND_MAX: Duration = Duration::from_secs(5);

/// Wait before openraft tries again to reach a peer that has no connection.
const BACKOFF: Duration = Duration::from_millis(200);

/// Numbers the streams of appends of this process.
static STREAMS: AtomicU64 = AtomicU64::new(1);

/// Makes the clients of one group.
pub(crate) struct Network {
    pub(crate) group: u32,
    pub(crate) peers: Arc<Peers>,
}

/// The way to one member of one group.
pub(crate) struct Peer {
    group: u32,
    peers: Arc<Peers>,
    lanes: Arc<Lanes>,
    /// Whether it is for heartbeats, which must not wait behind entries.
    is_control: bool,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member, true)
    }

    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member, false)
    }
}

impl Network {
    fn peer(&self, target: u64, member: &Member, is_control: bool) -> Peer {
        Peer {
            group: self.group,
            peers: Arc::clone(&self.peers),
            lanes: self.peers.to(target, member),
            is_control,
        }
    }
}

type Error = RPCError<TypeConfig>;
type Appended = StreamAppendResult<TypeConfig>;

impl Peer {
    fn unreachable(&self) -> Error {
        let node = self.lanes.node;
        Unreachable::from_string(format!("no connection to node {node}")).into()
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Error {
        Error::Timeout(Timeout {
            action,
            id: self.peers.standing.node,
            target: self.lanes.node,
            timeout,
        })
    }

    /// One request over the control connection, and its answer.
    async fn call(
        &self,
        kind: Kind,
        action: RPCTypes,
        parts: Vec<Bytes>,
        ttl: Duration,
    ) -> Result<Frame, Error> {
        let deadline = Instant::now() + ttl;
        let answered = async {
            let mut sent = self
                .lanes
                .control
                .send(kind, parts, false, deadline)
                .await?;
            sent.answer(deadline).await
        };
        let answered = answered.await;
        count(&self.peers.counters.control, answered.is_ok());
        match answered {
            Ok(frame) => Ok(frame),
            Err(Broken::Unsent | Broken::Overloaded) => Err(self.unreachable()),
            Err(Broken::Lost) => Err(self.timeout(action, ttl)),
        }
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        action: RPCTypes,
        question: &Q,
        option: &RPCOption,
    ) -> Result<A, Error> {
        let parts = vec![message::head(question)];
        reply(&self.call(kind, action, parts, option.soft_ttl()).await?)
    }

    /// Asks for a vote, or whether it would be given.
    async fn ask_vote(
        &self,
        kind: Kind,
        request: &VoteRequest<TypeConfig>,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let question = message::VoteForward::new(self.group, request);
        let answer = self.ask(kind, RPCTypes::Vote, &question, option).await;
        answer.map(|answer: message::VoteAnswer| answer.into())
    }

    /// One append over the control connection.
    async fn append(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
        option: &RPCOption,
    ) -> Result<Appended, Error> {
        let parts = message::append(self.group, 0, request);
        let ttl = option.soft_ttl();
        let frame = self
            .call(Kind::Append, RPCTypes::AppendEntries, parts, ttl)
            .await?;
        Ok(reply::<AppendReply>(&frame)?.into())
    }

    fn stream<'s, S>(&'s self, mut input: S) -> BoxStream<'s, Result<Appended, Error>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let Some(connection) = self.lanes.entries.connection() else {
            // Openraft backs off where it makes the next request: without asking for one it would try again at once,
            // and for ever.
            return Box::pin(futures::stream::once(async move {
                input.next().await;
                count(&self.peers.counters.entries, false);
                Err(self.unreachable())
            }));
        };
        let appends = Appends {
            peer: self,
            connection,
            stream: STREAMS.fetch_add(1, Ordering::Relaxed),
            input: Some(input),
            sent: VecDeque::new(),
            bytes: 0,
        };
        Box::pin(futures::stream::unfold(Some(appends), |appends| async {
            appends?.next().await
        }))
    }
}

/// Reads the answer in `frame`.
fn reply<A: DeserializeOwned>(frame: &Frame) -> Result<A, Error> {
    if frame.kind == Kind::Failed {
        let reason = String::from_utf8_lossy(&frame.body).into_owned();
        return Err(Unreachable::from_string(reason).into());
    }
    match message::open(&frame.body) {
        Ok((answer, _)) => Ok(answer),
        Err(error) => Err(NetworkError::from_string(error).into()),
    }
}

/// A stream of appends to one member.
struct Appends<'s, S> {
    peer: &'s Peer,
    connection: Arc<Connection>,
    stream: u64,
    /// `None` when there is nothing more to send.
    input: Option<S>,
    sent: VecDeque<Unanswered>,
    bytes: usize,
}

/// An append without an answer yet.
struct Unanswered {
    sent: Sent,
    bytes: usize,
    deadline: Instant,
    last: Option<Position>,
}

impl<S> Appends<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    /// Sends while there is room, and gives the next answer. The stream ends with the first that is not a success.
    async fn next(mut self) -> Option<(Result<Appended, Error>, Option<Self>)> {
        loop {
            let has_room =
                self.sent.len() < APPENDS_IN_FLIGHT_MAX && self.bytes < APPEND_BYTES_IN_FLIGHT_MAX;
            let may_send = has_room && self.input.is_some();
            let answered = tokio::select! {
                frame = first(&mut self.sent), if !self.sent.is_empty() => Some(frame),
                request = upcoming(&mut self.input), if may_send => {
                    match request {
                        None => self.input = None,
                        Some(request) => if let Err(error) = self.send(request).await {
                            return Some((Err(error), None));
                        },
                    }
                    None
                }
                else => return None,
            };
            if let Some(frame) = answered {
                return Some(self.answered(frame));
            }
        }
    }

    async fn send(&mut self, request: AppendEntriesRequest<TypeConfig>) -> Result<(), Error> {
        let last = request.entries.last().map(|entry| entry.log_id);
        let last = last.or(request.prev_log_id);
        let parts = message::append(self.peer.group, self.stream, request);
        let bytes = parts.iter().map(Bytes::len).sum();
        let deadline = Instant::now() + APPEND_MAX;
        let sent = self
            .connection
            .send(Kind::StreamAppend, parts, false, deadline)
            .await
            .map_err(|_| self.peer.unreachable())?;
        self.bytes += bytes;
        self.sent.push_back(Unanswered {
            sent,
            bytes,
            deadline,
            last,
        });
        Ok(())
    }

    fn answered(mut self, frame: Result<Frame, Broken>) -> (Result<Appended, Error>, Option<Self>) {
        count(&self.peer.peers.counters.entries, frame.is_ok());
        let append = self.sent.pop_front().expect("its answer came");
        self.bytes -= append.bytes;
        let frame = match frame {
            Ok(frame) => frame,
            Err(_) if self.connection.is_open() => {
                let timeout = self.peer.timeout(RPCTypes::AppendEntries, APPEND_MAX);
                return (Err(timeout), None);
            }
            Err(_) => return (Err(self.peer.unreachable()), None),
        };
        match reply::<AppendReply>(&frame).map(Appended::from) {
            // What was taken in part ends the stream: what follows does not fit any more.
            Ok(Ok(matches)) if matches == append.last => (Ok(Ok(matches)), Some(self)),
            other => (other, None),
        }
    }
}

async fn first(sent: &mut VecDeque<Unanswered>) -> Result<Frame, Broken> {
    let first = sent.front_mut().expect("looked at before");
    first.sent.answer(first.deadline).await
}

async fn upcoming<S: Stream + Unpin>(input: &mut Option<S>) -> Option<S::Item> {
    Pin::new(input.as_mut().expect("looked at before"))
        .next()
        .await
}

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Error> {
        let last = request.entries.last().map(|entry| entry.log_id);
        let last = last.or(request.prev_log_id);
        Ok(match self.append(request, &option).await? {
            Ok(matches) if matches == last => AppendEntriesResponse::Success,
            Ok(matches) => AppendEntriesResponse::PartialSuccess(matches),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<Appended, Error>>, Error>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            if !self.is_control {
                return Ok(self.stream(input));
            }
            // A heartbeat: one request, and its answer.
            let this = &*self;
            let answers: BoxStream<'s, _> = Box::pin(futures::stream::once(async move {
                match input.next().await {
                    Some(request) => this.append(request, &option).await,
                    None => Err(this.unreachable()),
                }
            }));
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        self.ask_vote(Kind::Vote, &request, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        self.ask_vote(Kind::PreVote, &request, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // The deadlines of `option` are for the whole; ours are for each chunk, however many there are.
        tokio::select! {
            sent = snapshot::send(&self.lanes, self.group, &vote, &snapshot) => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Error> {
        let question = message::TransferForward::new(self.group, &request);
        let answer: message::TransferAnswer = self
            .ask(Kind::Transfer, RPCTypes::TransferLeader, &question, &option)
            .await?;
        Ok(answer.into())
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}
