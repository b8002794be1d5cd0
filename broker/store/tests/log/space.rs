//! A full disk: nothing breaks, small things go on, and it ends by itself.

use std::sync::mpsc::TryRecvError;

use millrace_store::log::{Log, LogOptions};

use crate::support::*;

fn limited(max: usize) -> LogOptions {
    LogOptions {
        segments_max: Some(max),
        ..options()
    }
}

fn fill_until_full(log: &Log) -> u64 {
    let group = log.group(G);
    for index in 1.. {
        fill(&group, index, index, 1000);
        // The spare maker works beside us.
        std::thread::sleep(std::time::Duration::from_millis(1));
        if log.space().full {
            return index;
        }
        assert!(index < 10_000, "never full");
    }
    0
}

#[test]
fn a_full_disk_is_told_before_it_hurts_and_small_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), limited(4)).unwrap();
    eventually("spares", || log.metrics().read().segments_free == 2);
    assert!(!log.space().full);
    let last = fill_until_full(&log);
    let space = log.space();
    assert!(
        space.free_bytes >= u64::from(options().segment_bytes),
        "a whole segment is in reserve: {space:?}"
    );
    vote(&log.group(G), b"acks and votes go on");
    fill(&log.group(G), last + 1, last + 20, 100);
    drop(log);
    let log = Log::open(dir.path(), limited(4)).unwrap();
    assert_eq!(log.group(G).last(), Some(id(1, last + 20)));
}

#[test]
fn writes_wait_on_a_disk_without_room_and_go_on_when_segments_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), limited(3)).unwrap();
    let group = log.group(G);
    let mut told = Vec::new();
    for index in 1..=300 {
        let (done, outcome) = waiter();
        group
            .append(vec![entry(1, index, body(index, 1000))], done)
            .unwrap();
        told.push(outcome);
    }
    eventually("the disk is full", || {
        log.space().full && log.metrics().read().segments_free == 0
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(
        matches!(told[299].try_recv(), Err(TryRecvError::Empty)),
        "nothing failed and nothing is promised"
    );
    let durable = group.durable_index().unwrap();
    assert!(durable < 300);
    // What is waiting is readable, as ever.
    assert_eq!(group.payload(300, 0, 1000).unwrap(), body(300, 1000));
    // The purge itself waits behind 300; consumers that were ahead of it help.
    group.flushed(durable, &live(&[]));
    log.close().expect("what waits for room is no failure");
    drop(log);
    assert!(told[299].recv().unwrap().is_err(), "closed while it waited");
    let log = Log::open(dir.path(), limited(8)).unwrap();
    assert!(log.group(G).last().unwrap().index >= durable);
}

#[test]
fn a_full_log_recovers_when_consumers_free_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), limited(4)).unwrap();
    let group = log.group(G);
    let mut last = fill_until_full(&log);
    for _ in 0..5 {
        group.purge(id(1, last)).unwrap();
        vote(&group, b"sync");
        group.flushed(last, &live(&[]));
        eventually("room again", || !log.space().full);
        fill(&group, last + 1, last + 150, 1000);
        last += 150;
    }
}

/// All segments are full to the brim: the checkpoint that frees one still finds its place.
#[test]
fn segments_are_given_back_even_when_the_last_byte_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), limited(3)).unwrap();
    let group = log.group(G);
    let mut index = 0;
    // Spares are made behind our back: none may stand ready yet only because none was made yet.
    while log.metrics().read().segments_live < 3 {
        index += 1;
        fill(&group, index, index, 1000);
    }
    group.purge(id(1, index)).unwrap();
    vote(&group, b"sync");
    let (done, told) = waiter();
    let large = vec![
        entry(1, index + 1, body(1, 40_000)),
        entry(1, index + 2, body(2, 40_000)),
    ];
    group.append(large, done).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(told.try_recv().is_err());
    group.flushed(index, &live(&[]));
    told.recv().unwrap().unwrap();
    drop(log);
    let log = Log::open(dir.path(), limited(3)).unwrap();
    assert_eq!(indexes(&log.group(G)), [index + 1, index + 2]);
}

#[test]
fn room_on_the_disk_is_left_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let selfless = LogOptions {
        disk_reserve_bytes: u64::MAX / 2,
        ..options()
    };
    let log = Log::open(dir.path(), selfless).unwrap();
    eventually("no further segment", || log.space().full);
    fill(&log.group(G), 1, 10, 1000);
    drop(log);
    let log = Log::open(dir.path(), options()).unwrap();
    eventually("room", || {
        !log.space().full && log.metrics().read().segments_free == 2
    });
}

#[test]
fn segments_kept_for_a_burst_go_when_nothing_happens() {
    let dir = tempfile::tempdir().unwrap();
    let brisk = LogOptions {
        idle_after: std::time::Duration::from_millis(50),
        ..options()
    };
    let log = Log::open(dir.path(), brisk).unwrap();
    let group = log.group(G);
    fill(&group, 1, 400, 1000);
    assert!(segment_files(dir.path()).len() > 5);
    group.purge(id(1, 400)).unwrap();
    vote(&group, b"sync");
    group.flushed(400, &live(&[]));
    eventually("given back", || log.metrics().read().segments_live == 1);
    eventually("removed", || log.metrics().read().segments_free == 2);
    let files = std::fs::read_dir(dir.path()).unwrap();
    let free = files.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".free")
    });
    assert_eq!(free.count(), 2);
    fill(&group, 401, 500, 1000);
}

/// A real file system without room. Needs root and tmpfs; elsewhere the limit above stands for it.
#[test]
fn a_real_disk_that_is_full_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Tmpfs::mount(dir.path(), "1m") else {
        return;
    };
    let ballast = dir.path().join("ballast");
    let log = Log::open(
        dir.path().join("log"),
        LogOptions {
            free_segments_max: 2,
            ..options()
        },
    )
    .unwrap();
    eventually("spares", || log.metrics().read().segments_free == 2);
    std::fs::write(&ballast, vec![1; 640 << 10]).unwrap();
    let last = fill_until_full(&log);
    let (done, told) = waiter();
    let group = log.group(G);
    group
        .append(
            (last + 1..=last + 300)
                .map(|index| entry(1, index, body(index, 1000)))
                .collect(),
            done,
        )
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(told.try_recv().is_err(), "it waits");
    std::fs::remove_file(&ballast).unwrap();
    told.recv().unwrap().unwrap();
    eventually("room again", || !log.space().full);
    assert_eq!(indexes(&group), (1..=last + 300).collect::<Vec<_>>());
}

struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(at: &std::path::Path, size: &str) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at);
        let mounted = mount
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
