//! The connections to all peers: for each purpose its own, made at once and made again when lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection::{Broken, Connection, Sent};
use super::frame::Kind;
use super::hello::{self, NoConnection, Purpose};
use super::standing::Standing;
use crate::types::Member;

/// How long to wait before the first further attempt to connect; doubled with each, up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);

/// Longest wait between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Wait after a peer has refused: an operator must act first.
const RETRY_REFUSED: Duration = Duration::from_secs(2);

/// Most requests of clients that this node has forwarded and that are not answered yet, long polls included.
const FORWARDS_MAX: usize = 16_384;

/// What was sent to peers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Heartbeats, votes and transfers: answered, and not.
    pub(crate) control: [AtomicU64; 2],
    /// Appends: answered, and not.
    pub(crate) entries: [AtomicU64; 2],
    /// Forwarded requests: answered, and not.
    pub(crate) requests: [AtomicU64; 2],
}

/// Counts one call that was answered, or not.
pub(crate) fn count(counters: &[AtomicU64; 2], answered: bool) {
    counters[usize::from(!answered)].fetch_add(1, Ordering::Relaxed);
}

/// The connections to all peers.
pub(crate) struct Peers {
    pub(crate) standing: Arc<Standing>,
    pub(crate) counters: Counters,
    /// Room for requests that are forwarded.
    pub(crate) forwards: Semaphore,
    lanes: Mutex<BTreeMap<u64, Arc<Lanes>>>,
}

/// The connections to one peer.
pub(crate) struct Lanes {
    pub(crate) node: u64,
    member: Member,
    pub(crate) control: Lane,
    pub(crate) entries: Lane,
    pub(crate) snapshots: Lane,
    /// Held by who sends a snapshot: the other side takes one at a time over a connection, and two of two groups would
    /// push each other out, again and again.
    pub(crate) snapshot_turn: tokio::sync::Mutex<()>,
    pub(crate) requests: Lane,
}

impl Peers {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self {
            standing,
            counters: Counters::default(),
            forwards: Semaphore::new(FORWARDS_MAX),
            lanes: Mutex::default(),
        }
    }

    /// The connections to `node`; made now when there are none, or when it has moved or has other data.
    pub(crate) fn to(&self, node: u64, member: &Member) -> Arc<Lanes> {
        let mut lanes = self.lock();
        if let Some(lanes) = lanes.get(&node).filter(|lanes| lanes.member == *member) {
            return Arc::clone(lanes);
        }
        let new = Arc::new(Lanes::open(&self.standing, node, member));
        lanes.insert(node, Arc::clone(&new));
        new
    }

    /// The connections to a member.
    pub(crate) fn member(&self, node: u64) -> Option<Arc<Lanes>> {
        let members = self.standing.members();
        members.get(&node).map(|member| self.to(node, member))
    }

    /// Closes the connections to all that are no members any more.
    pub(crate) fn keep(&self, members: &BTreeMap<u64, Member>) {
        self.lock().retain(|node, _| members.contains_key(node));
    }

    /// Closes all.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    /// Whether requests can be sent to `node` now.
    pub(crate) fn reaches(&self, node: u64) -> bool {
        let lanes = self.lock();
        let lanes = lanes.get(&node);
        lanes.is_some_and(|lanes| lanes.requests.connection().is_some())
    }

    /// To how many peers votes and heartbeats can be sent now.
    pub(crate) fn connected(&self) -> usize {
        let lanes = self.lock();
        let connected = |lanes: &&Arc<Lanes>| lanes.control.connection().is_some();
        lanes.values().filter(connected).count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Lanes>>> {
        // The map is whole between any two statements under the lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn open(standing: &Arc<Standing>, node: u64, member: &Member) -> Self {
        let lane = |purpose| Lane::open(Arc::clone(standing), node, member.clone(), purpose);
        Self {
            node,
            member: member.clone(),
            control: lane(Purpose::Control),
            entries: lane(Purpose::Entries),
            snapshots: lane(Purpose::Snapshots),
            snapshot_turn: tokio::sync::Mutex::default(),
            requests: lane(Purpose::Requests),
        }
    }
}

/// One connection to a peer, made again whenever it is lost.
pub(crate) struct Lane {
    connection: watch::Receiver<Option<Arc<Connection>>>,
    task: AbortHandle,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lane {
    fn open(standing: Arc<Standing>, node: u64, member: Member, purpose: Purpose) -> Self {
        let (connected, connection) = watch::channel(None);
        let task = tokio::spawn(keep(standing, node, member, purpose, connected));
        let task = task.abort_handle();
        Self { connection, task }
    }

    /// The connection, if there is one.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        let connection = self.connection.borrow().clone();
        connection.filter(|connection| connection.is_open())
    }

    /// Sends a request; `cancels` as [`Connection::send`].
    ///
    /// # Errors
    /// [`Broken::Unsent`].
    pub(crate) async fn send(
        &self,
        kind: Kind,
        parts: Vec<Bytes>,
        cancels: bool,
        deadline: Instant,
    ) -> Result<Sent, Broken> {
        let connection = self.connection().ok_or(Broken::Unsent)?;
        connection.send(kind, parts, cancels, deadline).await
    }
}

async fn keep(
    standing: Arc<Standing>,
    node: u64,
    member: Member,
    purpose: Purpose,
    connected: watch::Sender<Option<Arc<Connection>>>,
) {
    let mut retry = RETRY_MIN;
    loop {
        let hello = standing.hello(node, Some(member.incarnation), purpose);
        match hello::greet(&member.address, &hello).await {
            Ok((stream, welcome)) => {
                standing.see(node, welcome.versions);
                let connection = Connection::start(stream);
                connected.send_replace(Some(Arc::clone(&connection)));
                tracing::info!(node, ?purpose, "connected to a peer");
                connection.closed().await;
                connected.send_replace(None);
                tracing::warn!(node, ?purpose, "lost a peer");
                retry = RETRY_MIN;
            }
            Err(NoConnection::Io(error)) => {
                tracing::trace!(node, ?purpose, %error, "no connection");
                retry = (retry * 2).min(RETRY_MAX);
            }
            Err(error) => {
                standing.object(node, &error.to_string());
                retry = RETRY_REFUSED;
            }
        }
        tokio::time::sleep(retry).await;
    }
}
