//! Shared by the tests of the log.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_model::GroupId;
use millrace_store::log::{Done, GroupLog, Log, LogEntry, LogError, LogId, LogOptions, SegmentId};

pub(crate) type Outcome = Result<(), Arc<LogError>>;

pub(crate) const G: GroupId = GroupId(1);

/// Small segments, and nothing left to time.
pub(crate) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        full_retry: Duration::from_millis(20),
        disk_reserve_bytes: 0,
        ..LogOptions::default()
    }
}

pub(crate) fn open(dir: &Path) -> Log {
    Log::open(dir, options()).unwrap()
}

pub(crate) fn entry(term: u64, index: u64, body: impl Into<Vec<u8>>) -> LogEntry {
    LogEntry {
        term,
        index,
        tag: (index % 7) as u8,
        body: Bytes::from(body.into()),
    }
}

/// A body that differs from index to index and is not constant.
pub(crate) fn body(index: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(31) ^ index.wrapping_mul(97)) as u8)
        .collect()
}

/// A callback and where its outcome arrives.
pub(crate) fn waiter() -> (Done, mpsc::Receiver<Outcome>) {
    let (tell, told) = mpsc::channel();
    (Box::new(move |outcome| drop(tell.send(outcome))), told)
}

pub(crate) fn ignore() -> Done {
    Box::new(|_| {})
}

/// Appends and waits until it is durable.
pub(crate) fn append(group: &GroupLog, entries: Vec<LogEntry>) {
    let (done, told) = waiter();
    group.append(entries, done).unwrap();
    told.recv().unwrap().unwrap();
}

/// Appends entries `from..=to` of `len` bytes each, one at a time.
pub(crate) fn fill(group: &GroupLog, from: u64, to: u64, len: usize) {
    for index in from..=to {
        append(group, vec![entry(1, index, body(index, len))]);
    }
}

pub(crate) fn vote(group: &GroupLog, vote: &'static [u8]) {
    let (done, told) = waiter();
    group.save_vote(Bytes::from_static(vote), done).unwrap();
    told.recv().unwrap().unwrap();
}

pub(crate) fn truncate(group: &GroupLog, index: Option<u64>) {
    let (done, told) = waiter();
    group.truncate_after(index, done).unwrap();
    told.recv().unwrap().unwrap();
}

pub(crate) fn all(group: &GroupLog) -> Vec<LogEntry> {
    group.read(.., usize::MAX).unwrap()
}

pub(crate) fn indexes(group: &GroupLog) -> Vec<u64> {
    all(group).iter().map(|entry| entry.index).collect()
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId::new(term, index)
}

pub(crate) fn live(segments: &[SegmentId]) -> BTreeSet<SegmentId> {
    segments.iter().copied().collect()
}

/// The folder as a killed process would leave it: everything written, nothing closed.
pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        // The spare maker renames and removes files meanwhile; those are of no account.
        let _ = std::fs::copy(file.path(), to.path().join(file.file_name()));
    }
    to
}

/// The segment files in order.
pub(crate) fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

/// Changes the byte at `offset`.
pub(crate) fn flip(file: &Path, offset: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset as u64).unwrap();
}

/// Waits for something that another thread does soon.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "never happened: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
