//! One connection to a peer, as the side that made it sees it: requests out, answers in, many at a time.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::frame::{self, FRAME_BYTES_MAX, Frame, Kind, Outgoing, Parts};
use crate::simulated::net::TcpStream;

/// Most frames of one connection that wait to be written.
const FRAMES_WAITING_MAX: usize = 256;

/// Most frames that are written together.
const FRAMES_AT_ONCE: usize = 64;

/// How often an idle connection asks whether the peer is there.
const PING_EVERY: Duration = Duration::from_millis(500);

/// A peer from which nothing came for so long is taken for gone, and the connection is closed.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Bytes left to write above which writing counts as a sign of life: what is smaller fits into the socket's own buffer.
const PROGRESS_BYTES: usize = 1 << 20;

/// Bytes that are read from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It was not sent: it had no effect.
    Unsent,
    /// It was not sent, because too much is under way already.
    Overloaded,
    /// It was sent, and nobody can tell what came of it.
    Lost,
}

type Answer = oneshot::Sender<Frame>;

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    frames: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
    next_id: AtomicU64,
}

/// Requests that wait for their answers; `None` once the connection is closed.
#[derive(Debug)]
struct Waiting {
    answers: Mutex<Option<BTreeMap<u64, Answer>>>,
    open: watch::Sender<bool>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<u64, Answer>>> {
        // The map is whole between any two statements under the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, id: u64) -> Option<Answer> {
        self.lock().as_mut()?.remove(&id)
    }

    fn close(&self) {
        self.lock().take();
        self.open.send_replace(false);
    }
}

/// A request that was sent. Dropping it tells the peer that nobody waits any more, if it was asked to.
#[derive(Debug)]
pub(crate) struct Sent {
    id: u64,
    answer: oneshot::Receiver<Frame>,
    connection: Arc<Connection>,
    cancels: bool,
}

impl Sent {
    /// The answer, waited for until `deadline`.
    ///
    /// # Errors
    /// [`Broken::Lost`] when the connection was closed or the deadline has passed.
    pub(crate) async fn answer(&mut self, deadline: Instant) -> Result<Frame, Broken> {
        let answer = tokio::time::timeout_at(deadline, &mut self.answer).await;
        let Ok(Ok(frame)) = answer else {
            return Err(Broken::Lost);
        };
        self.cancels = false;
        Ok(frame)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let waited = self.connection.waiting.take(self.id).is_some();
        if waited && self.cancels {
            let cancel = Outgoing::new(Kind::Cancel, self.id, Bytes::new());
            // When too much waits the peer finds out by itself, at the end of the poll.
            let _ = self.connection.frames.try_send(cancel);
        }
    }
}

impl Connection {
    /// Takes over a socket on which both sides know each other.
    pub(crate) fn start(stream: TcpStream) -> Arc<Self> {
        let (frames, outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
        let waiting = Arc::new(Waiting {
            answers: Mutex::new(Some(BTreeMap::new())),
            open: watch::Sender::new(true),
        });
        let connection = Arc::new(Self {
            frames,
            waiting: Arc::clone(&waiting),
            next_id: AtomicU64::new(1),
        });
        tokio::spawn(async move {
            if let Err(error) = run(stream, outgoing, &waiting).await {
                tracing::debug!(%error, "a connection to a peer has ended");
            }
            waiting.close();
        });
        connection
    }

    /// Sends a request; `cancels` tells the peer when nobody waits for the answer any more.
    ///
    /// # Errors
    /// [`Broken::Unsent`] when the connection is closed, or has no room before `deadline`.
    pub(crate) async fn send(
        self: &Arc<Self>,
        kind: Kind,
        parts: Vec<Bytes>,
        cancels: bool,
        deadline: Instant,
    ) -> Result<Sent, Broken> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = Outgoing { kind, id, parts };
        if frame.bytes() > FRAME_BYTES_MAX {
            return Err(Broken::Unsent);
        }
        let room = tokio::time::timeout_at(deadline, self.frames.reserve()).await;
        let Ok(Ok(room)) = room else {
            return Err(Broken::Unsent);
        };
        let (answered, answer) = oneshot::channel();
        match self.waiting.lock().as_mut() {
            Some(answers) => answers.insert(id, answered),
            None => return Err(Broken::Unsent),
        };
        room.send(frame);
        Ok(Sent {
            id,
            answer,
            connection: Arc::clone(self),
            cancels,
        })
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        *self.waiting.open.borrow()
    }

    /// Ready when it is closed.
    pub(crate) async fn closed(&self) {
        let mut open = self.waiting.open.subscribe();
        let _ = open.wait_for(|open| !open).await;
    }
}

/// When something was last heard of the peer, in milliseconds since the connection began.
struct LastHeard {
    start: Instant,
    ms: AtomicU64,
}

impl LastHeard {
    fn note(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ms.store(ms, Ordering::Relaxed);
    }

    fn limit(&self) -> Instant {
        self.start + Duration::from_millis(self.ms.load(Ordering::Relaxed)) + SILENCE_MAX
    }
}

async fn run(
    stream: TcpStream,
    outgoing: mpsc::Receiver<Outgoing>,
    waiting: &Waiting,
) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let heard = LastHeard {
        start: Instant::now(),
        ms: AtomicU64::new(0),
    };
    tokio::select! {
        ended = write_all(writer, outgoing, &heard) => ended,
        ended = read_all(BufReader::with_capacity(READ_BYTES, reader), waiting, &heard) => ended,
        silent = silence(&heard) => silent,
    }
}

async fn silence(heard: &LastHeard) -> io::Result<()> {
    while heard.limit() > Instant::now() {
        tokio::time::sleep_until(heard.limit()).await;
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the peer is silent",
    ))
}

async fn read_all<R: AsyncRead + Unpin>(
    mut reader: R,
    waiting: &Waiting,
    heard: &LastHeard,
) -> io::Result<()> {
    while let Some(frame) = frame::read(&mut reader, FRAME_BYTES_MAX).await? {
        heard.note();
        match frame.kind {
            Kind::Pong => {}
            Kind::Reply | Kind::Failed => {
                if let Some(answer) = waiting.take(frame.id) {
                    // Whoever waited may be gone by now.
                    let _ = answer.send(frame);
                }
            }
            other => {
                let reason = format!("a peer answers with {other:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut outgoing: mpsc::Receiver<Outgoing>,
    heard: &LastHeard,
) -> io::Result<()> {
    let mut frames = Vec::with_capacity(FRAMES_AT_ONCE);
    let mut parts = Parts::default();
    loop {
        let next = outgoing.recv_many(&mut frames, FRAMES_AT_ONCE);
        match tokio::time::timeout(PING_EVERY, next).await {
            Ok(0) => return Ok(()),
            Ok(_) => frames.drain(..).for_each(|frame| parts.push(frame)),
            Err(_) => parts.push(Outgoing::new(Kind::Ping, 0, Bytes::new())),
        }
        loop {
            match parts.write_some(&mut writer).await? {
                0 => break,
                left if left > PROGRESS_BYTES => heard.note(),
                _ => {}
            }
        }
    }
}
