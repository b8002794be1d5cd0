//! When segments are reused, and what must never be lost or come back by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use millrace_model::GroupId;
use millrace_store::log::{Log, LogError, LogOptions, SegmentId};

use crate::support::*;

fn segments(log: &Log) -> Vec<SegmentId> {
    log.segments().iter().map(|segment| segment.id).collect()
}

/// Fills three segments and more; returns the index of the last entry.
fn filled(log: &Log) -> u64 {
    fill(&log.group(G), 1, 200, 1000);
    assert!(segments(log).len() >= 4);
    200
}

fn purge(log: &Log, upto: u64) {
    log.group(G).purge(id(1, upto)).unwrap();
    // The next sync makes it durable.
    vote(&log.group(G), b"next");
}

fn recycled(log: &Log, count: u64) {
    eventually("segments are given back", || {
        log.metrics().read().segments_recycled >= count
    });
    assert_eq!(log.metrics().read().segments_recycled, count);
}

fn settled(log: &Log) {
    // Another operation went all the way: had anything been given back, it would have been by now.
    vote(&log.group(G), b"settled");
    vote(&log.group(G), b"settled again");
}

#[test]
fn a_segment_is_given_back_when_purged_flushed_and_not_referred_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let last = filled(&log);
    let before = segments(&log);
    purge(&log, last);
    settled(&log);
    assert_eq!(segments(&log), before, "the tables have said nothing yet");
    log.group(G).flushed(10, &live(&[]));
    settled(&log);
    assert_eq!(
        segments(&log),
        before,
        "the synced tables still need the entries after 10"
    );
    log.group(G).flushed(last, &live(&before[1..2]));
    recycled(&log, before.len() as u64 - 2);
    assert_eq!(
        segments(&log),
        [before[1], before[before.len() - 1]],
        "one is referred to, one is being written"
    );
    log.group(G).flushed(last, &live(&[]));
    recycled(&log, before.len() as u64 - 1);
}

#[test]
fn entries_that_are_not_purged_hold_their_segment() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(
        dir.path(),
        LogOptions {
            cache_bytes: 0,
            ..options()
        },
    )
    .unwrap();
    let last = filled(&log);
    let before = segments(&log);
    let boundary = (1..)
        .find(|index| log.group(G).segment_of(*index) == Some(before[1]))
        .unwrap();
    purge(&log, boundary);
    log.group(G).flushed(last, &live(&[]));
    recycled(&log, 1);
    assert_eq!(segments(&log), before[1..]);
    assert!(matches!(
        log.group(G).payload(boundary - 1, 0, 1),
        Err(LogError::Missing { .. })
    ));
    assert_eq!(
        log.group(G).payload(boundary, 0, 1000).unwrap(),
        body(boundary, 1000)
    );
}

#[test]
fn every_group_with_entries_in_a_segment_has_a_say() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log.group(GroupId(2)), vec![entry(1, 1, *b"here")]);
    let last = filled(&log);
    purge(&log, last);
    log.group(G).flushed(last, &live(&[]));
    settled(&log);
    let first = log.group(GroupId(2)).segment_of(1).unwrap();
    eventually("the others are given back", || segments(&log).len() == 2);
    assert_eq!(segments(&log)[0], first);
    log.group(GroupId(2)).purge(id(1, 1)).unwrap();
    log.group(GroupId(2)).flushed(1, &live(&[]));
    eventually("all are given back", || segments(&log).len() == 1);
}

#[test]
fn votes_and_purges_outlive_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        vote(&log.group(GroupId(7)), b"only once");
        append(
            &log.group(GroupId(8)),
            vec![entry(3, 1, *b"a"), entry(3, 2, *b"b")],
        );
        log.group(GroupId(8)).purge(id(3, 2)).unwrap();
        log.group(GroupId(8)).flushed(2, &live(&[]));
        let last = filled(&log);
        purge(&log, last);
        log.group(G).flushed(last, &live(&[]));
        eventually("all are given back", || segments(&log).len() == 1);
    }
    let log = open(dir.path());
    assert_eq!(
        log.group(GroupId(7)).read_vote(),
        Some(Bytes::from_static(b"only once"))
    );
    assert_eq!(log.group(GroupId(8)).last(), Some(id(3, 2)));
    assert_eq!(log.group(GroupId(8)).purged(), Some(id(3, 2)));
    assert_eq!(log.group(G).last(), Some(id(1, 200)));
    append(&log.group(GroupId(8)), vec![entry(3, 3, *b"c")]);
}

