//! Many at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use millrace_model::GroupId;
use millrace_store::log::{Log, LogOptions};

use crate::support::*;

#[test]
fn many_appends_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let observed = Arc::clone(&seen);
    let on_sync: millrace_store::log::SyncObserver = Arc::new(move |_| {
        observed.fetch_add(1, Relaxed);
    });
    let options = LogOptions {
        segment_bytes: 8 << 20,
        on_sync: Some(on_sync),
        ..options()
    };
    let log = Log::open(dir.path(), options).unwrap();
    let before = log.metrics().read();
    let mut told = Vec::new();
    for index in 1..=500 {
        for group in 1..=4 {
            let (done, outcome) = waiter();
            log.group(GroupId(group))
                .append(vec![entry(1, index, body(index, 100))], done)
                .unwrap();
            told.push(outcome);
        }
    }
    for outcome in told {
        outcome.recv().unwrap().unwrap();
    }
    let after = log.metrics().read();
    assert_eq!(after.batches - before.batches, 2000);
    assert!(
        after.syncs - before.syncs < 1000,
        "{} syncs for 2000 appends",
        after.syncs - before.syncs
    );
    assert_eq!(seen.load(Relaxed), after.syncs);
    assert!(after.sync_time > before.sync_time);
}

#[test]
fn callbacks_come_in_order_over_all_groups() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let order = Arc::new(Mutex::new(Vec::new()));
    for index in 1..=100 {
        for group in 1..=3 {
            let order = Arc::clone(&order);
            let done = Box::new(move |_| order.lock().unwrap().push((index, group)));
            log.group(GroupId(group))
                .append(vec![entry(1, index, *b"x")], done)
                .unwrap();
        }
    }
    log.close().unwrap();
    let expected: Vec<_> = (1..=100)
        .flat_map(|index| (1..=3).map(move |group| (index, group)))
        .collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[test]
fn readers_see_whole_entries_while_they_are_written_truncated_and_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        cache_bytes: 20_000,
        segment_bytes: 256 << 10,
        ..options()
    };
    let log = Log::open(dir.path(), options).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let group = log.group(G);
                while !over.load(Relaxed) {
                    let entries = group.read(.., 200_000).unwrap();
                    for (at, entry) in entries.iter().enumerate() {
                        assert_eq!(entry.index, entries[0].index + at as u64);
                        assert_eq!(entry.body, body(entry.index * 1000 + entry.term, 700));
                    }
                }
            });
        }
        let group = log.group(G);
        let mut index = 0;
        for term in 1..=60 {
            let entries = (index + 1..=index + 20)
                .map(|index| entry(term, index, body(index * 1000 + term, 700)));
            append(&group, entries.collect());
            index += 20 - term % 5;
            truncate(&group, Some(index));
            group.purge(id(0, index.saturating_sub(150))).unwrap();
        }
        over.store(true, Relaxed);
    });
}

#[test]
fn a_full_queue_holds_up_the_caller_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(
        dir.path(),
        LogOptions {
            queue_bytes: 5000,
            segment_bytes: 1 << 20,
            ..options()
        },
    )
    .unwrap();
    let group = log.group(G);
    for index in 1..=1000 {
        group
            .append(vec![entry(1, index, body(index, 1000))], ignore())
            .unwrap();
        assert!(log.metrics().read().queue_bytes <= 7000);
    }
    group.wait_durable(1000).unwrap();
    assert_eq!(indexes(&group).len(), 1000);
}

#[test]
fn an_idle_log_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log.group(G), 1, 10, 100);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let before = log.metrics().read();
    for index in 0..10 {
        log.group(G).save_committed(Some(id(1, index)));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(log.metrics().read(), before);
}
