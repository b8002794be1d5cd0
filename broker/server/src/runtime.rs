//! The tokio runtimes of this binary, in one place so that the broker and the floor server of `bench` run on the same.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};

/// The runtime of `serve`, and of the floor server that it is measured against: so many workers, or one for each core
/// but one.
///
/// The core that is left is for the writer of the log, the tables' threads, the kernel's share of the network, and whoever
/// else is on the machine. On two cores one worker needs a fifth less processor time for an event than two, between which
/// requests move from core to core, and has shorter tails; `broker/PERFORMANCE.md` has both.
///
/// # Errors
/// When the operating system refuses the threads.
pub(crate) fn server(workers: Option<usize>) -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(workers.unwrap_or((cores - 1).max(1)))
        .thread_name("millrace")
        .enable_all()
        .build()
}

/// The runtime of the load generator, on so many threads.
///
/// # Errors
/// When the operating system refuses the threads.
pub(crate) fn bench(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("bench")
        .enable_all()
        .build()
}

/// The runtime of a client command, which does one thing at a time.
///
/// # Errors
/// When the operating system refuses it.
pub(crate) fn client() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
