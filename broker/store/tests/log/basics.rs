//! What a caller sees.

use bytes::Bytes;
use millrace_model::{GroupId, PayloadRef};
use millrace_store::log::{Log, LogError, LogOptions};

use crate::support::*;

#[test]
fn a_new_log_is_empty_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    assert!(log.is_new());
    assert_eq!(
        (group.last(), group.purged(), group.durable_index()),
        (None, None, None)
    );
    assert_eq!(
        (group.read_vote(), group.read_committed(), all(&group)),
        (None, None, vec![])
    );
    assert!(log.groups().is_empty());
}

#[test]
fn entries_are_readable_at_once_and_come_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (1..=20)
        .map(|index| entry(index / 7 + 1, index, body(index, 100)))
        .collect();
    {
        let log = open(dir.path());
        let group = log.group(G);
        let (done, told) = waiter();
        group.append(entries.clone(), done).unwrap();
        assert_eq!(all(&group), entries);
        told.recv().unwrap().unwrap();
        assert_eq!(group.durable_index(), Some(20));
        log.close().unwrap();
    }
    let log = open(dir.path());
    let group = log.group(G);
    assert!(!log.is_new());
    assert_eq!(log.groups(), [G]);
    assert_eq!(all(&group), entries);
    assert_eq!(
        (group.last(), group.durable_index()),
        (Some(id(3, 20)), Some(20))
    );
    assert_eq!(
        (group.log_id(6), group.log_id(7), group.log_id(21)),
        (Some(id(1, 6)), Some(id(2, 7)), None)
    );
}

#[test]
fn vote_and_committed_come_back() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        let group = log.group(G);
        vote(&group, b"first");
        vote(&group, b"second");
        fill(&group, 0, 3, 10);
        group.save_committed(Some(id(1, 2)));
        assert_eq!(group.read_committed(), Some(id(1, 2)));
    }
    let log = open(dir.path());
    let group = log.group(G);
    assert_eq!(group.read_vote(), Some(Bytes::from_static(b"second")));
    assert_eq!(group.read_committed(), Some(id(1, 2)));
    assert_eq!(log.group(GroupId(9)).read_vote(), None);
}

#[test]
fn truncation_drops_the_end_and_the_log_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        let group = log.group(G);
        fill(&group, 1, 10, 50);
        truncate(&group, Some(6));
        assert_eq!(group.last(), Some(id(1, 6)));
        append(&group, vec![entry(2, 7, *b"other")]);
        assert_eq!(group.durable_index(), Some(7));
    }
    let log = open(dir.path());
    let group = log.group(G);
    assert_eq!(indexes(&group), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(all(&group)[6].body, &b"other"[..]);
    truncate(&group, None);
    assert_eq!((group.last(), all(&group)), (None, vec![]));
    // An empty log begins anywhere.
    append(&group, vec![entry(3, 40, *b"x")]);
    assert_eq!(indexes(&group), [40]);
}

#[test]
fn truncated_entries_never_come_back_even_if_nothing_followed() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        fill(&log.group(G), 1, 10, 50);
        truncate(&log.group(G), Some(4));
    }
    assert_eq!(open(dir.path()).group(G).last(), Some(id(1, 4)));
}

#[test]
fn a_purge_hides_entries_from_reads_but_not_from_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let check = |log: &Log| {
        let group = log.group(G);
        assert_eq!(
            (group.purged(), group.last()),
            (Some(id(1, 6)), Some(id(1, 10)))
        );
        assert_eq!(indexes(&group), [7, 8, 9, 10]);
        assert_eq!(group.log_id(6), None);
        assert_eq!(group.payload(3, 10, 20).unwrap(), body(3, 50)[10..30]);
        assert!(matches!(
            group.payload(11, 0, 1),
            Err(LogError::Missing { index: 11, .. })
        ));
        assert!(matches!(
            group.payload(3, 40, 11),
            Err(LogError::OutOfBody {
                body: 50,
                end: 51,
                ..
            })
        ));
    };
    {
        let log = open(dir.path());
        fill(&log.group(G), 1, 10, 50);
        log.group(G).purge(id(1, 6)).unwrap();
        check(&log);
    }
    check(&open(dir.path()));
}

