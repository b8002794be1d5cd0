//! Snapshots between whole groups, and segments that are emptied under a running node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use millrace_model::digest::Digest;
use millrace_model::{GroupId, QueueConfig, QueueId, Topology};
use millrace_store::log::Log;
use millrace_store::tables::TableStore;
use tempfile::TempDir;

use super::life::{ack, options, queue, receive, send};
use crate::apply::{ApplyLane, View};
use crate::snapshot::{Builder, CHUNK_MAX, Incoming, Snapshot};
use crate::waiters::WaitersByQueue;
use crate::{Cluster, ClusterOptions, check, codec, node};

const GROUP: GroupId = GroupId::DATA;

/// A group without agreement: what a follower is to a snapshot.
struct Follower {
    lane: ApplyLane,
    log: Arc<Log>,
    _tables: TableStore,
}

impl Follower {
    fn open(options: &ClusterOptions) -> Self {
        let (log, tables) = node::open(options).unwrap();
        let (waiters, topology) = (
            Arc::new(WaitersByQueue::default()),
            Arc::new(ArcSwap::from_pointee(Topology::default())),
        );
        let view = Arc::new(View::new(waiters, topology, std::iter::empty()));
        let rows = tables.group(GROUP).unwrap();
        crate::group::check_whole(&rows, &log).unwrap();
        let lane = ApplyLane::open(GROUP, rows, log.group(GROUP), view).unwrap();
        Self {
            lane,
            log,
            _tables: tables,
        }
    }

    /// A follower has voted before it is sent anything.
    fn vote(&self) {
        let (tell, told) = std::sync::mpsc::channel();
        let done = Box::new(move |result| drop(tell.send(result)));
        let vote = Bytes::from_static(b"{\"term\":1,\"node\":1,\"committed\":true}");
        self.log.group(GROUP).save_vote(vote, done).unwrap();
        told.recv().unwrap().unwrap();
    }

    fn install(&self, snapshot: Snapshot) {
        let staging = snapshot.snapshot.into_staging(&self.lane).unwrap();
        let meta = snapshot.meta;
        self.lane
            .call(|applier| applier.install(&meta, staging))
            .unwrap();
    }

    fn digest(&self) -> (Digest, u64) {
        digest(&self.lane)
    }
}

fn digest(lane: &ApplyLane) -> (Digest, u64) {
    lane.call(|applier| {
        assert_eq!(applier.machine.audit()?, Vec::<String>::new());
        applier.machine.digest()
    })
    .unwrap()
}

/// The most memory that the process had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.unwrap_or_default().to_owned()
}

fn payload(n: u64) -> Bytes {
    let mut bytes = n.to_be_bytes().repeat(16);
    bytes.truncate(100 + usize::try_from(n % 28).unwrap());
    bytes.into()
}

async fn fill(cluster: &Cluster, queue: QueueId, thousands: u64) {
    for thousand in 0..thousands {
        let numbers = thousand * 1_000..(thousand + 1) * 1_000;
        send(cluster, queue, numbers.map(payload).collect()).await;
    }
}

