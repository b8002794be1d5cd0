//! Sparse segments of the log are emptied in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_model::Fault;
use millrace_store::spill::Spiller;
use tokio::time::Instant;

use crate::simulated;

/// Rest for each second of work, so that a node with many rows spends a tenth of a core at most.
const REST: u32 = 9;

/// Compacts payloads outside the log when they take this much more than one and a half times what lives.
const TIDY_SLACK_BYTES: u64 = 32 << 20;

/// The spiller of a node. Its lock is held for a round, so that whoever has it knows that none is under way.
pub(crate) type Shared = Arc<Mutex<Spiller>>;

/// Runs rounds until the tables are closed. A round that fails has changed nothing; what it met is told, and met again
/// by whoever reads the same, so the node is not stopped for it.
pub(crate) async fn run(spiller: Shared, pause: Duration) {
    let mut rest = pause;
    loop {
        tokio::time::sleep(rest).await;
        let (began, spiller) = (Instant::now(), Arc::clone(&spiller));
        match simulated::blocking(move || round(&spiller)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                tracing::warn!(%fault, "payloads could not be moved out of the log; trying again");
            }
            Err(panic) => {
                tracing::error!(%panic, "payloads are no longer moved out of the log");
                return;
            }
        }
        rest = pause.max(began.elapsed() * REST);
    }
}

fn round(spiller: &Shared) -> Result<(), Fault> {
    let mut spiller = lock(spiller);
    spiller.round()?;
    spiller.tidy(TIDY_SLACK_BYTES)
}

/// Waits for the end of a round. With the tables closed there will be no further one.
pub(crate) async fn settled(spiller: &Shared) {
    let spiller = Arc::clone(spiller);
    let waited = simulated::blocking(move || drop(lock(&spiller))).await;
    if let Err(panic) = waited {
        tracing::warn!(%panic, "the end of a move out of the log was not waited for");
    }
}

fn lock(spiller: &Shared) -> MutexGuard<'_, Spiller> {
    // A round that panicked has changed nothing that the next one relies on.
    spiller.lock().unwrap_or_else(PoisonError::into_inner)
}
