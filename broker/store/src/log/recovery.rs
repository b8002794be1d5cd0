//! Opens what is on disk: finds the segments that are live, verifies and replays them, and cuts a torn tail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, File, OpenOptions};
use crate::fault::{Damage, IoFault};
use crate::log::checkpoint::Checkpoint;
use crate::log::replay::{Replay, decode_checkpoint};
use crate::log::scan::{Scan, look_behind, scan};
use crate::log::segment::{SegmentFile, live_name, parse_live_name, random, sync_dir};
use crate::log::spares::{free_name, make};
use crate::log::state::{Live, State};
use crate::log::tail::Tail;
use crate::log::watermark::{Mark, Watermark};
use crate::log::writer::Start;
use crate::log::{LogError, LogOptions, SegmentId};

/// What a torn tail is overwritten with beyond what can be seen of it, in bytes.
const TORN_BYTES: u32 = 4096;

/// A log that was opened and is not yet running.
pub(crate) struct Opened {
    pub(crate) state: State,
    pub(crate) start: Start,
    /// No log was here.
    pub(crate) is_new: bool,
    /// The next number for a file that the spare maker makes.
    pub(crate) spare_number: u64,
}

/// The files in the log's folder.
#[derive(Default)]
struct Files {
    live: BTreeMap<SegmentId, PathBuf>,
    free: Vec<PathBuf>,
    spare_number: u64,
}

/// Takes the lock file; it is held as long as the handle lives.
pub(crate) fn lock(dir: &Path) -> Result<File, LogError> {
    disk::create_dir_all(dir).map_err(IoFault::at("create", dir))?;
    let path = dir.join("lock");
    let options = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = options.map_err(IoFault::at("open", &path))?;
    match disk::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LogError::InUse(dir.display().to_string())),
        Err(e) => Err(IoFault::at("lock", &path)(e).into()),
    }
}

/// Opens or creates the log in `dir`, which is locked.
pub(crate) fn open(dir: &Path, options: &LogOptions) -> Result<Opened, LogError> {
    let files = Files::find(dir, options)?;
    let (watermark, mark, is_new) = match Watermark::open(dir)? {
        Some((watermark, mark)) => {
            let is_new = mark.segment.0 == 0;
            (watermark, mark, is_new)
        }
        None => {
            if let Some(path) = files.live.values().chain(&files.free).next() {
                return Err(Damage::new(
                    dir.join("watermark"),
                    0,
                    format!("missing beside {}", path.display()),
                )
                .into());
            }
            let mark = Mark {
                log: random(),
                ..Mark::default()
            };
            let watermark = Watermark::create(dir, &mark)?;
            sync_dir(dir)?;
            (watermark, mark, true)
        }
    };
    let last = files.last_segment(&mark)?;
    let Some((last, scan)) = last else {
        if !is_new {
            let missing = format!("{} and all segments before it", live_name(mark.segment));
            return Err(lost(&mark, &missing));
        }
        return create(dir, options, files, watermark, &mark);
    };
    let mut opened = replay(files, last, &scan, watermark, &mark, options)?;
    opened.is_new = is_new && opened.state.groups.is_empty();
    Ok(opened)
}

/// Begins a log with one segment.
fn create(
    dir: &Path,
    options: &LogOptions,
    mut files: Files,
    mut watermark: Watermark,
    mark: &Mark,
) -> Result<Opened, LogError> {
    let free = match files.free.pop() {
        Some(free) => free,
        None => make(dir, files.spare_number, options.segment_bytes, || false)?,
    };
    let id = SegmentId(mark.segment.0.max(files.highest()) + 1);
    let stream = Checkpoint {
        live: BTreeSet::from([id]),
        ..Checkpoint::default()
    };
    let tail = Tail::begin(&free, id, mark.log, options.segment_bytes, &stream)?;
    sync_dir(dir)?;
    watermark.set(&Mark {
        segment: id,
        offset: tail.synced,
        ..mark.clone()
    })?;
    let segments = BTreeMap::from([(
        id,
        Live {
            file: Arc::clone(&tail.file),
            end: tail.next,
        },
    )]);
    let state = State::new(BTreeMap::new(), segments, files.free);
    let start = Start {
        watermark,
        log: mark.log,
        known: BTreeSet::new(),
        stream,
        tail,
        next_id: id.0 + 1,
    };
    Ok(Opened {
        state,
        start,
        is_new: true,
        spare_number: files.spare_number + 1,
    })
}