async fn transfer(from: &Snapshot, to: &ApplyLane) -> Snapshot {
    let mut chunks = from.snapshot.stream().unwrap();
    let mut incoming = Incoming::begin(to).unwrap();
    assert!(Incoming::begin(to).is_err(), "one at a time");
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.unwrap();
        assert!(chunk.len() <= CHUNK_MAX);
        incoming.push(&chunk).unwrap();
    }
    incoming.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_100k_rows_arrives_over_other_state_and_its_digest_is_the_same() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cluster = Cluster::start(options(&from)).await.unwrap();
    let orders = queue(&cluster, "orders", QueueConfig::default()).await;
    fill(&cluster, orders, 50).await;
    let leased = receive(&cluster, orders, 500, Duration::ZERO).await;
    ack(&cluster, orders, &leased[..300]).await;
    let lane = cluster.node.data[0].applier.clone();
    let early = Builder::build(&lane, true).unwrap();
    fill(&cluster, orders, 50).await;
    println!("before any snapshot is sent: {}", memory());
    let began = Instant::now();
    let late = Builder::build(&lane, true).unwrap();
    println!("built in {:?}", began.elapsed());
    let (sent, rows) = digest(&lane);
    assert!(rows > 99_000, "{rows} rows");
    assert!(late.meta.last_log_id > early.meta.last_log_id);

    let follower = Follower::open(&options(&to));
    follower.vote();
    let snapshot = transfer(&early, &follower.lane).await;
    assert_eq!(snapshot.meta, early.meta);
    follower.install(snapshot);
    let (first, _) = follower.digest();
    // What does not arrive whole leaves the first one as it is; what does replaces it.
    let mut incoming = Incoming::begin(&follower.lane).unwrap();
    let mut chunks = late.snapshot.chunks().unwrap();
    incoming.push(&chunks.next().unwrap().unwrap()).unwrap();
    drop(incoming);
    assert_eq!(follower.digest().0, first);
    let began = Instant::now();
    let snapshot = transfer(&late, &follower.lane).await;
    println!("100k rows arrived in {:?}; {}", began.elapsed(), memory());
    follower.install(snapshot);
    assert_eq!(follower.digest(), (sent, rows));
    let state = follower.lane.call(|applier| Ok(applier.state())).unwrap();
    assert_eq!(
        (state.0, state.1),
        (late.meta.last_log_id, late.meta.last_membership.clone())
    );
    drop((early, late));

    // The log was not purged yet: a crash here is made good at the next start.
    follower.lane.stop();
    drop(follower);
    let reports = check(&options(&to)).unwrap();
    assert_eq!(reports[0].violations, Vec::<String>::new());
    assert_eq!((reports[0].digest, reports[0].rows), (sent, rows));
    assert!(reports[0].payloads_outside > 99_000);
    let follower = Follower::open(&options(&to));
    assert_eq!(follower.digest(), (sent, rows));
    let purged = follower.log.group(GROUP).purged();
    assert_eq!(purged, state.0.as_ref().map(codec::to_log));
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_message_keeps_no_segment() {
    let dir = TempDir::new().unwrap();
    let options = || {
        let mut options = options(&dir);
        options.snapshot_bytes = 1 << 20;
        options.spill.pause = Duration::from_millis(50);
        options
    };
    let cluster = Cluster::start(options()).await.unwrap();
    let orders = queue(&cluster, "orders", QueueConfig::default()).await;
    let forgotten = queue(&cluster, "forgotten", QueueConfig::default()).await;
    for n in 0..150 {
        let large = Bytes::from(vec![b'x'; 100_000]);
        send(&cluster, orders, vec![large]).await;
        send(&cluster, forgotten, vec![payload(n)]).await;
        let messages = receive(&cluster, orders, 10, Duration::from_secs(5)).await;
        ack(&cluster, orders, &messages).await;
    }
    let segments = || cluster.node.log.segments().len();
    for _ in 0..200 {
        if segments() <= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        segments() <= 4,
        "15 MB went through segments of 1 MiB, {} are left",
        segments()
    );
    let outside = cluster.node.data[0].applier.tables().outside();
    assert!(outside.payloads > 100, "{outside:?}");
    let metrics = crate::metrics::text(&cluster);
    assert!(metrics.contains("millrace_spilled_bytes "), "{metrics}");
    cluster.stop().await.unwrap();
    drop(cluster);
    for report in check(&options()).unwrap() {
        assert_eq!(report.violations, Vec::<String>::new());
    }
    let cluster = Cluster::start(options()).await.unwrap();
    let messages = receive(&cluster, forgotten, 1_000, Duration::ZERO).await;
    assert_eq!(messages.len(), 150);
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(message.event, payload(n as u64));
    }
    ack(&cluster, forgotten, &messages).await;
    cluster.stop().await.unwrap();
    drop(cluster);
    for report in check(&options()).unwrap() {
        assert_eq!(report.violations, Vec::<String>::new());
    }
}
