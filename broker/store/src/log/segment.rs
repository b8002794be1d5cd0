//! A segment file: a header that names its life, then records.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};

use crate::disk::{self, File, OpenOptions};
#[cfg(not(simulation))]
use crate::disk::{FileExt as _, OpenOptionsExt as _};
use crate::fault::IoFault;
use crate::log::format;
use crate::log::record::{Salt, u32_at, u64_at};
use crate::log::{LogError, SegmentId};

/// Where the first record of a segment begins.
pub(crate) const FIRST_RECORD: u32 = 64;

/// Its last byte is the format of the file, of all kinds of records in it and of their bodies but entries.
const MAGIC: &[u8; 8] = b"millrlg1";
const SUMMED_BYTES: usize = 36;
/// Bytes written at once when a file is filled with zeros.
const ZERO_BYTES: usize = 1 << 20;
/// Bytes after which a file being filled is synced: a sync of it all would hold up the writer's syncs behind it.
const PACE_BYTES: usize = 4 << 20;
/// What buffers and offsets of direct writes are multiples of: no less than the blocks of common disks and file systems,
/// and the pages that Linux caches files in.
pub(crate) const PAGE_BYTES: usize = 4096;
/// IoSlices that Linux takes in one call.
const SLICES_MAX: usize = 1024;

/// One life of a segment file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) id: SegmentId,
    /// The log that it belongs to.
    pub(crate) log: u64,
    pub(crate) salt: Salt,
    /// Bytes that may be used, header included.
    pub(crate) size: u32,
    pub(crate) path: PathBuf,
    file: File,
}

impl SegmentFile {
    /// Begins a new life of the zeroed or recycled file at `free`, under the name of `id`. The caller writes the header
    /// ([`SegmentFile::header`]) and syncs file and folder.
    pub(crate) fn begin(
        free: &Path,
        id: SegmentId,
        log: u64,
        size: u32,
    ) -> Result<(Self, [u8; 64]), IoFault> {
        let dir = free
            .parent()
            .expect("a free segment lies in the log's folder");
        let path = dir.join(live_name(id));
        disk::rename(free, &path).map_err(IoFault::at("take into use", free))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(IoFault::at("open", &path))?;
        let nonce = random();
        let segment = Self {
            id,
            log,
            salt: Salt::new(id.0, nonce),
            size,
            path,
            file,
        };
        let header = segment.header(nonce);
        Ok((segment, header))
    }

