//! The tokio runtimes of this binary, in one place so that the broker and the floor server of `bench` run on the same.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Worker threads of the load generator. Two keep a two-core machine busy, and a fixed number keeps figures comparable
/// across machines.
const BENCH_WORKERS: usize = 2;

/// The runtime of `serve`, and of the floor server that it is measured against: one worker for each core.
///
/// # Errors
/// When the operating system refuses the threads.
pub(crate) fn server() -> io::Result<Runtime> {
    Builder::new_multi_thread()
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
