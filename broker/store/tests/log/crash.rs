//! What survives a crash, and what is refused.

use std::path::Path;

use bytes::Bytes;
use millrace_model::GroupId;
use millrace_store::log::{Log, LogError, LogId, LogOptions};

use crate::support::*;

fn refused(dir: &Path) -> LogError {
    match Log::open(dir, options()) {
        Ok(_) => panic!("opened a damaged log"),
        Err(error) => error,
    }
}

fn assert_refused(dir: &Path, what: &str) {
    let error = refused(dir);
    assert!(
        matches!(error, LogError::Damage(_) | LogError::Lost(_)),
        "{what}: {error}"
    );
}

#[test]
fn what_was_acknowledged_survives_the_end_of_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    vote(&group, b"vote");
    fill(&group, 1, 200, 1000);
    let crashed = copy(dir.path());
    let again = open(crashed.path());
    assert_eq!(all(&again.group(G)), all(&group));
    assert_eq!(
        again.group(G).read_vote(),
        Some(Bytes::from_static(b"vote"))
    );
    // Life goes on, and a second crash finds it all.
    fill(&again.group(G), 201, 300, 1000);
    let crashed = copy(crashed.path());
    assert_eq!(all(&open(crashed.path()).group(G)), all(&again.group(G)));
}

/// Records beyond the watermark, written but never synced: cut at every byte, the log opens with a prefix.
#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    append(&group, vec![entry(1, 1, body(1, 64))]);
    let before = after_the_seal(&log, dir.path());
    // Followers learn of a commit before their own disk has it: it must not come back without the entries.
    group.save_committed(Some(LogId::new(1, 4)));
    let entries = (2..=4)
        .map(|index| entry(1, index, body(index, 64)))
        .collect();
    append(&group, entries);
    let end = log.segments()[0].bytes as usize;
    // As a loss of power would leave it: without the seal, which is never synced.
    eventually("the seal", || word_at(dir.path(), end) != 0);
    let crashed = copy(dir.path());
    let file = &segment_files(crashed.path())[0];
    let whole = std::fs::read(file).unwrap();
    for cut in before..=end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        std::fs::write(file, &torn).unwrap();
        let log = open(crashed.path());
        let got = indexes(&log.group(G));
        assert!(got.len() <= 4 && got[0] == 1, "cut at {cut}: {got:?}");
        assert_eq!(got, (1..=got.len() as u64).collect::<Vec<_>>());
        if cut == end {
            assert_eq!(got.len(), 4);
        }
        let committed = log.group(G).read_committed().map_or(0, |id| id.index);
        assert!(committed <= got.len() as u64, "cut at {cut}: {committed}");
        // What is appended after the cut is there after another crash, and nothing of the torn tail is.
        let next = got.len() as u64 + 1;
        append(&log.group(G), vec![entry(2, next, *b"new")]);
        let second = copy(crashed.path());
        drop(log);
        let log = open(second.path());
        assert_eq!(log.group(G).last(), Some(id(2, next)));
        std::fs::remove_file(crashed.path().join("watermark")).unwrap();
        std::fs::copy(
            dir.path().join("watermark"),
            crashed.path().join("watermark"),
        )
        .unwrap();
    }
}

/// Waits until the writer is idle; returns where the next record goes.
fn after_the_seal(log: &Log, dir: &Path) -> usize {
    let end = log.segments()[0].bytes as usize;
    eventually("the seal", || word_at(dir, end) != 0);
    end + 40
}

fn word_at(dir: &Path, offset: usize) -> u32 {
    let bytes = std::fs::read(&segment_files(dir)[0]).unwrap();
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// Records of the last batch that reached the disk behind one that did not: cut, and never seen again.
#[test]
fn later_records_of_a_torn_batch_do_not_come_back_to_life() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    append(&group, vec![entry(1, 1, body(1, 64))]);
    let before = after_the_seal(&log, dir.path());
    append(
        &group,
        (2..=4)
            .map(|index| entry(1, index, body(index, 64)))
            .collect(),
    );
    let end = log.segments()[0].bytes as usize;
    let crashed = copy(dir.path());
    let file = &segment_files(crashed.path())[0];
    let mut bytes = std::fs::read(file).unwrap();
    bytes[before..before + 104].fill(0);
    bytes[end..].fill(0);
    std::fs::write(file, &bytes).unwrap();
    let log = open(crashed.path());
    assert_eq!(indexes(&log.group(G)), [1]);
    // Exactly as long as the lost one: what was behind it would now follow.
    append(&log.group(G), vec![entry(2, 2, body(9, 64))]);
    let second = copy(crashed.path());
    assert_eq!(open(second.path()).group(G).last(), Some(id(2, 2)));
}

