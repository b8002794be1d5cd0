//! What the log counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters and gauges of one log; read them with [`LogMetrics::read`].
#[derive(Debug, Default)]
pub struct LogMetrics {
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_nanos: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) segments_live: AtomicU64,
    pub(crate) segments_free: AtomicU64,
    pub(crate) segments_recycled: AtomicU64,
    pub(crate) cache_bytes: AtomicU64,
    pub(crate) queue_bytes: AtomicU64,
    pub(crate) disk_reads: AtomicU64,
    pub(crate) disk_bytes_read: AtomicU64,
}

/// The metrics at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// fdatasync calls on segments.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_time: Duration,
    /// Operations (appends, votes, truncations, purges) that were made durable.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written to segments, without pre-zeroing.
    pub bytes_written: u64,
    /// Segments in use, the active one included.
    pub segments_live: u64,
    /// Zeroed or recycled segments that stand ready.
    pub segments_free: u64,
    /// Segments given back for reuse since start.
    pub segments_recycled: u64,
    /// Bytes of bodies in memory.
    pub cache_bytes: u64,
    /// Bytes that wait for the writer.
    pub queue_bytes: u64,
    /// Reads that missed the cache.
    pub disk_reads: u64,
    /// Bytes read for them.
    pub disk_bytes_read: u64,
}

impl LogMetrics {
    /// Every metric now. Each is exact; together they are not one moment's.
    pub fn read(&self) -> Reading {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Reading {
            syncs: get(&self.syncs),
            sync_time: Duration::from_nanos(get(&self.sync_nanos)),
            batches: get(&self.batches),
            records: get(&self.records),
            bytes_written: get(&self.bytes_written),
            segments_live: get(&self.segments_live),
            segments_free: get(&self.segments_free),
            segments_recycled: get(&self.segments_recycled),
            cache_bytes: get(&self.cache_bytes),
            queue_bytes: get(&self.queue_bytes),
            disk_reads: get(&self.disk_reads),
            disk_bytes_read: get(&self.disk_bytes_read),
        }
    }
}