fn replay(
    mut files: Files,
    last: SegmentFile,
    last_scan: &Scan,
    watermark: Watermark,
    mark: &Mark,
    options: &LogOptions,
) -> Result<Opened, LogError> {
    let next_id = files.highest().max(mark.segment.0) + 1;
    let newest = last_scan
        .checkpoints()
        .next_back()
        .expect("the last segment has a checkpoint");
    let inventory = decode_checkpoint(&last, newest)?;
    let mut replay = Replay::default();
    let mut segments = BTreeMap::new();
    let mut buffer = Vec::new();
    for id in inventory.live.iter().filter(|id| **id != last.id) {
        let (file, scan) = files.sealed(*id, &last, mark, &mut buffer)?;
        replay.segment(&file, &scan)?;
        segments.insert(
            *id,
            Live {
                file: Arc::new(file),
                end: scan.end,
            },
        );
    }
    drop(buffer);
    replay.segment(&last, last_scan)?;
    let (groups, stream) = replay.finish(&last, inventory)?;
    files.free_the_rest(&segments, &last, options)?;
    let tail = Tail::resume(Arc::new(last), last_scan.end, last_scan.ended);
    segments.insert(
        tail.file.id,
        Live {
            file: Arc::clone(&tail.file),
            end: tail.next,
        },
    );
    let known = mark.groups.iter().map(|(id, _)| *id).collect();
    let state = State::new(groups, segments, files.free);
    let start = Start {
        watermark,
        log: mark.log,
        known,
        stream,
        tail,
        next_id,
    };
    Ok(Opened {
        state,
        start,
        is_new: false,
        spare_number: files.spare_number,
    })
}

impl Files {
    fn find(dir: &Path, options: &LogOptions) -> Result<Self, LogError> {
        let mut files = Self {
            spare_number: 1,
            ..Self::default()
        };
        for entry in disk::read_dir(dir).map_err(IoFault::at("list", dir))? {
            let entry = entry.map_err(IoFault::at("list", dir))?;
            let (path, name) = (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            );
            if let Some(id) = parse_live_name(&name) {
                files.live.insert(id, path);
            } else if name.ends_with(".free") {
                files.spare_number = files.spare_number.max(number_of(&name) + 1);
                files.keep_free(path, options)?;
            } else if name.ends_with(".new") {
                // Left over from a crash while it was being made.
                disk::remove_file(&path).map_err(IoFault::at("remove", &path))?;
            }
        }
        Ok(files)
    }

    fn highest(&self) -> u64 {
        self.live.keys().next_back().map_or(0, |id| id.0)
    }

    /// Keeps a free file of the right size, up to the limit; removes any other.
    fn keep_free(&mut self, path: PathBuf, options: &LogOptions) -> Result<(), LogError> {
        let bytes = disk::metadata(&path)
            .map_err(IoFault::at("inspect", &path))?
            .len();
        if bytes == u64::from(options.segment_bytes) && self.free.len() < options.free_segments_max
        {
            self.free.push(path);
        } else {
            disk::remove_file(&path).map_err(IoFault::at("remove", &path))?;
        }
        Ok(())
    }

    /// The last segment that was begun for good, verified, with its torn tail cut.
    fn last_segment(&self, mark: &Mark) -> Result<Option<(SegmentFile, Scan)>, LogError> {
        for (id, path) in self.live.iter().rev() {
            let mut buffer = Vec::new();
            if let Some(file) = SegmentFile::open(path, *id)? {
                check_log(&file, mark)?;
                let scan = scan(&file, &mut buffer)?;
                if scan.checkpoints().next().is_some() {
                    let scan = cut_torn_tail(&file, scan, &buffer, mark)?;
                    return Ok(Some((file, scan)));
                }
            }
            // Nothing is acknowledged in a segment before the watermark names it.
            if mark.segment >= *id {
                return Err(Damage::new(path, 0, "the head of the segment cannot be read").into());
            }
        }
        Ok(None)
    }

