//! The tokio runtimes of this binary, in one place so that the broker and the floor server of `bench` run on the same.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};

/// Worker threads of the load generator. Two keep a two-core machine busy, and a fixed number keeps figures comparable
/// across machines.
const BENCH_WORKERS: usize = 2;

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

/// The runtime of the load generator.
///
/// # Errors
/// When the operating system refuses the threads.
pub(crate) fn bench() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(BENCH_WORKERS)
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
