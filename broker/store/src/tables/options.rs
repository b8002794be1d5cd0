//! What can be set about tables.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::Fault;

use crate::refs::Segments;

/// What can be set about tables. [`TableOptions::new`] is for production; tests make everything small.
#[derive(Clone)]
pub struct TableOptions {
    /// The log of the node.
    pub segments: Arc<dyn Segments>,
    /// Bytes in memory of one group after which they are written to fjall, 8 MiB. With the rows in
    /// flight, their copy in fjall's batch and its memtables it makes up nearly all memory of tables: about 110 MiB at
    /// the peak of a burst of new rows; twice as much here is twice as much there.
    pub flush_bytes: usize,
    /// Bytes in memory of one group after which its apply thread waits for the flusher, 16 MiB. At least `flush_bytes`.
    pub flush_bytes_max: usize,
    /// Age after which rows in memory are written to fjall, 1 s.
    pub flush_age: Duration,
    /// Bytes of log applied since the last sync after which there is another one, 64 MiB.
    pub sync_log_bytes: u64,
    /// Age after which rows that are in fjall are synced, 10 s.
    pub sync_age: Duration,
    /// Shortest time from one sync to the next, unless a flush asks for it, 2 s.
    pub sync_pause: Duration,
    /// fjall's block cache, 16 MiB.
    pub cache_bytes: u64,
    /// fjall's memtable of one group, 16 MiB.
    pub memtable_bytes: u64,
    /// Room on the disk that is kept for tables alone, so that receives and acks go on when it is full, 96 MiB.
    pub reserve_bytes: u64,
}

impl TableOptions {
    /// The defaults, beside the log `segments`.
    pub fn new(segments: Arc<dyn Segments>) -> Self {
        Self {
            segments,
            flush_bytes: 8 << 20,
            flush_bytes_max: 16 << 20,
            flush_age: Duration::from_secs(1),
            sync_log_bytes: 64 << 20,
            sync_age: Duration::from_secs(10),
            sync_pause: Duration::from_secs(2),
            cache_bytes: 16 << 20,
            memtable_bytes: 16 << 20,
            reserve_bytes: 96 << 20,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.flush_bytes <= self.flush_bytes_max {
            return Ok(());
        }
        let reason = "flush_bytes <= flush_bytes_max must hold";
        Err(Fault::new("open tables", reason))
    }
}

impl fmt::Debug for TableOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableOptions")
            .field("flush_bytes", &self.flush_bytes)
            .field("flush_bytes_max", &self.flush_bytes_max)
            .field("flush_age", &self.flush_age)
            .field("sync_log_bytes", &self.sync_log_bytes)
            .field("sync_age", &self.sync_age)
            .field("sync_pause", &self.sync_pause)
            .field("cache_bytes", &self.cache_bytes)
            .field("memtable_bytes", &self.memtable_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .finish_non_exhaustive()
    }
}
