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

    /// Reads what the page cache has, and waits for no disk: `WouldBlock`, or fewer bytes, when that is not all.
    pub(crate) fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
        let mut parts = [std::io::IoSliceMut::new(buffer)];
        let read = rustix::io::preadv2(file, &mut parts, at, rustix::io::ReadWriteFlags::NOWAIT);
        Ok(read?)
    }

    /// Whether there is anything at `path`.
    pub fn exists(path: &std::path::Path) -> bool {
        path.exists()
    }
}

#[cfg(not(simulation))]
pub use real::*;

#[cfg(simulation)]
pub use crate::simulation::disk::*;