#[test]
fn a_flipped_bit_anywhere_before_the_tail_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    vote(&group, b"vote");
    fill(&group, 1, 150, 1000);
    truncate(&group, Some(149));
    group.purge(id(1, 3)).unwrap();
    append(&group, vec![entry(2, 150, body(1, 40_000))]);
    append(&group, vec![entry(2, 151, *b"the end")]);
    let segments = log.segments();
    assert!(segments.len() >= 3);
    eventually("the seal", || {
        let files = segment_files(dir.path());
        let bytes = std::fs::read(files.last().unwrap()).unwrap();
        bytes[segments.last().unwrap().bytes as usize..][..4] != [0; 4]
    });
    let crashed = copy(dir.path());
    for (file, segment) in segment_files(crashed.path()).iter().zip(&segments) {
        // Every byte of the head and of the first records, then a sample of every class of byte. Records are padded
        // with zeros, which no checksum covers: those are told apart by having no effect at all.
        let end = segment.bytes as usize;
        let offsets = (0..40)
            .chain(64..400.min(end))
            .chain((400..end).step_by(487))
            .chain(end - 47..end - 7);
        for offset in offsets {
            flip(file, offset);
            match Log::open(crashed.path(), options()) {
                Err(LogError::Damage(_) | LogError::Lost(_)) => {}
                Err(other) => panic!("{} at {offset}: {other}", file.display()),
                Ok(opened) => assert_eq!(
                    all(&opened.group(G)),
                    all(&group),
                    "{} at {offset}",
                    file.display()
                ),
            }
            flip(file, offset);
        }
    }
    open(crashed.path());
}

#[test]
fn damage_in_the_last_batch_is_told_from_a_torn_tail_once_the_writer_was_idle() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log.group(G), vec![entry(1, 1, body(1, 64))]);
    let before = after_the_seal(&log, dir.path());
    append(&log.group(G), vec![entry(1, 2, body(2, 64))]);
    let end = log.segments()[0].bytes as usize;
    eventually("the seal", || word_at(dir.path(), end) != 0);
    let crashed = copy(dir.path());
    flip(&segment_files(crashed.path())[0], before + 60);
    let LogError::Damage(damage) = refused(crashed.path()) else {
        panic!("not damage")
    };
    assert_eq!(
        (damage.offset, &damage.file),
        (before as u64, &segment_files(crashed.path())[0])
    );
    assert!(damage.reason.contains("was on disk"), "{damage}");
}

#[test]
fn any_segment_that_is_lost_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log.group(G), 1, 200, 1000);
    let count = segment_files(dir.path()).len();
    assert!(count >= 3);
    for lost in 0..count {
        let crashed = copy(dir.path());
        let file = segment_files(crashed.path())[lost].clone();
        std::fs::remove_file(&file).unwrap();
        let error = refused(crashed.path()).to_string();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name), "{error} does not name {name}");
    }
}

#[test]
fn a_log_that_was_lost_as_a_whole_is_not_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    vote(&log.group(G), b"vote");
    let crashed = copy(dir.path());
    for file in segment_files(crashed.path()) {
        std::fs::remove_file(file).unwrap();
    }
    let error = refused(crashed.path());
    assert!(
        matches!(&error, LogError::Lost(what) if what.contains("group 1 had voted")),
        "{error}"
    );
    let crashed = copy(dir.path());
    std::fs::remove_file(crashed.path().join("watermark")).unwrap();
    assert_refused(crashed.path(), "no watermark");
}

#[test]
fn a_log_shorter_than_the_watermark_is_refused_and_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        fill(&log.group(G), 1, 5, 100);
    }
    let file = &segment_files(dir.path())[0];
    let mut bytes = std::fs::read(file).unwrap();
    // The file system lost the last writes: no seal is there to tell.
    let third = bytes
        .windows(100)
        .position(|window| window == body(3, 100))
        .unwrap()
        - 40;
    bytes[third..].fill(0);
    std::fs::write(file, bytes).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(&error, LogError::Lost(what) if what.contains("group 1 had reached entry 5")),
        "{error}"
    );
}

#[test]
fn one_copy_of_the_watermark_may_be_torn() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()).group(G), 1, 200, 1000);
    for slot in 0..2 {
        let crashed = copy(dir.path());
        flip(&crashed.path().join("watermark"), slot * (16 << 10) + 20);
        assert_eq!(open(crashed.path()).group(G).last(), Some(id(1, 200)));
        flip(&crashed.path().join("watermark"), 20);
    }
    let crashed = copy(dir.path());
    flip(&crashed.path().join("watermark"), 20);
    flip(&crashed.path().join("watermark"), (16 << 10) + 20);
    assert_refused(crashed.path(), "no copy of the watermark is whole");
}

