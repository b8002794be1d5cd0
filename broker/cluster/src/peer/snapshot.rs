//! Snapshots on their way from one node to another.
//!
//! A begin names group and vote; opaque chunks follow, each answered when it is on the disk of the other side; an end is
//! answered when the snapshot is installed. Each step has its own deadline, and while one chunk is written the next is
//! read. Chunks check themselves, see [`crate::snapshot`].

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use millrace_model::{Fault, GroupId};
use openraft::StorageError;
use openraft::errors::{ErrorSource as _, NetworkError, StreamingError, Unreachable};
use openraft::impls::BoxedErrorSource;
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::{Broken, Connection};
use super::frame::{FRAME_BYTES_MAX, Frame, Kind};
use super::message::{self, VoteForm};
use super::peers::Lanes;
use crate::group::Group;
use crate::simulated;
use crate::snapshot::{CHUNK_MAX, Incoming, Snapshot};
use crate::types::{TypeConfig, Vote};

/// How long a chunk may go unanswered: it is on the disk of the other side then.
const CHUNK_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long the other side may take to make a snapshot durable and to install it.
const INSTALL_WAIT_MAX: Duration = Duration::from_secs(300);

const _: () = assert!(CHUNK_MAX < FRAME_BYTES_MAX);

/// What a begin says, and an end again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    pub(crate) group: u32,
    vote: VoteForm,
}

/// What an end is answered with: the vote of the other side, which may be newer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Installed(VoteForm);

impl Installed {
    pub(crate) fn new(vote: &Vote) -> Self {
        Self(vote.into())
    }
}

#[cfg(test)]
impl SnapshotHead {
    /// Of a leader of that term.
    pub(crate) fn of(group: u32, term: u64) -> Self {
        let vote = VoteForm::from(&Vote::new_committed(term, 1));
        Self { group, vote }
    }
}

type Error = StreamingError<TypeConfig>;

fn unreachable(node: u64) -> Error {
    Unreachable::from_string(format!("no connection to node {node}")).into()
}

/// Sends a snapshot and waits until it is installed; before that, until those of other groups are.
///
/// # Errors
/// What went wrong here, on the way or there.
pub(crate) async fn send(
    lanes: &Lanes,
    group: u32,
    vote: &Vote,
    snapshot: &Snapshot,
) -> Result<SnapshotResponse<TypeConfig>, Error> {
    let _turn = lanes.snapshot_turn.lock().await;
    let connection = lanes.snapshots.connection();
    let connection = connection.ok_or_else(|| unreachable(lanes.node))?;
    let sender = Sender {
        connection,
        node: lanes.node,
    };
    let head = || {
        vec![message::head(&SnapshotHead {
            group,
            vote: vote.into(),
        })]
    };
    sender
        .call(Kind::SnapshotBegin, head(), CHUNK_WAIT_MAX)
        .await?;
    let unreadable = |fault: Fault| {
        let source = BoxedErrorSource::from_string(fault);
        Error::from(StorageError::read_snapshot(None, source))
    };
    let mut chunks = snapshot.snapshot.stream().map_err(unreadable)?;
    while let Some(chunk) = chunks.recv().await {
        let parts = vec![chunk.map_err(unreadable)?];
        sender
            .call(Kind::SnapshotChunk, parts, CHUNK_WAIT_MAX)
            .await?;
    }
    let frame = sender
        .call(Kind::SnapshotEnd, head(), INSTALL_WAIT_MAX)
        .await?;
    let (Installed(vote), _) = message::open(&frame.body).map_err(|error| nonsense(&error))?;
    Ok(SnapshotResponse::new(vote.into()))
}

fn nonsense(error: &io::Error) -> Error {
    NetworkError::from_string(error).into()
}

/// One side of a transfer.
struct Sender {
    connection: Arc<Connection>,
    node: u64,
}

