//! The threads of a log: the one that writes and the one that makes spare segments.

use std::sync::{Arc, Condvar};
use std::thread::JoinHandle;

use crate::fault::IoFault;
use crate::log::shared::Shared;
use crate::log::writer::{Start, Writer};
use crate::log::{LogError, spares};

/// What threads wait on.
pub(crate) type Signal = Condvar;

/// What makes signals; a simulated log has more to it.
pub(crate) struct Engine;

impl Engine {
    pub(crate) fn new() -> Self {
        Self
    }

    #[allow(clippy::unused_self, reason = "a simulated one is told")]
    pub(crate) fn signal(&self) -> Signal {
        Condvar::new()
    }
}

/// The threads of a log.
pub(crate) struct Threads {
    writer: JoinHandle<Result<(), Arc<LogError>>>,
    maker: JoinHandle<()>,
}

impl Threads {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        start: Start,
        spare_number: u64,
    ) -> Result<Self, LogError> {
        let writer = Writer::new(Arc::clone(shared), start);
        let maker = Arc::clone(shared);
        let guard = FailOnPanic(Arc::clone(shared));
        let writer = spawn("log-writer", shared, move || {
            let _guard = guard;
            go_first();
            writer.run()
        })?;
        let maker = spawn("log-spares", shared, move || {
            spares::run(&maker, spare_number);
        })?;
        Ok(Self { writer, maker })
    }

    /// Waits for both, which were told to end; how the writer ended.
    pub(crate) fn join(self, _: &Shared) -> Result<(), Arc<LogError>> {
        let written = self.writer.join();
        // It has nothing to tell, and a panic in it was printed.
        let _ = self.maker.join();
        written.unwrap_or_else(|_| Err(Arc::new(LogError::WriterPanicked)))
    }
}

/// Tells everybody who waits for the writer when a bug ends it.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(&Arc::new(LogError::WriterPanicked));
        }
    }
}

/// Asks that this thread runs as soon as it can. All requests wait for the writer, which hardly computes: when others keep
/// the cores busy, Linux lets it wait for up to 4 ms after each sync. Worth 10 % of throughput and 15 % of p99 on a full
/// machine; refused without `CAP_SYS_NICE`, and then things stay as they are.
fn go_first() {
    /// Niceness is -20 to 19.
    const BEFORE_OTHERS: i32 = -15;
    if let Err(error) = rustix::process::nice(BEFORE_OTHERS) {
        tracing::debug!(%error, "the log writer runs at the priority of all threads");
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    shared: &Shared,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, LogError> {
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body);
    Ok(spawned.map_err(IoFault::at("start a thread for", &shared.dir))?)
}