#[test]
fn files_of_a_newer_format_are_refused_and_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()).group(G), 1, 5, 100);
    let newer = |dir: &Path| match refused(dir) {
        LogError::Newer(reason) => {
            let says = "newer broker (format 2); this one reads up to 1: start the newer broker";
            assert!(reason.contains(says), "{reason}");
        }
        other => panic!("{other}"),
    };
    let crashed = copy(dir.path());
    let watermark = crashed.path().join("watermark");
    let mut bytes = std::fs::read(&watermark).unwrap();
    for slot in 0..2 {
        bytes[slot * (16 << 10)..][..8].copy_from_slice(b"millrwm2");
    }
    std::fs::write(&watermark, bytes).unwrap();
    newer(crashed.path());
    let crashed = copy(dir.path());
    let segment = &segment_files(crashed.path())[0];
    let mut bytes = std::fs::read(segment).unwrap();
    bytes[7] = b'2';
    let sum = crc32c::crc32c(&bytes[..36]);
    bytes[36..40].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(segment, &bytes).unwrap();
    newer(crashed.path());
    assert_eq!(std::fs::read(segment).unwrap(), bytes, "untouched");
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &other] {
        fill(&open(dir.path()).group(G), 1, 5, 100);
    }
    std::fs::copy(
        &segment_files(other.path())[0],
        &segment_files(one.path())[0],
    )
    .unwrap();
    assert_refused(one.path(), "swapped segment");
}

/// A crash between taking a file into use and completing its head.
#[test]
fn a_segment_that_was_only_begun_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        fill(&log.group(G), 1, 100, 1000);
    }
    let last = segment_files(dir.path()).last().unwrap().clone();
    let number = u64::from_str_radix(last.file_stem().unwrap().to_str().unwrap(), 16).unwrap();
    let begun = dir.path().join(format!("{:016x}.seg", number + 1));
    std::fs::write(&begun, vec![0; 64 << 10]).unwrap();
    let log = open(dir.path());
    assert_eq!(log.group(G).last(), Some(id(1, 100)));
    assert!(!begun.exists());
    fill(&log.group(G), 101, 200, 1000);
    drop(log);
    assert_eq!(open(dir.path()).group(G).last(), Some(id(1, 200)));
}

/// A crash between the end record of a full segment and the next one.
#[test]
fn a_full_segment_without_a_successor_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log.group(G), 1, 30, 1000);
    let early = copy(dir.path());
    let mut index = 31;
    while segment_files(dir.path()).len() < 2 {
        fill(&log.group(G), index, index, 1000);
        index += 1;
    }
    let crashed = copy(dir.path());
    let files = segment_files(crashed.path());
    std::fs::remove_file(&files[1]).unwrap();
    std::fs::copy(
        early.path().join("watermark"),
        crashed.path().join("watermark"),
    )
    .unwrap();
    let log = open(crashed.path());
    let last = log.group(G).last().unwrap().index;
    assert_eq!(
        last,
        index - 2,
        "the last entry was the first of the second segment"
    );
    fill(&log.group(G), last + 1, last + 100, 1000);
    drop(log);
    assert_eq!(
        open(crashed.path()).group(G).last(),
        Some(id(1, last + 100))
    );
}

#[test]
fn bodies_that_imitate_records_are_only_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log.group(G), 1, 3, 200);
    // A client publishes what it saw on somebody's disk.
    let stolen = std::fs::read(&segment_files(dir.path())[0]).unwrap();
    append(&log.group(G), vec![entry(1, 4, &stolen[..4096])]);
    append(&log.group(GroupId(2)), vec![entry(1, 1, &stolen[64..2000])]);
    let crashed = copy(dir.path());
    let again = open(crashed.path());
    assert_eq!(all(&again.group(G)), all(&log.group(G)));
}

#[test]
fn damage_is_found_when_read_at_run_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(
        dir.path(),
        LogOptions {
            cache_bytes: 0,
            ..options()
        },
    )
    .unwrap();
    let group = log.group(G);
    append(&group, vec![entry(1, 1, body(1, 40_000))]);
    let whole = std::fs::read(&segment_files(dir.path())[0]).unwrap();
    let start = whole
        .windows(64)
        .position(|window| window == &body(1, 40_000)[..64])
        .unwrap();
    flip(&segment_files(dir.path())[0], start + 20_000);
    assert_eq!(group.payload(1, 0, 100).unwrap(), body(1, 40_000)[..100]);
    assert!(matches!(
        group.payload(1, 17_000, 100),
        Err(LogError::Damage(_))
    ));
    assert!(matches!(
        group.read(1..2, usize::MAX),
        Err(LogError::Damage(_))
    ));
}