impl Sender {
    async fn call(&self, kind: Kind, parts: Vec<Bytes>, wait: Duration) -> Result<Frame, Error> {
        let deadline = Instant::now() + wait;
        let answered = async {
            let mut sent = self.connection.send(kind, parts, false, deadline).await?;
            sent.answer(deadline).await
        };
        match answered.await {
            Ok(frame) if frame.kind == Kind::Failed => {
                let reason = String::from_utf8_lossy(&frame.body).into_owned();
                tracing::warn!(node = self.node, %reason, "a snapshot was not taken");
                Err(Unreachable::from_string(reason).into())
            }
            Ok(frame) => Ok(frame),
            Err(Broken::Unsent | Broken::Overloaded | Broken::Lost) => Err(unreachable(self.node)),
        }
    }
}

/// The snapshot that comes in over one connection, and of which group, if one does: one step at a time, in order. It ends
/// with the connection.
pub(crate) type Arriving = Arc<Slot>;

type Slot = Mutex<Option<(GroupId, Incoming)>>;

/// Over which connection a snapshot of one group was begun last, and in which term.
#[derive(Default)]
pub(crate) struct Receiving(Mutex<Option<(u64, Weak<Slot>)>>);

/// Runs `work` where it may block.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Fault> + Send + 'static,
) -> Result<R, Fault> {
    let done = simulated::blocking(work).await;
    done.unwrap_or_else(|panic| Err(Fault::new("take a snapshot", panic)))
}

/// Begins to take a snapshot; one of this connection that was not ended is forgotten. So is one of this group from who
/// leads no more: who loses the lead stops in the middle, and the connection goes on.
///
/// # Errors
/// A [`Fault`] as [`Incoming::begin`].
pub(crate) async fn begin(
    arriving: &Arriving,
    group: Arc<Group>,
    head: &SnapshotHead,
) -> Result<(), Fault> {
    let (id, term) = (group.id, head.vote.term());
    // Held to the end, so that of two that begin one waits.
    let mut receiving = group.receiving.0.lock().await;
    if let Some((former, other)) = receiving.take_if(|(former, _)| *former <= term)
        && let Some(other) = other.upgrade()
        && !Arc::ptr_eq(&other, arriving)
    {
        let forgotten = other.lock().await.take_if(|(of, _)| *of == id);
        if forgotten.is_some() {
            tracing::info!(group = %id, former, term, "a snapshot that was not ended is forgotten");
        }
    }
    let mut slot = arriving.lock().await;
    drop(slot.take());
    let applier = group.applier.clone();
    let incoming = blocking(move || Incoming::begin(&applier)).await?;
    *slot = Some((id, incoming));
    *receiving = Some((term, Arc::downgrade(arriving)));
    Ok(())
}

fn none_begun() -> Fault {
    Fault::new("take a snapshot", "none has begun on this connection")
}

/// Takes a chunk.
///
/// # Errors
/// A [`Fault`] as [`Incoming::push`]; the snapshot is forgotten.
pub(crate) async fn push(arriving: &Arriving, chunk: Bytes) -> Result<(), Fault> {
    let mut arriving = arriving.lock().await;
    let (group, mut incoming) = arriving.take().ok_or_else(none_begun)?;
    let taken = blocking(move || incoming.push(&chunk).map(|()| incoming)).await;
    *arriving = Some((group, taken?));
    Ok(())
}

/// Ends it and installs it.
///
/// # Errors
/// A [`Fault`] when it is not whole, or the agreement has stopped.
pub(crate) async fn finish(
    arriving: &Arriving,
    group: &Group,
    head: SnapshotHead,
) -> Result<Installed, Fault> {
    let (_, incoming) = arriving.lock().await.take().ok_or_else(none_begun)?;
    let snapshot = blocking(move || incoming.finish()).await?;
    let installed = group.raft.install_full_snapshot(head.vote.into(), snapshot);
    let response = installed
        .await
        .map_err(|fatal| Fault::new("install a snapshot", fatal))?;
    tracing::info!(group = %group.id, "a snapshot of the leader is installed");
    Ok(Installed::new(&response.vote))
}
