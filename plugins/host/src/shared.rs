//! [`Shared`]: the parts of the host that bindings hold on to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::compiled::{self, Compiled};
use crate::compiler::{CompileError, Compiler};
use crate::components::Components;
use crate::failure::CallError;
use crate::idle::Idle;
use crate::instance::Instance;
use crate::sandbox::Sandbox;
use crate::stats::Registry;

/// Sandbox, compiler, idle instances and counters.
pub(crate) struct Shared {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) idle: Idle,
    pub(crate) registry: Registry,
    compiler: Compiler,
    components: Arc<dyn Components>,
    bindings: AtomicU64,
}

impl Shared {
    pub(crate) fn new(sandbox: Sandbox, components: Arc<dyn Components>) -> Self {
        Self {
            idle: Idle::new(sandbox.limits.idle_instances_max),
            compiler: Compiler::new(sandbox.limits.compile_waiting_max),
            sandbox: Arc::new(sandbox),
            registry: Registry::default(),
            components,
            bindings: AtomicU64::new(0),
        }
    }

    /// A number for a new binding.
    pub(crate) fn number(&self) -> u64 {
        self.bindings.fetch_add(1, Ordering::Relaxed)
    }

    /// Compiles an uploaded component, or finds it compiled.
    ///
    /// # Errors
    /// [`CompileError`] when it is no plugin, or the compiler is busy.
    pub(crate) async fn compile(
        &self,
        digest: &str,
        bytes: Bytes,
    ) -> Result<Arc<Compiled>, CompileError> {
        self.compiler
            .get(&self.sandbox, digest, async { Ok(bytes) })
            .await
    }

    /// The compiled component of a stored version.
    ///
    /// # Errors
    /// [`CompileError`] when it cannot be had or compiled.
    pub(crate) async fn load(&self, digest: &str) -> Result<Arc<Compiled>, CompileError> {
        let fetch = async {
            let bytes = self.components.component(digest).await?;
            if compiled::digest(&bytes) == digest {
                Ok(bytes)
            } else {
                Err(format!("the stored bytes are not {digest}"))
            }
        };
        self.compiler.get(&self.sandbox, digest, fetch).await
    }

    /// A fresh instance; idle ones make room when the pool is used up.
    ///
    /// # Errors
    /// [`CallError`] when it fails in its start, or every instance is at work.
    pub(crate) async fn instance(
        &self,
        compiled: &Compiled,
        label: &Arc<str>,
    ) -> Result<Instance, CallError> {
        loop {
            match Instance::start(&self.sandbox, compiled, Arc::clone(label)).await {
                Err(CallError::Busy) if self.idle.make_room() => {}
                started => return started,
            }
        }
    }
}
