//! What can be set about a log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::log::LogError;

/// Called with the time of each fdatasync, on the writer thread: must be quick.
pub type SyncObserver = Arc<dyn Fn(Duration) + Send + Sync>;

/// What can be set about a log. `LogOptions::default()` is for production; tests make segments small.
#[derive(Clone)]
pub struct LogOptions {
    /// Size of a segment file, 64 MiB. A log written with one size is read with any other.
    pub segment_bytes: u32,
    /// Pre-zeroed segments kept ready beside the active one, 2. One of them is the reserve that small commands may
    /// still use when the disk is full, so at least 1.
    pub spare_segments: usize,
    /// Unused segment files kept for reuse, 4; the others are removed. At least `spare_segments`.
    pub free_segments_max: usize,
    /// Room on the disk that the log leaves to others when it takes a further segment, 128 MiB. With less, the disk is
    /// full as far as the log goes.
    pub disk_reserve_bytes: u64,
    /// How long unused segments beyond `spare_segments` are kept once nothing happens, 30 s.
    pub idle_after: Duration,
    /// Most segment files, live and free together; reaching it is the same as a full disk. None: what the disk takes.
    pub segments_max: Option<usize>,
    /// Bytes of recent bodies kept in memory, 32 MiB. What is not yet on disk is kept beyond it.
    pub cache_bytes: usize,
    /// Bytes waiting for the writer before an append blocks its caller, 64 MiB.
    pub queue_bytes: usize,
    /// How often allocating a segment is tried again while the disk is full, 1 s.
    pub full_retry: Duration,
    /// Sees the time of each fdatasync, for a histogram.
    pub on_sync: Option<SyncObserver>,
}

impl LogOptions {
    /// The smallest segment that has room for a record and the bookkeeping around it, in bytes.
    pub const SEGMENT_BYTES_MIN: u32 = 64 << 10;
    /// The largest segment, in bytes: offsets are 32 bits wide.
    pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

    /// The largest body of an entry, in bytes: three quarters of a segment, the rest is left to bookkeeping.
    pub const fn body_bytes_max(&self) -> usize {
        (self.segment_bytes / 4 * 3) as usize
    }

    pub(crate) fn check(&self) -> Result<(), LogError> {
        let sizes = Self::SEGMENT_BYTES_MIN..=Self::SEGMENT_BYTES_MAX;
        if !sizes.contains(&self.segment_bytes) || !self.segment_bytes.is_multiple_of(4096) {
            return Err(LogError::Options(
                "segment_bytes must be a multiple of 4096 from 64 KiB to 1 GiB",
            ));
        }
        if self.spare_segments == 0 || self.free_segments_max < self.spare_segments {
            return Err(LogError::Options(
                "1 <= spare_segments <= free_segments_max must hold",
            ));
        }
        Ok(())
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            spare_segments: 2,
            free_segments_max: 4,
            disk_reserve_bytes: 128 << 20,
            idle_after: Duration::from_secs(30),
            segments_max: None,
            cache_bytes: 32 << 20,
            queue_bytes: 64 << 20,
            full_retry: Duration::from_secs(1),
            on_sync: None,
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("spare_segments", &self.spare_segments)
            .field("free_segments_max", &self.free_segments_max)
            .field("segments_max", &self.segments_max)
            .field("cache_bytes", &self.cache_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}