/// The truncation's own record is in a segment that is given back, the truncated entries are not.
#[test]
fn a_truncation_outlives_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let other = log.group(GroupId(2));
    append(
        &other,
        (1..=10)
            .map(|index| entry(1, index, body(index, 10)))
            .collect(),
    );
    let first = other.segment_of(1).unwrap();
    while segments(&log).len() < 2 {
        let next = log.group(G).last().map_or(1, |last| last.index + 1);
        fill(&log.group(G), next, next, 1000);
    }
    truncate(&other, Some(5));
    let next = log.group(G).last().unwrap().index + 1;
    fill(&log.group(G), next, 200, 1000);
    purge(&log, 200);
    log.group(G).flushed(200, &live(&[]));
    eventually("only two are left", || segments(&log).len() == 2);
    assert_eq!(segments(&log)[0], first);
    let crashed = copy(dir.path());
    let again = open(crashed.path());
    assert_eq!(again.group(GroupId(2)).last(), Some(id(1, 5)));
    append(&again.group(GroupId(2)), vec![entry(2, 6, *b"new")]);
    assert_eq!(indexes(&again.group(GroupId(2))), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_was_in_a_reused_file_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    let mut last = 0;
    for _ in 0..6 {
        fill(&group, last + 1, last + 100, 1000);
        last += 100;
        purge(&log, last);
        group.flushed(last, &live(&[]));
        eventually("segments are given back", || segments(&log).len() == 1);
        let crashed = copy(dir.path());
        let again = open(crashed.path());
        assert_eq!(
            (again.group(G).last(), all(&again.group(G))),
            (Some(id(1, last)), vec![])
        );
    }
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(
        files <= 1 + options().free_segments_max + 3,
        "{files} files: unused segments pile up"
    );
}

#[test]
fn a_reader_keeps_the_segment_that_it_reads() {
    // Readers race with the reuse of the segments they read: they get the bytes or a clean "gone", never damage.
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(
        dir.path(),
        LogOptions {
            cache_bytes: 0,
            ..options()
        },
    )
    .unwrap();
    let newest = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (group, newest) = (log.group(G), Arc::clone(&newest));
            scope.spawn(move || {
                let mut seen = 0_u64;
                while newest.load(Relaxed) < 2000 {
                    let index = newest.load(Relaxed).saturating_sub(seen % 200);
                    seen += 7;
                    match group.payload(index, 0, 1000) {
                        Ok(bytes) => assert_eq!(bytes, body(index, 1000)),
                        Err(LogError::Missing { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        let group = log.group(G);
        for index in 1..=2000 {
            fill(&group, index, index, 1000);
            newest.store(index, Relaxed);
            if index % 20 == 0 {
                group.purge(id(1, index)).unwrap();
                group.flushed(index, &live(&[]));
            }
        }
    });
    assert!(log.metrics().read().segments_recycled > 10);
}

/// Tables that are synced now and then, and a crash after every step: whatever state comes back, the log has every
/// entry behind it and every payload it refers to.
#[test]
fn whatever_state_of_the_tables_comes_back_finds_its_entries_and_payloads() {
    #[derive(Clone, Default)]
    struct Tables {
        applied: u64,
        refs: std::collections::BTreeSet<u64>,
    }
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    let (mut tables, mut synced) = (Tables::default(), Tables::default());
    // States that a crash may bring back: the synced one and all after it.
    let mut possible = vec![synced.clone()];
    for step in 1..=400_u64 {
        fill(&group, step, step, 900);
        tables.applied = step;
        tables.refs.insert(step);
        // Most are consumed soon, every 50th stays for long.
        tables
            .refs
            .retain(|index| *index + 5 > step || (index % 50 == 0 && index + 170 > step));
        possible.push(tables.clone());
        if step % 30 == 0 {
            synced = tables.clone();
            possible = vec![synced.clone()];
            group.purge(id(1, synced.applied)).unwrap();
            let segments = synced
                .refs
                .iter()
                .filter_map(|index| group.segment_of(*index))
                .collect();
            group.flushed(synced.applied, &segments);
        }
        if step % 7 == 0 {
            let crashed = copy(dir.path());
            let again = open(crashed.path());
            for state in &possible {
                for index in state.applied + 1..=step {
                    assert_eq!(
                        again.group(G).read(index..=index, 0).unwrap()[0].body,
                        body(index, 900)
                    );
                }
                for index in &state.refs {
                    assert_eq!(
                        again.group(G).payload(*index, 0, 900).unwrap(),
                        body(*index, 900)
                    );
                }
            }
        }
    }
    assert!(log.metrics().read().segments_recycled >= 2);
}

#[test]
fn what_lies_before_the_last_bytes_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let last = filled(&log);
    let (group, all) = (log.group(G), segments(&log));
    assert_eq!(group.before_last_bytes(u64::MAX), None);
    let newest = group.segment_of(last).unwrap();
    let upto = group.before_last_bytes(1).unwrap();
    assert!(group.segment_of(upto).unwrap() < newest);
    assert_eq!(group.segment_of(upto + 1).unwrap(), newest);
    let upto = group.before_last_bytes(100 << 10).unwrap();
    assert!(group.segment_of(upto + 1).unwrap() <= all[all.len() - 2]);
    assert_eq!(log.group(GroupId(9)).before_last_bytes(0), None);
}

#[test]
fn a_pin_keeps_segments_until_it_is_dropped_or_too_old() {
    for expires in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        let last = filled(&log);
        let all = segments(&log);
        let mut pin = log.group(G).pin();
        purge(&log, last);
        log.group(G).flushed(last, &live(&[]));
        settled(&log);
        assert_eq!(segments(&log), all);
        pin.narrow(&live(&all[..2]));
        eventually("the others are given back", || segments(&log).len() == 3);
        assert_eq!(segments(&log)[..2], all[..2]);
        log.expire_pins(std::time::Duration::from_secs(60));
        settled(&log);
        assert_eq!(segments(&log).len(), 3);
        if expires {
            log.expire_pins(std::time::Duration::ZERO);
        } else {
            drop(pin);
        }
        eventually("all are given back", || segments(&log).len() == 1);
    }
}
