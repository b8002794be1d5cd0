//! [`Sandbox`]: what all plugins of a node share.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Engine, Store};

use crate::clock::Clock;
use crate::engine;
use crate::guest::Guest;
use crate::limits::Limits;
use crate::slow_lane::SlowLane;

/// The engine, its clock and its limits.
pub(crate) struct Sandbox {
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Clock,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    lane: SlowLane,
}

impl Sandbox {
    /// A sandbox with these limits.
    pub(crate) fn new(limits: Limits) -> wasmtime::Result<Self> {
        let engine = engine::engine(&limits)?;
        Ok(Self {
            linker: engine::linker(&engine)?,
            clock: Clock::start(engine.clone())?,
            lane: SlowLane::new(),
            limits: Arc::new(limits),
            engine,
        })
    }

    /// An empty store under all limits. `label` names the plugin in the log.
    pub(crate) fn store(&self, label: Arc<str>) -> Store<Guest> {
        let guest = Guest::new(Arc::clone(&self.limits), self.lane.clone(), label);
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest);
        store.set_hostcall_fuel(self.limits.output_bytes_max);
        store.epoch_deadline_callback(Guest::slice_over);
        store
    }
}
