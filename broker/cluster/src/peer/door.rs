//! The side that listens: lets peers in, and does what they ask.
//!
//! Everything is bounded: connections, the time to say hello, the length of frames, requests under way. Reading never
//! waits for a request to be done, so a ping is answered while a long poll waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use millrace_model::{Fault, GroupId};
use openraft::raft::AppendEntriesRequest;
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::frame::{self, FRAME_BYTES_MAX, Frame, HELLO_BYTES_MAX, Kind, Outgoing, Parts};
use super::hello::{self, HELLO_MAX, Hello, Purpose, Refused};
use super::message::{self, AppendReply, TransferAnswer, TransferForward, VoteAnswer, VoteForward};
use super::network::APPENDS_IN_FLIGHT_MAX;
use super::snapshot::{self, Arriving, SnapshotHead};
use super::standing::Standing;
use crate::forward;
use crate::node::Node;
use crate::simulated::net::{TcpListener, TcpStream};
use crate::types::{Raft, TypeConfig};

/// Most connections from peers: four from each of sixty others.
const CONNECTIONS_MAX: usize = 256;

/// Most requests of one connection under way, long polls included.
const REQUESTS_MAX: usize = 16_384;

/// Most answers of one connection that wait to be written.
const ANSWERS_WAITING_MAX: usize = 1_024;

/// Most answers that are written together.
const ANSWERS_AT_ONCE: usize = 64;

/// A connection on which nothing came for so long is closed: its owner pings twice a second.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Bytes that are read from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// Wait after the system has refused to accept.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Takes connections, for as long as it is polled.
pub(crate) async fn listen(listener: TcpListener, standing: Arc<Standing>, node: Arc<Node>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                standing.object(0, &format!("no connection can be taken: {error}"));
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            standing.object(0, "too many connections from peers: closed the newest");
            continue;
        };
        let (standing, node) = (Arc::clone(&standing), Arc::clone(&node));
        connections.spawn(async move {
            serve(stream, from, &standing, node).await;
            drop(place);
        });
    }
}

async fn serve(mut stream: TcpStream, from: SocketAddr, standing: &Standing, node: Arc<Node>) {
    let admitted = match receive(&mut stream, standing).await {
        Ok(hello) => standing.admit(&hello).map(|welcome| (hello, welcome)),
        Err(refused) => Err(refused),
    };
    let answer = match &admitted {
        Ok((_, welcome)) => hello::answer(&Ok(welcome.clone())),
        Err(refused) => {
            if standing.is_news(&format!("{}: {refused}", from.ip())) {
                tracing::warn!(%from, "a peer is turned away: {refused}");
            }
            hello::answer(&Err(refused.clone()))
        }
    };
    let written = tokio::time::timeout(HELLO_MAX, frame::write(&mut stream, answer)).await;
    let (Ok((hello, _)), Ok(Ok(()))) = (admitted, written) else {
        // The peer reads why before the connection ends.
        let _ = stream.shutdown().await;
        return;
    };
    if hello.purpose == Purpose::Greeting {
        return;
    }
    if let Err(error) = talk(stream, node).await {
        tracing::debug!(peer = hello.from, purpose = ?hello.purpose, %error, "the connection ends");
    }
}

async fn receive(stream: &mut TcpStream, standing: &Standing) -> Result<Hello, Refused> {
    let stranger = || Refused::new("this is the peer port of a millrace node: say hello first");
    let nodelay = stream.set_nodelay(true);
    nodelay.map_err(|error| Refused::new(error.to_string()))?;
    let frame = tokio::time::timeout(HELLO_MAX, frame::read(stream, HELLO_BYTES_MAX)).await;
    match frame {
        Ok(Ok(Some(frame))) if frame.kind == Kind::Hello => {
            hello::decode_hello(&frame.body, &standing.versions())
        }
        _ => Err(stranger()),
    }
}

/// One connection of a peer that was let in.
struct Talk {
    node: Arc<Node>,
    answers: mpsc::Sender<Outgoing>,
    /// Requests under way; they end with the connection.
    requests: JoinSet<u64>,
    /// Those that the peer may cancel.
    handles: BTreeMap<u64, AbortHandle>,
    /// The stream of appends to each group.
    streams: BTreeMap<u32, Appends>,
    arriving: Arriving,
}

/// The stream of appends to one group.
struct Appends {
    stream: u64,
    requests: mpsc::Sender<(u64, AppendEntriesRequest<TypeConfig>)>,
}

