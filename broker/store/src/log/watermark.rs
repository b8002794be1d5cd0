//! The watermark file: how far the log was once known to reach, kept apart from it.
//!
//! Two slots of 16 KiB, written in turn and synced: one of them is always whole.

use std::io;
use std::path::{Path, PathBuf};

use millrace_model::GroupId;

#[cfg(not(simulation))]
use crate::disk::FileExt as _;
use crate::disk::{self, File, OpenOptions};
use crate::fault::{Damage, IoFault};
use crate::log::format;
use crate::log::record::{u32_at, u64_at};
use crate::log::{LogError, LogId, SegmentId};

/// Its last byte is the format of the file.
const MAGIC: &[u8; 8] = b"millrwm1";
const SLOT_BYTES: usize = 16 << 10;
const HEAD_BYTES: usize = 44;
const GROUP_BYTES: usize = 20;
/// Groups beyond this many are not named; the position covers them all the same.
const GROUPS_MAX: usize = (SLOT_BYTES - HEAD_BYTES - 4) / GROUP_BYTES;

/// What the watermark says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The log's own random number, which its segments bear too.
    pub(crate) log: u64,
    /// The segment written when the mark was set; 0 before there was one.
    pub(crate) segment: SegmentId,
    /// Up to where that segment was on disk.
    pub(crate) offset: u32,
    /// The last entry of each group then, to name what is missing. A later truncation may have taken it back.
    pub(crate) groups: Vec<(GroupId, Option<LogId>)>,
}

/// The open watermark file.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
    path: PathBuf,
    writes: u64,
}

impl Watermark {
    /// Opens the watermark of a log; `None` when there is none.
    ///
    /// # Errors
    /// `Damage` when neither slot can be read, `Newer` when that is because a newer broker wrote them.
    pub(crate) fn open(dir: &Path) -> Result<Option<(Self, Mark)>, LogError> {
        let path = dir.join("watermark");
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(IoFault::at("open", &path)(e).into()),
        };
        let mut best: Option<(u64, Mark)> = None;
        let mut newer = Ok(());
        for slot in 0..2 {
            let mut bytes = vec![0; SLOT_BYTES];
            match file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => continue,
                other => other.map_err(IoFault::at("read", &path))?,
            }
            if let Some((writes, mark)) = decode(&bytes)
                && best.as_ref().is_none_or(|(newest, _)| writes > *newest)
            {
                best = Some((writes, mark));
            }
            newer = newer.and(format::refuse_newer(&path, &bytes, MAGIC));
        }
        if best.is_none() {
            newer?;
        }
        let (writes, mark) =
            best.ok_or_else(|| Damage::new(&path, 0, "neither copy of the watermark can be read"))?;
        Ok(Some((Self { file, path, writes }, mark)))
    }

    /// Makes the watermark of a new log. The name is durable only after the folder was synced.
    pub(crate) fn create(dir: &Path, mark: &Mark) -> Result<Self, LogError> {
        // Under another name first: a half-made watermark would look like a damaged one.
        let (making, path) = (dir.join("watermark.new"), dir.join("watermark"));
        let file = File::create(&making).map_err(IoFault::at("create", &making))?;
        file.write_all_at(&[0; 2 * SLOT_BYTES], 0)
            .map_err(IoFault::at("write", &making))?;
        let mut watermark = Self {
            file,
            path: making.clone(),
            writes: 0,
        };
        watermark.set(mark)?;
        disk::rename(&making, &path).map_err(IoFault::at("rename", &making))?;
        watermark.path = path;
        Ok(watermark)
    }

    /// Writes and syncs `mark`.
    pub(crate) fn set(&mut self, mark: &Mark) -> Result<(), IoFault> {
        self.writes += 1;
        let slot = self.writes % 2 * SLOT_BYTES as u64;
        let bytes = encode(mark, self.writes);
        self.file
            .write_all_at(&bytes, slot)
            .map_err(IoFault::at("write", &self.path))?;
        self.file
            .sync_data()
            .map_err(IoFault::at("sync", &self.path))
    }
}

fn encode(mark: &Mark, writes: u64) -> Vec<u8> {
    let named = mark.groups.len().min(GROUPS_MAX);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + named * GROUP_BYTES + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&writes.to_le_bytes());
    bytes.extend_from_slice(&mark.log.to_le_bytes());
    bytes.extend_from_slice(&mark.segment.0.to_le_bytes());
    bytes.extend_from_slice(&u64::from(mark.offset).to_le_bytes());
    bytes.extend_from_slice(
        &u32::try_from(named)
            .expect("bounded by the size of a slot")
            .to_le_bytes(),
    );
    for (group, last) in &mark.groups[..named] {
        // An index of u64::MAX stands for "no entry": Raft never reaches it.
        let last = last.unwrap_or(LogId::new(0, u64::MAX));
        bytes.extend_from_slice(&group.0.to_le_bytes());
        bytes.extend_from_slice(&last.term.to_le_bytes());
        bytes.extend_from_slice(&last.index.to_le_bytes());
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    if slot[..8] != *MAGIC {
        return None;
    }
    let named = u32_at(slot, 40) as usize;
    let end = HEAD_BYTES + named.min(GROUPS_MAX) * GROUP_BYTES;
    if named > GROUPS_MAX || crc32c::crc32c(&slot[..end]) != u32_at(slot, end) {
        return None;
    }
    let groups = slot[HEAD_BYTES..end]
        .chunks_exact(GROUP_BYTES)
        .map(|group| {
            let last = LogId::new(u64_at(group, 4), u64_at(group, 12));
            (
                GroupId(u32_at(group, 0)),
                (last.index != u64::MAX).then_some(last),
            )
        });
    let offset = u32::try_from(u64_at(slot, 32)).ok()?;
    let (log, segment) = (u64_at(slot, 16), SegmentId(u64_at(slot, 24)));
    Some((
        u64_at(slot, 8),
        Mark {
            log,
            segment,
            offset,
            groups: groups.collect(),
        },
    ))
}