    /// A segment before the last: whole, or damaged.
    fn sealed(
        &self,
        id: SegmentId,
        last: &SegmentFile,
        mark: &Mark,
        buffer: &mut Vec<u8>,
    ) -> Result<(SegmentFile, Scan), LogError> {
        let folder = last
            .path
            .parent()
            .expect("a segment lies in the log's folder");
        let path = folder.join(live_name(id));
        if !self.live.contains_key(&id) {
            return Err(Damage::new(
                path,
                0,
                format!("the segment is missing; {} lists it", last.path.display()),
            )
            .into());
        }
        let opened = SegmentFile::open(&path, id)?;
        let file = opened
            .ok_or_else(|| Damage::new(&path, 0, "the head of the segment cannot be read"))?;
        check_log(&file, mark)?;
        let scan = scan(&file, buffer)?;
        if !scan.ended {
            return Err(Damage::new(&path, scan.end.into(), scan.reason).into());
        }
        Ok((file, scan))
    }

    /// What is not live was given back, or begun and never used.
    fn free_the_rest(
        &mut self,
        segments: &BTreeMap<SegmentId, Live>,
        last: &SegmentFile,
        options: &LogOptions,
    ) -> Result<(), LogError> {
        let live = std::mem::take(&mut self.live);
        for (id, path) in live {
            if segments.contains_key(&id) || id == last.id {
                continue;
            }
            let free = path.with_file_name(format!("{}.free", live_name(id)));
            disk::rename(&path, &free).map_err(IoFault::at("give back", &path))?;
            self.keep_free(free, options)?;
        }
        Ok(())
    }
}

fn number_of(free: &str) -> u64 {
    let digits = free.split('.').next().unwrap_or_default();
    let number = u64::from_str_radix(digits, 16).unwrap_or(0);
    if free_name(number) == free { number } else { 0 }
}

fn check_log(file: &SegmentFile, mark: &Mark) -> Result<(), Damage> {
    if file.log == mark.log {
        return Ok(());
    }
    Err(Damage::new(
        &file.path,
        0,
        "the segment belongs to another log than the watermark beside it",
    ))
}

/// Decides whether what follows the last sound record was torn off by a crash, which is cut, or damaged, which is refused.
fn cut_torn_tail(
    file: &SegmentFile,
    scan: Scan,
    buffer: &[u8],
    mark: &Mark,
) -> Result<Scan, LogError> {
    if mark.segment > file.id {
        return Err(lost(mark, &live_name(mark.segment)));
    }
    if !scan.ended {
        refuse_damage(file, &scan, buffer, mark)?;
    }
    // After a failed sync the page cache may hold what the disk does not: what is counted as durable from now on is
    // written once more, so that this sync covers it.
    let unsure = scan.synced.min(scan.end);
    file.write_bytes_at(&buffer[unsure as usize..scan.end as usize], unsure)?;
    file.sync()?;
    Ok(scan)
}

/// Overwrites the torn tail, unless something says that it was whole.
fn refuse_damage(
    file: &SegmentFile,
    scan: &Scan,
    buffer: &[u8],
    mark: &Mark,
) -> Result<(), LogError> {
    let bad = scan.end;
    let behind = look_behind(file, buffer, bad);
    if let Some((at, synced)) = behind.proof {
        let reason = format!(
            "{}, yet the record at {at} says that all before {synced} was on disk",
            scan.reason
        );
        return Err(Damage::new(&file.path, bad.into(), reason).into());
    }
    if mark.segment == file.id && mark.offset > bad {
        return Err(lost(
            mark,
            &format!("{} from offset {bad} ({})", live_name(file.id), scan.reason),
        ));
    }
    // Old records behind the new ones would come back to life if the new ones ended just before them.
    let torn_end = behind
        .end
        .max(bad.saturating_add(TORN_BYTES))
        .min(file.size);
    file.write_bytes_at(&vec![0; (torn_end - bad) as usize], bad)?;
    Ok(())
}

fn lost(mark: &Mark, missing: &str) -> LogError {
    let reached = mark.groups.iter().map(|(id, last)| match last {
        Some(last) => format!(
            "group {id} had reached entry {} of term {}",
            last.index, last.term
        ),
        None => format!("group {id} had voted"),
    });
    let reached: Vec<_> = reached.collect();
    LogError::Lost(format!(
        "{missing} is missing; the watermark says that {} was on disk up to offset {}; {}",
        live_name(mark.segment),
        mark.offset,
        if reached.is_empty() {
            "no group had written".to_owned()
        } else {
            reached.join(", ")
        },
    ))
}
