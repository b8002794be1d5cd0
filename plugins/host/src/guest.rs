//! [`Guest`]: what the host keeps beside one instance: its limits, its time, its log.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::WasmStr;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use crate::clock::TICK;
use crate::contract::Level;
use crate::limits::Limits;
use crate::slow_lane::{Place, SlowLane};

/// The data of a store.
pub(crate) struct Guest {
    limits: Arc<Limits>,
    lane: SlowLane,
    place: Place,
    /// Who runs, for the log.
    label: Arc<str>,
    slices: u32,
    slices_max: u32,
    memory_bytes: usize,
    memory_refused: bool,
    lines_left: u32,
    lines_lost: u32,
}

/// The call ran longer than it may.
#[derive(Debug)]
pub(crate) struct TimedOut;

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the plugin ran longer than it may")
    }
}

impl std::error::Error for TimedOut {}

impl Guest {
    /// A guest that may do nothing yet: [`Guest::begin`] comes first.
    pub(crate) fn new(limits: Arc<Limits>, lane: SlowLane, label: Arc<str>) -> Self {
        Self {
            limits,
            lane,
            place: Place::default(),
            label,
            slices: 0,
            slices_max: 0,
            memory_bytes: 0,
            memory_refused: false,
            lines_left: 0,
            lines_lost: 0,
        }
    }

    /// Before a call: `time` of running, and a fresh allowance of log lines.
    pub(crate) fn begin(&mut self, time: Duration) {
        self.slices = 0;
        self.slices_max =
            u32::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX);
        self.lines_left = self.limits.log_lines_max;
        self.lines_lost = 0;
    }

    /// After a call.
    pub(crate) fn end(&mut self) {
        self.place.leave();
        if self.lines_lost > 0 {
            tracing::warn!(
                plugin = &*self.label,
                lost = self.lines_lost,
                "plugin wrote too many lines of log"
            );
        }
    }

    /// How long the last call ran, in whole ticks.
    pub(crate) fn ran(&self) -> Duration {
        TICK * self.slices
    }

    /// Bytes of linear memory that the instance has.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Whether the guest asked for more memory than it may have.
    pub(crate) fn memory_refused(&self) -> bool {
        self.memory_refused
    }

    /// A slice is over: yield, or end the call.
    ///
    /// Slices are counted, not time: a call that waited while the machine did something else has not used its time.
    pub(crate) fn slice_over(
        mut store: StoreContextMut<'_, Self>,
    ) -> wasmtime::Result<UpdateDeadline> {
        let guest = store.data_mut();
        guest.place.leave();
        guest.slices += 1;
        if guest.slices > guest.slices_max {
            return Err(wasmtime::Error::new(TimedOut));
        }
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(guest.lane.clone().take(guest.place.clone())),
        ))
    }

    /// The host side of `log.write`.
    pub(crate) fn log(
        mut store: StoreContextMut<'_, Self>,
        (level, message): (Level, WasmStr),
    ) -> wasmtime::Result<()> {
        let guest = store.data_mut();
        if guest.lines_left == 0 {
            guest.lines_lost = guest.lines_lost.saturating_add(1);
            return Ok(());
        }
        guest.lines_left -= 1;
        let (label, bytes_max) = (Arc::clone(&guest.label), guest.limits.log_line_bytes_max);
        let message = message.to_str(&store)?;
        write_line(&label, level, cut(&message, bytes_max));
        Ok(())
    }
}

fn write_line(plugin: &str, level: Level, message: &str) {
    match level {
        Level::Trace => tracing::trace!(plugin, "{message}"),
        Level::Debug => tracing::debug!(plugin, "{message}"),
        Level::Info => tracing::info!(plugin, "{message}"),
        Level::Warn => tracing::warn!(plugin, "{message}"),
        Level::Error => tracing::error!(plugin, "{message}"),
    }
}

/// The first `bytes_max` bytes of `text`, or a few less where a character would be split.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // wasmtime asks per memory; the limit is on the sum.
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.limits.table_elements_max)
    }

    fn instances(&self) -> usize {
        self.limits.core_instances_max
    }

    fn tables(&self) -> usize {
        self.limits.tables_max
    }

    fn memories(&self) -> usize {
        self.limits.memories_max
    }
}