async fn talk(stream: TcpStream, node: Arc<Node>) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let (answers, outgoing) = mpsc::channel(ANSWERS_WAITING_MAX);
    let mut talk = Talk {
        node,
        answers,
        requests: JoinSet::new(),
        handles: BTreeMap::new(),
        streams: BTreeMap::new(),
        arriving: Arriving::default(),
    };
    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
    tokio::select! {
        ended = write_all(writer, outgoing) => ended,
        ended = async {
            loop {
                let frame = tokio::time::timeout(IDLE_MAX, frame::read(&mut reader, FRAME_BYTES_MAX));
                let Some(frame) = frame.await.map_err(|_| io::ErrorKind::TimedOut)?? else {
                    return Ok(());
                };
                talk.take(frame).await?;
            }
        } => ended,
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut frames = Vec::with_capacity(ANSWERS_AT_ONCE);
    let mut parts = Parts::default();
    while outgoing.recv_many(&mut frames, ANSWERS_AT_ONCE).await > 0 {
        frames.drain(..).for_each(|frame| parts.push(frame));
        while parts.write_some(&mut writer).await? > 0 {}
    }
    Ok(())
}

fn failed(reason: &impl ToString) -> (Kind, Vec<Bytes>) {
    (Kind::Failed, vec![reason.to_string().into()])
}

fn replied<T: Serialize>(answer: &T) -> (Kind, Vec<Bytes>) {
    (Kind::Reply, vec![message::head(answer)])
}

fn done(result: Result<(), Fault>) -> (Kind, Vec<Bytes>) {
    match result {
        Ok(()) => replied(&()),
        Err(fault) => failed(&fault),
    }
}

