//! The `millrace` binary: the broker (`serve`), the command line that speaks HTTP to one, and the load generator (`bench`).
//!
//! It holds no broker logic: rules, disk, agreement and HTTP live in their own rooms, and the client commands know the
//! broker by its public contract alone.

mod bench;
mod check;
mod cli;
mod client;
mod config;
mod failure;
mod runtime;
mod serve;

use std::process::ExitCode;

use clap::Parser;

/// mimalloc instead of the system's allocator: the broker allocates and frees many small buffers on different threads,
/// where glibc's arenas contend and fragment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
