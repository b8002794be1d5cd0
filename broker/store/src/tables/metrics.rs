//! What tables count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::tables::state::State;

/// Counters and gauges of all tables of a node; read them with [`TableMetrics::read`].
#[derive(Debug, Default)]
pub struct TableMetrics {
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_nanos: AtomicU64,
    pub(crate) rows_written: AtomicU64,
    pub(crate) rows_elided: AtomicU64,
    pub(crate) overlay_bytes: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) stall_nanos: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_nanos: AtomicU64,
    pub(crate) journals: AtomicU64,
    pub(crate) short: AtomicU64,
}

/// The metrics at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Overlays written to fjall.
    pub flushes: u64,
    /// Time spent in that.
    pub flush_time: Duration,
    /// Rows written to fjall, removals included.
    pub rows_written: u64,
    /// Rows that were inserted and removed in memory and never reached fjall.
    pub rows_elided: u64,
    /// Bytes in memory at the last commit or flush, of all groups.
    pub overlay_bytes: u64,
    /// How often an apply thread waited for the flusher.
    pub stalls: u64,
    /// Time spent in that.
    pub stall_time: Duration,
    /// Syncs of fjall's journal.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_time: Duration,
    /// fjall's journals at the last flush; should stay below 4.
    pub journals: u64,
    /// Whether the disk was too full at the last flush: [`TableStore::is_short`](crate::tables::TableStore::is_short).
    pub short: bool,
}

impl TableMetrics {
    /// Puts the group's bytes in memory into the gauge.
    pub(crate) fn report(&self, state: &mut State) {
        let bytes = state.bytes() as u64;
        // Wrapping, as atomics do: the sum over all groups is what counts.
        let change = bytes.wrapping_sub(state.reported);
        self.overlay_bytes.fetch_add(change, Ordering::Relaxed);
        state.reported = bytes;
    }

    /// Every metric now. Each is exact; together they are not one moment's.
    pub fn read(&self) -> Reading {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Reading {
            flushes: get(&self.flushes),
            flush_time: Duration::from_nanos(get(&self.flush_nanos)),
            rows_written: get(&self.rows_written),
            rows_elided: get(&self.rows_elided),
            overlay_bytes: get(&self.overlay_bytes),
            stalls: get(&self.stalls),
            stall_time: Duration::from_nanos(get(&self.stall_nanos)),
            syncs: get(&self.syncs),
            sync_time: Duration::from_nanos(get(&self.sync_nanos)),
            journals: get(&self.journals),
            short: get(&self.short) != 0,
        }
    }
}

/// Nanoseconds since `start`.
pub(crate) fn nanos_since(start: crate::clock::Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