#[test]
fn a_purge_beyond_the_end_moves_the_end() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        let group = log.group(G);
        fill(&group, 1, 5, 50);
        group.purge(id(4, 100)).unwrap();
        assert_eq!(
            (group.last(), group.purged(), all(&group)),
            (Some(id(4, 100)), Some(id(4, 100)), vec![])
        );
        let refused = group
            .append(vec![entry(4, 6, *b"x")], ignore())
            .unwrap_err();
        assert!(matches!(
            *refused,
            LogError::OutOfOrder {
                last: 100,
                got: 6,
                ..
            }
        ));
        append(&group, vec![entry(4, 101, *b"x")]);
    }
    let log = open(dir.path());
    assert_eq!(indexes(&log.group(G)), [101]);
    assert_eq!(log.group(G).purged(), Some(id(4, 100)));
}

#[test]
fn reads_keep_the_byte_budget_but_are_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    fill(&group, 1, 10, 1000);
    let count = |range: std::ops::Range<u64>, budget| group.read(range, budget).unwrap().len();
    assert_eq!(count(1..11, 3500), 3);
    assert_eq!(count(1..11, 1), 1);
    assert_eq!(count(4..6, usize::MAX), 2);
    assert_eq!(count(0..100, usize::MAX), 10);
    assert_eq!(count(11..20, usize::MAX), 0);
    assert_eq!(count(5..5, usize::MAX), 0);
}

#[test]
fn entries_out_of_order_or_too_large_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    fill(&group, 5, 6, 10);
    for entries in [
        vec![entry(1, 8, *b"")],
        vec![entry(1, 6, *b"")],
        vec![entry(1, 7, *b""), entry(1, 9, *b"")],
    ] {
        assert!(matches!(
            *group.append(entries, ignore()).unwrap_err(),
            LogError::OutOfOrder { .. }
        ));
    }
    let max = options().body_bytes_max();
    let large = group
        .append(vec![entry(1, 7, vec![0; max + 1])], ignore())
        .unwrap_err();
    assert!(matches!(*large, LogError::TooLarge { .. }));
    assert_eq!(indexes(&group), [5, 6]);
    append(&group, vec![entry(1, 7, vec![7; max])]);
    assert_eq!(all(&group)[2].body.len(), max);
    assert!(matches!(
        *group.truncate_after(Some(20), ignore()).unwrap_err(),
        LogError::Missing { .. }
    ));
}

#[test]
fn a_body_of_every_size_comes_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        cache_bytes: 0,
        ..options()
    };
    let log = Log::open(dir.path(), options).unwrap();
    let group = log.group(G);
    let sizes = [
        0, 1, 7, 8, 9, 100, 16383, 16384, 16385, 32768, 32769, 40000, 49152,
    ];
    for (index, len) in (1..).zip(sizes) {
        append(&group, vec![entry(1, index, body(index, len))]);
    }
    for (index, len) in (1..).zip(sizes) {
        let expected = body(index, len);
        assert_eq!(
            group.read(index..=index, 0).unwrap()[0].body,
            expected,
            "{len} bytes"
        );
        for (from, to) in [
            (0, len),
            (len / 2, len),
            (len / 3, len / 2),
            (len, len),
            (len.saturating_sub(1), len),
        ] {
            let got = group
                .payload(index, from as u32, (to - from) as u32)
                .unwrap();
            assert_eq!(got, expected[from..to], "{from}..{to} of {len}");
        }
    }
    assert!(log.metrics().read().disk_reads > 0);
}

#[test]
fn payloads_come_in_the_order_asked_from_memory_and_from_disk() {
    for cache_bytes in [0, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(
            dir.path(),
            LogOptions {
                cache_bytes,
                ..options()
            },
        )
        .unwrap();
        let group = log.group(G);
        fill(&group, 1, 4, 45000);
        let place = |index, offset, len| PayloadRef { index, offset, len };
        let places = [
            place(3, 44000, 1000),
            place(1, 0, 10),
            place(3, 5, 20000),
            place(1, 10, 10),
            place(4, 16384, 1),
        ];
        let found = group.payloads(&places).unwrap();
        for (place, bytes) in places.iter().zip(found) {
            let (from, to) = (place.offset as usize, (place.offset + place.len) as usize);
            assert_eq!(bytes, body(place.index, 45000)[from..to]);
        }
        assert!(matches!(
            group.payloads(&[place(1, 0, 1), place(9, 0, 1)]),
            Err(LogError::Missing { index: 9, .. })
        ));
        assert!(matches!(
            group.payloads(&[place(1, 45000, 1)]),
            Err(LogError::OutOfBody { .. })
        ));
        assert_eq!(group.payloads(&[]).unwrap(), Vec::<Bytes>::new());
    }
}