    /// Opens a segment; `None` when its header was never completed.
    ///
    /// # Errors
    /// The disk refused, or a newer broker wrote it.
    pub(crate) fn open(path: &Path, id: SegmentId) -> Result<Option<Self>, LogError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(IoFault::at("open", path))?;
        let mut header = [0; FIRST_RECORD as usize];
        match file.read_exact_at(&mut header, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(IoFault::at("read", path))?,
        }
        refuse_newer(path, &header)?;
        if header[..8] != *MAGIC
            || crc32c::crc32c(&header[..SUMMED_BYTES]) != u32_at(&header, SUMMED_BYTES)
            || u64_at(&header, 8) != id.0
        {
            return Ok(None);
        }
        let (log, nonce, size) = (
            u64_at(&header, 16),
            u64_at(&header, 24),
            u32_at(&header, 32),
        );
        Ok(Some(Self {
            id,
            log,
            salt: Salt::new(id.0, nonce),
            size,
            path: path.to_path_buf(),
            file,
        }))
    }

    fn header(&self, nonce: u64) -> [u8; 64] {
        let mut header = [0; 64];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&self.id.0.to_le_bytes());
        header[16..24].copy_from_slice(&self.log.to_le_bytes());
        header[24..32].copy_from_slice(&nonce.to_le_bytes());
        header[32..36].copy_from_slice(&self.size.to_le_bytes());
        let sum = crc32c::crc32c(&header[..SUMMED_BYTES]);
        header[SUMMED_BYTES..SUMMED_BYTES + 4].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// Fills `buffer` from `offset`, if all of it is in the page cache.
    ///
    /// # Errors
    /// It is not, or the file system cannot tell.
    pub(crate) fn read_cached(&self, buffer: &mut [u8], offset: u32) -> Result<(), IoFault> {
        let read = disk::read_cached(&self.file, buffer, offset.into());
        let whole = read.and_then(|count| {
            let is_whole = count == buffer.len();
            is_whole
                .then_some(())
                .ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        whole.map_err(|error| IoFault::at("read", &self.path)(error))
    }

    /// Fills `buffer` from `offset`; what lies beyond the end of the file reads as zeros.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u32) -> Result<(), IoFault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], u64::from(offset) + filled as u64)
            {
                Ok(0) => {
                    buffer[filled..].fill(0);
                    break;
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(IoFault::at("read", &self.path)(e)),
            }
        }
        Ok(())
    }

    /// Writes all of `slices` at `offset`, in as few calls as the system takes.
    pub(crate) fn write_at(
        &self,
        mut slices: &mut [IoSlice<'_>],
        offset: u32,
    ) -> Result<(), IoFault> {
        let mut offset = u64::from(offset);
        // Slices in front that are empty would make a complete write look like "nothing written".
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let some = &slices[..slices.len().min(SLICES_MAX)];
            match disk::pwritev(&self.file, some, offset) {
                Ok(0) => {
                    return Err(IoFault::at("write", &self.path)(io::Error::from(
                        io::ErrorKind::WriteZero,
                    )));
                }
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut slices, n);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(IoFault::at("write", &self.path)(e)),
            }
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn write_bytes_at(&self, bytes: &[u8], offset: u32) -> Result<(), IoFault> {
        self.write_at(&mut [IoSlice::new(bytes)], offset)
    }

    /// fdatasync.
    pub(crate) fn sync(&self) -> Result<(), IoFault> {
        self.file
            .sync_data()
            .map_err(IoFault::at("sync", &self.path))
    }
}

/// Makes a file of `size` zeros at `path`, written out block by block: overwriting them later needs no metadata in the
/// fdatasync, which a file that was merely allocated or extended would. When `hurry` says so, the rest is left
/// allocated: slower syncs for once are better than a writer that waits.
pub(crate) fn make_zeroed(path: &Path, size: u32, hurry: impl Fn() -> bool) -> Result<(), IoFault> {
    let made = fill_zeroed(path, size, hurry);
    if made.is_err() {
        // What was allocated so far may be what others need; when even this fails, the next open removes it.
        let _ = disk::remove_file(path);
    }
    made
}

fn fill_zeroed(path: &Path, size: u32, hurry: impl Fn() -> bool) -> Result<(), IoFault> {
    let file = File::create(path).map_err(IoFault::at("create", path))?;
    // Learns of a full disk before anything is written; where it is not possible, writing will tell.
    let allocated = match disk::fallocate(&file, FallocateFlags::empty(), 0, u64::from(size)) {
        Ok(()) => true,
        Err(rustix::io::Errno::OPNOTSUPP) => false,
        Err(e) => return Err(IoFault::at("allocate", path)(e)),
    };
    let mut zeros = Zeros::new(&file, path);
    let mut at = 0;
    while at < size as usize && !(allocated && hurry()) {
        let len = ZERO_BYTES.min(size as usize - at);
        zeros
            .write(len, at as u64)
            .map_err(IoFault::at("fill", path))?;
        at += len;
        if at.is_multiple_of(PACE_BYTES) {
            file.sync_data().map_err(IoFault::at("sync", path))?;
        }
    }
    file.sync_all().map_err(IoFault::at("sync", path))
}

/// Writes zeros past the page cache where the file system lets it: they are never read from there, and to copy them into
/// it was a quarter of all the processor time of a broker that is filled with large batches.
struct Zeros<'a> {
    file: &'a File,
    direct: Option<File>,
    /// Somewhere in it begins a run of [`ZERO_BYTES`] that is aligned.
    block: Vec<u8>,
}

impl<'a> Zeros<'a> {
    fn new(file: &'a File, path: &Path) -> Self {
        let mut options = OpenOptions::new();
        options.write(true);
        options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        Self {
            file,
            direct: options.open(path).ok(),
            block: vec![0; ZERO_BYTES + PAGE_BYTES],
        }
    }

    fn write(&mut self, len: usize, at: u64) -> io::Result<()> {
        let from = self.block.as_ptr().align_offset(PAGE_BYTES);
        let zeros = &self.block[from..from + len];
        if let Some(direct) = &self.direct {
            match direct.write_all_at(zeros, at) {
                // The file system has another idea of alignment, or none of direct writes.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                written => return written,
            }
        }
        self.file.write_all_at(zeros, at)
    }
}

/// Makes renames and new files in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), IoFault> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(IoFault::at("sync", dir))
}

/// A sound header of a later format is no damage.
fn refuse_newer(path: &Path, header: &[u8; FIRST_RECORD as usize]) -> Result<(), LogError> {
    if crc32c::crc32c(&header[..SUMMED_BYTES]) != u32_at(header, SUMMED_BYTES) {
        return Ok(());
    }
    format::refuse_newer(path, header, MAGIC)
}

/// The file name of a live segment.
pub(crate) fn live_name(id: SegmentId) -> String {
    format!("{:016x}.seg", id.0)
}

/// The segment that a file name stands for.
pub(crate) fn parse_live_name(name: &str) -> Option<SegmentId> {
    let digits = name.strip_suffix(".seg")?;
    u64::from_str_radix(digits, 16)
        .ok()
        .map(SegmentId)
        .filter(|id| live_name(*id) == name)
}

/// A number that nobody can foresee: clients choose bodies, and must not be able to write a body that looks like a record.
#[cfg(not(simulation))]
pub(crate) fn random() -> u64 {
    // The standard library seeds it from the system; the only door to randomness that costs no dependency.
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(simulation)]
pub(crate) use crate::simulation::random;
