//! Room on the disk, kept for the day when it is full.

use std::path::{Path, PathBuf};

use millrace_model::Fault;
use rustix::fs::FallocateFlags;

use crate::disk::{File, OpenOptions, fallocate, statvfs};

/// What a flush leaves free beyond twice its rows (once in fjall's journal, once in a sorted file): fjall's own threads
/// rewrite files behind our back, and one failed write of theirs stops the node.
const SPARE_BYTES: u64 = 24 << 20;

/// By how much the reserve shrinks at least.
const STEP_BYTES: u64 = 1 << 20;

/// A file that takes up room next to the tables. fjall never recovers from a full disk, so nothing is handed to it
/// without room for it; when others have filled the disk, the reserve shrinks by what a flush needs. Receives and acks
/// go on that way. It never shrinks by more, lest the log takes what is given up for a segment of payloads.
pub(crate) struct Room {
    dir: PathBuf,
    reserve: File,
    bytes: u64,
    bytes_max: u64,
}

impl Room {
    /// Beside the tables in `dir`. A disk without room for `bytes_max` is no error: the reserve fills up later.
    pub(crate) fn open(dir: &Path, bytes_max: u64) -> Result<Self, Fault> {
        let path = dir.with_extension("reserve");
        let failed = |error| Fault::new("open the reserve of tables", error);
        let reserve = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let bytes = reserve.metadata().map_err(failed)?.len().min(bytes_max);
        reserve.set_len(bytes).map_err(failed)?;
        let dir = dir.to_path_buf();
        let mut room = Self {
            dir,
            reserve,
            bytes,
            bytes_max,
        };
        room.refill()?;
        Ok(room)
    }

    /// Whether rows of `bytes` can be written, if need be with room from the reserve.
    pub(crate) fn make(&mut self, bytes: usize) -> Result<bool, Fault> {
        self.refill()?;
        let needed = SPARE_BYTES + 2 * bytes as u64;
        let lacking = needed.saturating_sub(self.free()?);
        if lacking == 0 || self.bytes == 0 {
            return Ok(lacking == 0);
        }
        // File systems give back whole blocks.
        self.bytes = self
            .bytes
            .saturating_sub(lacking.next_multiple_of(STEP_BYTES));
        tracing::warn!(
            left = self.bytes,
            "the disk is full: tables use their reserve"
        );
        let failed = |error| Fault::new("use the reserve of tables", error);
        self.reserve.set_len(self.bytes).map_err(failed)?;
        Ok(self.free()? >= needed)
    }

    /// Whether the reserve has been used and could not be filled up again.
    pub(crate) fn is_short(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Fills the reserve up, when that leaves room enough for a flush.
    fn refill(&mut self) -> Result<(), Fault> {
        let lacking = self.bytes_max - self.bytes;
        if lacking == 0 || self.free()? < lacking + 3 * SPARE_BYTES {
            return Ok(());
        }
        let all = fallocate(&self.reserve, FallocateFlags::empty(), 0, self.bytes_max);
        // Somebody was faster, or the file system cannot do it: then there is no reserve, and flushes wait for room.
        let filled = all.is_ok();
        self.bytes = if filled { self.bytes_max } else { self.bytes };
        if !filled {
            let failed = |error| Fault::new("keep the reserve of tables", error);
            self.reserve.set_len(self.bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn free(&self) -> Result<u64, Fault> {
        free(&self.dir)
    }
}

/// Whether fjall may be given `bytes` beside what the flusher writes.
pub(crate) fn is_there(dir: &Path, bytes: usize) -> Result<bool, Fault> {
    Ok(free(dir)? >= SPARE_BYTES + 2 * bytes as u64)
}

fn free(dir: &Path) -> Result<u64, Fault> {
    let stat = statvfs(dir).map_err(|error| Fault::new("ask for room for tables", error))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
