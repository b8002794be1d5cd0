//! The file operations of log and identity: the standard library's, or under `cfg(simulation)` those of a disk in memory.
//!
//! A switch at compile time and not a trait: the real broker calls what it always called, and nothing is to be carried
//! through its types.

#[cfg(not(simulation))]
mod real {
    pub(crate) use rustix::fs::{fallocate, flock, statvfs};
    pub(crate) use rustix::io::pwritev;
    pub use std::fs::{
        File, OpenOptions, create_dir_all, metadata, read_dir, read_to_string, remove_file, rename,
    };
    pub(crate) use std::os::unix::fs::{FileExt, OpenOptionsExt};

    /// Whether there is anything at `path`.
    pub fn exists(path: &std::path::Path) -> bool {
        path.exists()
    }
}

#[cfg(not(simulation))]
pub use real::*;

#[cfg(simulation)]
pub use crate::simulation::disk::*;
