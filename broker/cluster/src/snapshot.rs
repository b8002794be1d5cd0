//! Snapshots of a group: its rows at one position with the payloads that they refer to, as openraft asks for them and
//! as they travel to another node.
//!
//! # For the transport
//! openraft hands a [`Snapshot`] to `RaftNetworkV2::full_snapshot`. Its data gives chunks ([`SnapshotData::chunks`], an
//! iterator that reads the disk, or [`SnapshotData::stream`] for async code), each with a checksum and a sequence
//! number of its own, none larger than [`CHUNK_MAX`]. The other node begins an [`Incoming`] on the group's
//! [`ApplyLane`], pushes what arrives in order, and [`Incoming::finish`] gives a [`Snapshot`] for
//! `Raft::install_full_snapshot`. Position and membership travel inside.
//!
//! `Incoming` reads and writes the disk in every call, its end included: use it where blocking is fine
//! (`spawn_blocking`). Dropping it, or the snapshot that came of it, leaves nothing behind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_model::Fault;
use millrace_store::snapshot::{self, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, Chunks, SnapshotSource};
use millrace_store::tables::Staging;
use openraft::storage::RaftSnapshotBuilder;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::apply::{self, ApplyLane};
use crate::simulated;
use crate::types::{Position, StoredMembership, TypeConfig};

pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// Largest chunk of a snapshot, its header included, in bytes.
pub(crate) const CHUNK_MAX: usize = CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX;

/// Chunks that wait for the network: at most 2 MiB of memory a follower.
const CHUNKS_WAITING: usize = 2;

/// Wait before a snapshot is tried again for which the disk had no room.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// The contents of a snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// Made here: a view of rows and payloads, read when they are asked for. It keeps segments of the log and old rows
    /// on the disk while it is there.
    Built(Arc<SnapshotSource>),
    /// Came from another node, complete and verified, and is not installed yet.
    Received(Staging),
}

impl SnapshotData {
    /// All chunks in order, made as they are asked for. Blocks on the disk; ends after the first error.
    ///
    /// # Errors
    /// It was received and not built here.
    pub(crate) fn chunks(&self) -> Result<Chunks, Fault> {
        match self {
            Self::Built(source) => Ok(source.chunks()),
            Self::Received(_) => Err(Fault::new("send a snapshot", "it was not built here")),
        }
    }

    /// [`SnapshotData::chunks`] for async code: made on a thread that may block, a few ahead of who takes them. Drop
    /// the receiver to end it early.
    pub(crate) fn stream(&self) -> Result<mpsc::Receiver<Result<Bytes, Fault>>, Fault> {
        let chunks = self.chunks()?;
        let (give, take) = mpsc::channel(CHUNKS_WAITING);
        simulated::feed(chunks, give);
        Ok(take)
    }

    /// The contents as staged rows of the group of `lane`.
    pub(crate) fn into_staging(self, lane: &ApplyLane) -> Result<Staging, Fault> {
        match self {
            Self::Received(staging) => Ok(staging),
            Self::Built(source) => {
                let mut incoming = snapshot::Incoming::begin(lane.tables())?;
                for chunk in source.chunks() {
                    incoming.push(&chunk?)?;
                }
                incoming.finish()
            }
        }
    }
}

/// A snapshot on its way in, for one group: one at a time. Every call blocks.
#[derive(Debug)]
pub(crate) struct Incoming(snapshot::Incoming);

impl Incoming {
    /// Begins to receive for the group of `lane`. Nothing of the group is touched before the snapshot is installed.
    ///
    /// # Errors
    /// Another one is being received; the group has stopped; the disk refused.
    pub(crate) fn begin(lane: &ApplyLane) -> Result<Self, Fault> {
        snapshot::Incoming::begin(lane.tables()).map(Self)
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// It is damaged, cut off, too long, out of order, repeated, of another snapshot or group, or of a newer form; or
    /// the disk refused. Nothing can be pushed any more then: begin again.
    pub(crate) fn push(&mut self, chunk: &Bytes) -> Result<(), Fault> {
        self.0.push(chunk)
    }

    /// All chunks came: the snapshot, durable and not installed.
    ///
    /// # Errors
    /// Chunks are missing, its position cannot be read, or the disk refused.
    pub(crate) fn finish(self) -> Result<Snapshot, Fault> {
        let staging = self.0.finish()?;
        let meta = meta(|name| staging.system(name))?;
        let snapshot = SnapshotData::Received(staging);
        Ok(Snapshot { meta, snapshot })
    }
}

/// Position and membership of rows, which are rows themselves.
pub(crate) fn meta(
    system: impl Fn(&str) -> Result<Option<Vec<u8>>, Fault>,
) -> Result<SnapshotMeta, Fault> {
    let (last_log_id, last_membership): (Option<Position>, StoredMembership) =
        apply::standing(system)?;
    Ok(SnapshotMeta {
        last_log_id,
        last_membership,
    })
}

/// Builds snapshots of one group.
pub(crate) struct Builder(pub(crate) ApplyLane);

impl Builder {
    /// The group as it is now, without holding up those who apply. `synced`: its position is durable on return, so the
    /// log may be purged up to there.
    pub(crate) fn build(lane: &ApplyLane, synced: bool) -> Result<Snapshot, Fault> {
        let source = SnapshotSource::take(
            lane.tables(),
            lane.log().clone(),
            millrace_machine::reference,
            synced,
        )?;
        let meta = meta(|name| source.system(name))?;
        let snapshot = SnapshotData::Built(Arc::new(source));
        Ok(Snapshot { meta, snapshot })
    }

    fn build_and_note(lane: &ApplyLane) -> Result<Snapshot, Fault> {
        let began = Instant::now();
        let snapshot = Self::build(lane, true)?;
        let meta = snapshot.meta.clone();
        lane.call(|applier| {
            applier.note_snapshot(meta, began);
            Ok(())
        })?;
        Ok(snapshot)
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        loop {
            let lane = self.0.clone();
            let built = simulated::blocking(move || Self::build_and_note(&lane)).await;
            match built.unwrap_or_else(|panic| Err(Fault::new("build a snapshot", panic))) {
                // An error would end the group here, and a full disk need not stay full.
                Err(fault) if self.0.tables().is_short() => {
                    tracing::warn!(%fault, "a snapshot waits for room on the disk");
                    tokio::time::sleep(ROOM_PAUSE).await;
                }
                built => return built.map_err(io::Error::other),
            }
        }
    }
}
