//! What a simulated node must not ask the system for: sockets, the time of day, randomness, and threads that may block.
//!
//! In a real broker all of it is what it always was. Under `cfg(simulation)` it comes from turmoil and from the seed of the
//! simulation: see `millrace_store::simulation`.

#[cfg(not(simulation))]
mod real {
    use std::time::SystemTime;

    use millrace_store::log::GroupLog;
    use tokio::runtime::{Handle, RuntimeFlavor};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use uuid::Uuid;

    pub(crate) use openraft_rt_tokio::TokioRuntime as Runtime;
    pub(crate) use tokio::net;

    /// Milliseconds since 1970.
    pub(crate) fn time_of_day_ms() -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }

    /// One that never was.
    pub(crate) fn uuid() -> Uuid {
        Uuid::new_v4()
    }

    /// Runs `work` on a thread that may wait for the disk.
    pub(crate) fn blocking<R: Send + 'static>(
        work: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        tokio::task::spawn_blocking(work)
    }

    /// Does `work`, which waits for the disk, where it is; what else this thread would run goes to another one.
    pub(crate) fn waiting<R>(work: impl FnOnce() -> R) -> R {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            _ => work(),
        }
    }

    /// Nothing: who applies waits for the disk where it is.
    pub(crate) async fn durable(_: &GroupLog, _: Option<u64>) {}

    /// Gives the items one by one to whoever takes them, on a thread that may wait for the disk.
    pub(crate) fn feed<T: Send + 'static>(
        items: impl Iterator<Item = T> + Send + 'static,
        give: mpsc::Sender<T>,
    ) {
        tokio::task::spawn_blocking(move || {
            for item in items {
                if give.blocking_send(item).is_err() {
                    return;
                }
            }
        });
    }
}

#[cfg(not(simulation))]
pub(crate) use real::*;

#[cfg(simulation)]
#[path = "simulated/turmoil.rs"]
mod turmoil;

#[cfg(simulation)]
pub(crate) use turmoil::*;