#[test]
fn the_cache_keeps_to_its_budget_and_to_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(
        dir.path(),
        LogOptions {
            cache_bytes: 10_000,
            ..options()
        },
    )
    .unwrap();
    fill(&log.group(G), 1, 50, 1000);
    assert!(log.metrics().read().cache_bytes <= 10_000);
    log.group(G).payload(50, 0, 1000).unwrap();
    assert_eq!(log.metrics().read().disk_reads, 0);
    log.group(G).payload(1, 0, 1000).unwrap();
    assert_eq!(log.metrics().read().disk_reads, 1);
}

#[test]
fn waiting_for_durability_ends_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    let (done, told) = waiter();
    group.when_durable(3, done);
    fill(&group, 1, 2, 10);
    assert!(told.try_recv().is_err());
    group.append(vec![entry(1, 3, *b"x")], ignore()).unwrap();
    group.wait_durable(3).unwrap();
    told.recv().unwrap().unwrap();
    group.wait_durable(1).unwrap();
    let (done, told) = waiter();
    group.when_durable(99, done);
    log.close().unwrap();
    assert!(matches!(
        *told.recv().unwrap().unwrap_err(),
        LogError::Closed
    ));
}

#[test]
fn after_close_writes_are_refused_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let group = log.group(G);
    fill(&group, 1, 2, 10);
    log.close().unwrap();
    log.close().unwrap();
    assert!(matches!(
        *group
            .append(vec![entry(1, 3, *b"x")], ignore())
            .unwrap_err(),
        LogError::Closed
    ));
    assert!(matches!(
        *group.wait_durable(3).unwrap_err(),
        LogError::Closed
    ));
    assert_eq!(indexes(&group), [1, 2]);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(matches!(
        Log::open(dir.path(), options()),
        Err(LogError::InUse(_))
    ));
    drop(log);
    open(dir.path());
}

#[test]
fn groups_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(dir.path());
        for index in 1..=10 {
            for group in 1..=3 {
                append(
                    &log.group(GroupId(group)),
                    vec![entry(1, index, format!("{group}/{index}"))],
                );
            }
        }
        truncate(&log.group(GroupId(2)), Some(4));
        log.group(GroupId(3)).purge(id(1, 7)).unwrap();
    }
    let log = open(dir.path());
    assert_eq!(log.groups(), [GroupId(1), GroupId(2), GroupId(3)]);
    assert_eq!(
        indexes(&log.group(GroupId(1))),
        (1..=10).collect::<Vec<_>>()
    );
    assert_eq!(indexes(&log.group(GroupId(2))), [1, 2, 3, 4]);
    assert_eq!(indexes(&log.group(GroupId(3))), [8, 9, 10]);
    assert_eq!(log.group(GroupId(2)).payload(3, 0, 3).unwrap(), "2/3");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [
        LogOptions {
            segment_bytes: 4096,
            ..options()
        },
        LogOptions {
            segment_bytes: (64 << 10) + 8,
            ..options()
        },
        LogOptions {
            spare_segments: 0,
            ..options()
        },
        LogOptions {
            free_segments_max: 1,
            ..options()
        },
    ];
    for options in bad {
        assert!(matches!(
            Log::open(dir.path(), options),
            Err(LogError::Options(_))
        ));
    }
}

#[test]
fn a_log_is_read_with_another_segment_size_than_it_was_written_with() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()).group(G), 1, 100, 3000);
    let larger = LogOptions {
        segment_bytes: 256 << 10,
        ..options()
    };
    {
        let log = Log::open(dir.path(), larger).unwrap();
        fill(&log.group(G), 101, 200, 3000);
    }
    let log = open(dir.path());
    assert_eq!(indexes(&log.group(G)), (1..=200).collect::<Vec<_>>());
    fill(&log.group(G), 201, 300, 3000);
}