impl Talk {
    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        while let Some(done) = self.requests.try_join_next() {
            if let Ok(id) = done {
                self.handles.remove(&id);
            }
        }
        let Frame { kind, id, body } = frame;
        match kind {
            Kind::Ping => {
                // When so much waits, the peer hears from this side anyway.
                let _ = self
                    .answers
                    .try_send(Outgoing::new(Kind::Pong, 0, Bytes::new()));
                Ok(())
            }
            Kind::StreamAppend => self.stream_append(id, &body).await,
            Kind::Append => self.append(id, &body),
            Kind::Vote | Kind::PreVote => self.vote(id, kind, &body),
            Kind::Transfer => self.transfer(id, &body),
            Kind::Request => {
                let node = Arc::clone(&self.node);
                let handle = self.spawn(id, async move {
                    (Kind::Reply, forward::answer(&node, body).await)
                });
                self.handles.extend(handle.map(|handle| (id, handle)));
                Ok(())
            }
            Kind::Cancel => {
                if let Some(handle) = self.handles.remove(&id) {
                    handle.abort();
                }
                Ok(())
            }
            Kind::SnapshotBegin | Kind::SnapshotEnd => self.snapshot(id, kind, &body),
            Kind::SnapshotChunk => {
                let arriving = Arc::clone(&self.arriving);
                self.spawn(
                    id,
                    async move { done(snapshot::push(&arriving, body).await) },
                );
                Ok(())
            }
            other => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a peer asks with {other:?}"),
            )),
        }
    }

    /// Does `work` beside the reading, and sends what came of it.
    fn spawn(
        &mut self,
        id: u64,
        work: impl Future<Output = (Kind, Vec<Bytes>)> + Send + 'static,
    ) -> Option<AbortHandle> {
        let answers = self.answers.clone();
        if self.requests.len() >= REQUESTS_MAX {
            let (kind, parts) = (Kind::Reply, forward::overloaded());
            // Without room even for this the peer waits until its deadline.
            let _ = answers.try_send(Outgoing { kind, id, parts });
            return None;
        }
        Some(self.requests.spawn(async move {
            let (kind, parts) = work.await;
            // The connection may be gone by now.
            let _ = answers.send(Outgoing { kind, id, parts }).await;
            id
        }))
    }

    fn raft(&self, group: u32) -> Option<Raft> {
        let group = self.node.group(GroupId(group)).ok()?;
        Some(group.raft.clone())
    }

    /// The agreement of `group`, or a refusal of request `id`.
    fn raft_or_fail(&mut self, id: u64, group: u32) -> Option<Raft> {
        let raft = self.raft(group);
        if raft.is_none() {
            let answer = failed(&format!("this node has no group {group}"));
            self.spawn(id, async { answer });
        }
        raft
    }

    fn append(&mut self, id: u64, body: &Bytes) -> io::Result<()> {
        let (group, _, request) = message::open_append(body)?;
        if let Some(raft) = self.raft_or_fail(id, group) {
            self.spawn(id, async move {
                let last = request.entries.last().map(|entry| entry.log_id);
                let (previous, last) = (request.prev_log_id, last.or(request.prev_log_id));
                match raft.append_entries(request).await {
                    Ok(response) => {
                        let result = response.into_stream_result(previous, last);
                        replied(&AppendReply::from(&result))
                    }
                    Err(error) => failed(&error),
                }
            });
        }
        Ok(())
    }

    fn vote(&mut self, id: u64, kind: Kind, body: &Bytes) -> io::Result<()> {
        let (question, _) = message::open::<VoteForward>(body)?;
        if let Some(raft) = self.raft_or_fail(id, question.group) {
            self.spawn(id, async move {
                let answered = match kind {
                    Kind::Vote => raft.vote(question.request()).await,
                    _ => raft.pre_vote(question.request()).await,
                };
                match answered {
                    Ok(response) => replied(&VoteAnswer::from(&response)),
                    Err(error) => failed(&error),
                }
            });
        }
        Ok(())
    }

    fn transfer(&mut self, id: u64, body: &Bytes) -> io::Result<()> {
        let (question, _) = message::open::<TransferForward>(body)?;
        if let Some(raft) = self.raft_or_fail(id, question.group) {
            self.spawn(id, async move {
                match raft.handle_transfer_leader(question.request()).await {
                    Ok(response) => replied(&TransferAnswer::from(&response)),
                    Err(error) => failed(&error),
                }
            });
        }
        Ok(())
    }

    fn snapshot(&mut self, id: u64, kind: Kind, body: &Bytes) -> io::Result<()> {
        let (head, _) = message::open::<SnapshotHead>(body)?;
        let arriving = Arc::clone(&self.arriving);
        let group = self.node.group(GroupId(head.group)).cloned();
        self.spawn(id, async move {
            let group = match group {
                Ok(group) => group,
                Err(unavailable) => return failed(&unavailable),
            };
            match kind {
                Kind::SnapshotBegin => done(snapshot::begin(&arriving, group, &head).await),
                _ => match snapshot::finish(&arriving, &group, head).await {
                    Ok(installed) => replied(&installed),
                    Err(fault) => failed(&fault),
                },
            }
        });
        Ok(())
    }

    /// Hands an append to the stream that it belongs to; a new stream takes the place of the one before.
    async fn stream_append(&mut self, id: u64, body: &Bytes) -> io::Result<()> {
        let (group, stream, request) = message::open_append(body)?;
        let is_known = self
            .streams
            .get(&group)
            .is_some_and(|known| known.stream == stream);
        if !is_known {
            let Some(raft) = self.raft_or_fail(id, group) else {
                return Ok(());
            };
            let (requests, receiver) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
            let answers = self.answers.clone();
            self.requests.spawn(async move {
                append_in_order(raft, receiver, answers).await;
                0
            });
            self.streams.insert(group, Appends { stream, requests });
        }
        // A stream that has ended takes nothing more; its sender has seen why.
        let _ = self.streams[&group].requests.send((id, request)).await;
        Ok(())
    }
}

/// Takes appends in their order, many before the first is on the disk, and answers in the same order.
async fn append_in_order(
    raft: Raft,
    requests: mpsc::Receiver<(u64, AppendEntriesRequest<TypeConfig>)>,
    answers: mpsc::Sender<Outgoing>,
) {
    let (taken, mut ids) = mpsc::unbounded_channel();
    let requests = futures::stream::unfold(requests, move |mut requests| {
        let taken = taken.clone();
        async move {
            let (id, request) = requests.recv().await?;
            taken.send(id).ok()?;
            Some((request, requests))
        }
    });
    let mut results = pin!(raft.stream_append(requests));
    while let Some(result) = results.next().await {
        let Some(id) = ids.recv().await else { return };
        let (kind, parts) = match &result {
            Ok(result) => replied(&AppendReply::from(result)),
            Err(fatal) => failed(fatal),
        };
        if answers.send(Outgoing { kind, id, parts }).await.is_err() {
            return;
        }
    }
}
