//! [`Compiler`]: compiles components off the async threads, one at a time, each once.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use crate::compiled::Compiled;
use crate::sandbox::Sandbox;

/// Why there is no compiled component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CompileError {
    /// It is no plugin; the sentence says why.
    Invalid(String),
    /// Too many wait already.
    Overloaded,
    /// Its bytes cannot be had.
    Unavailable(String),
}

type Slot = Arc<OnceCell<Arc<Compiled>>>;

/// The queue before the compiler, and a bounded cache behind it.
pub(crate) struct Compiler {
    /// One at a time: compiling a large component takes a core for seconds, and the events need the others.
    turn: Arc<Semaphore>,
    /// Places in the queue, the one that compiles included.
    room: Semaphore,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    slots: HashMap<String, (Slot, u64)>,
    uses: u64,
}

impl Compiler {
    /// A compiler with room for `waiting_max` components behind the one at work.
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            room: Semaphore::new(waiting_max + 1),
            cache: Mutex::new(Cache::default()),
        }
    }

    /// The component with this digest: from the cache, or fetched and compiled. Whoever asks for the same one waits for it.
    ///
    /// # Errors
    /// [`CompileError`]; the next caller tries again.
    pub(crate) async fn get<F>(
        &self,
        sandbox: &Arc<Sandbox>,
        digest: &str,
        fetch: F,
    ) -> Result<Arc<Compiled>, CompileError>
    where
        F: Future<Output = Result<Bytes, String>>,
    {
        let slot = self.slot(digest, sandbox.limits.compiled_max);
        let compiled = slot.get_or_try_init(async || {
            let bytes = fetch.await.map_err(CompileError::Unavailable)?;
            self.compile(Arc::clone(sandbox), bytes).await
        });
        compiled.await.cloned()
    }

    async fn compile(
        &self,
        sandbox: Arc<Sandbox>,
        bytes: Bytes,
    ) -> Result<Arc<Compiled>, CompileError> {
        let _room = self
            .room
            .try_acquire()
            .map_err(|_| CompileError::Overloaded)?;
        let turn = Arc::clone(&self.turn)
            .acquire_owned()
            .await
            .map_err(|_| CompileError::Overloaded)?;
        let time_max = sandbox.limits.compile_time_max;
        let work = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, not with the waiting for it: giving up leaves the core busy.
            let _turn = turn;
            Compiled::new(&sandbox.engine, &sandbox.linker, &bytes)
        });
        match tokio::time::timeout(time_max, work).await {
            Ok(Ok(compiled)) => compiled.map(Arc::new).map_err(CompileError::Invalid),
            Ok(Err(_)) => Err(CompileError::Invalid("the compiler failed on it".into())),
            Err(_) => Err(CompileError::Invalid(format!(
                "it takes longer than {} s to compile",
                time_max.as_secs()
            ))),
        }
    }

    fn slot(&self, digest: &str, slots_max: usize) -> Slot {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let uses = cache.uses;
        let entry = cache.slots.entry(digest.to_owned()).or_default();
        entry.1 = uses;
        let slot = Arc::clone(&entry.0);
        cache.evict(slots_max);
        slot
    }
}

impl Cache {
    /// Drops the slot that was asked for longest ago. Bindings at work keep what they have.
    fn evict(&mut self, slots_max: usize) {
        if self.slots.len() <= slots_max {
            return;
        }
        let oldest = self
            .slots
            .iter()
            .min_by_key(|(_, (_, used))| *used)
            .map(|(digest, _)| digest.clone());
        if let Some(digest) = oldest {
            self.slots.remove(&digest);
        }
    }
}
