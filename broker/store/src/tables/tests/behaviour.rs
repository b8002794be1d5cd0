//! What tables do, one behaviour a test.

use std::time::Duration;

use super::*;

fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never happened: {what}");
}

#[test]
fn a_flush_survives_and_what_follows_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    assert!(store.is_new());
    assert_eq!((tables.applied(), tables.flushed()), (0, 0));
    tables.insert(b"a", b"1".to_vec());
    tables.set_system("members", b"n1".to_vec());
    tables.commit(7);
    assert_eq!((tables.applied(), tables.flushed()), (7, 0));
    tables.flush().unwrap();
    assert_eq!(tables.flushed(), 7);
    tables.put(b"a", b"2".to_vec());
    tables.insert(b"b", b"3".to_vec());
    tables.commit(8);
    assert_eq!(all(&tables).len(), 2);
    drop((store, tables));

    let (store, tables) = open(dir.path(), lazy());
    assert!(!store.is_new());
    assert_eq!((tables.applied(), tables.flushed()), (7, 7));
    assert_eq!(all(&tables), [(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!(tables.system("members").unwrap().unwrap(), b"n1");
    assert_eq!(tables.system("member").unwrap(), None);
}

#[test]
fn what_is_not_committed_is_never_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    tables.put(b"a", b"1".to_vec());
    tables.commit(1);
    tables.flush().unwrap();
    tables.put(b"a", b"2".to_vec());
    assert_eq!(tables.get(b"a").unwrap().unwrap(), b"2");
    drop((store, tables));
    let (_store, tables) = open(dir.path(), lazy());
    assert_eq!(tables.get(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn rows_of_a_short_life_are_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    for n in 0..1_000_u64 {
        let key = [b"m", &n.to_be_bytes()[..]].concat();
        tables.insert(&key, vec![1; 40]);
        tables.commit(3 * n);
        tables.put(&key, vec![2; 40]);
        tables.commit(3 * n + 1);
        tables.remove(&key);
        tables.commit(3 * n + 2);
    }
    tables.flush().unwrap();
    let counted = store.metrics().read();
    // The one row is the position.
    assert_eq!((counted.rows_written, counted.rows_elided), (1, 1_000));
    assert_eq!(
        (counted.flushes, counted.syncs, counted.overlay_bytes),
        (1, 1, 0)
    );
    assert_eq!(all(&tables), []);
}

#[test]
fn a_row_inserted_over_a_removal_stays_removed_when_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), lazy());
    tables.insert(b"a", b"old".to_vec());
    tables.commit(1);
    tables.flush().unwrap();
    tables.remove(b"a");
    tables.insert(b"a", b"new".to_vec());
    tables.remove(b"a");
    tables.commit(2);
    assert_eq!(tables.get(b"a").unwrap(), None);
    tables.flush().unwrap();
    assert_eq!(tables.get(b"a").unwrap(), None);
    assert_eq!(all(&tables), []);
}

#[test]
fn scans_merge_memory_with_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), lazy());
    let key = |n: u8| vec![b'm', n];
    (0..20).for_each(|n| tables.insert(&key(n), vec![0]));
    tables.commit(1);
    tables.flush().unwrap();
    (0..20).step_by(3).for_each(|n| tables.remove(&key(n)));
    (0..20)
        .step_by(5)
        .for_each(|n| tables.put(&key(n), vec![1]));
    (20..23).for_each(|n| tables.insert(&key(n), vec![2]));
    let expected: Vec<_> = (0..23_u8)
        .filter(|n| n % 5 == 0 || *n >= 20 || n % 3 != 0)
        .map(|n| (key(n), vec![if n >= 20 { 2 } else { u8::from(n % 5 == 0) }]))
        .collect();
    // 20 is a multiple of five and new: written once, as 2.
    assert_eq!(all(&tables), expected);
    for limit in 0..expected.len() {
        assert_eq!(tables.scan(b"m", b"n", limit).unwrap(), expected[..limit]);
    }
    assert_eq!(tables.scan(&key(5), &key(5), 9).unwrap(), []);
    assert_eq!(tables.scan(b"n", b"m", 9).unwrap(), []);
}

#[test]
fn system_rows_are_invisible_to_machines() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), lazy());
    tables.set_system("vote", vec![1]);
    tables.retain(place(150), 2);
    tables.commit(200);
    for flushed in [false, true] {
        if flushed {
            tables.flush().unwrap();
        }
        assert_eq!(all(&tables), []);
        assert_eq!(tables.get(b"\0svote").unwrap(), None);
        assert_eq!(tables.get(b"\0a").unwrap(), None);
    }
}

#[test]
#[should_panic(expected = "is reserved")]
fn machines_do_not_write_system_rows() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), lazy()).1.put(b"\0x", vec![]);
}

#[test]
fn age_alone_flushes_and_syncs_and_then_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Hundreds::default());
    let options = TableOptions {
        flush_age: Duration::from_millis(50),
        sync_age: Duration::from_millis(50),
        segments: log.clone(),
        ..lazy()
    };
    let (store, mut tables) = open(dir.path(), options);
    assert_eq!(log.told(GROUP), (0, vec![]));
    tables.put(b"a", vec![1]);
    tables.commit(5);
    wait_until("a sync", || tables.flushed() == 5);
    wait_until("the log is told", || log.told(GROUP).0 == 5);
    let counted = store.metrics().read();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(store.metrics().read(), counted);
    assert_eq!((counted.flushes, counted.syncs), (1, 1));
}

#[test]
fn an_open_batch_delays_a_flush_by_age_and_does_not_prevent_it() {
    let dir = tempfile::tempdir().unwrap();
    let age = Duration::from_millis(30);
    let (store, mut tables) = open(
        dir.path(),
        TableOptions {
            flush_age: age,
            ..lazy()
        },
    );
    tables.put(b"a", vec![1]);
    tables.commit(1);
    tables.put(b"a", vec![2]);
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(store.metrics().read().flushes, 0);
    tables.commit(2);
    wait_until("a flush", || store.metrics().read().flushes == 1);
}

#[test]
fn full_memory_makes_the_owner_wait_for_the_flusher() {
    let dir = tempfile::tempdir().unwrap();
    let options = TableOptions {
        flush_bytes: 20_000,
        flush_bytes_max: 40_000,
        ..lazy()
    };
    let (store, mut tables) = open(dir.path(), options);
    for n in 0..20_000_u64 {
        tables.put(&[b"m", &n.to_be_bytes()[..]].concat(), vec![1; 100]);
        tables.commit(n);
        assert!(store.metrics().read().overlay_bytes < 82_000);
    }
    let counted = store.metrics().read();
    assert!(counted.flushes > 50, "{counted:?}");
    assert_eq!(all(&tables).len(), 20_000);
}

#[test]
fn references_are_counted_by_segment_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Hundreds::default());
    let options = || TableOptions {
        segments: log.clone(),
        ..lazy()
    };
    let (store, mut tables) = open(dir.path(), options());
    tables.retain(place(150), 3);
    tables.retain(place(199), 1);
    tables.retain(place(310), 1);
    tables.commit(310);
    assert_eq!(
        tables.references(),
        BTreeMap::from([(SegmentId(1), 4), (SegmentId(3), 1)])
    );
    tables.flush().unwrap();
    assert_eq!(log.told(GROUP), (310, vec![1, 3]));
    tables.release(place(150), 3);
    tables.release(place(199), 1);
    tables.commit(320);
    // The synced state still refers to segment 1, and after a crash the present one is gone.
    assert_eq!(tables.references(), BTreeMap::from([(SegmentId(3), 1)]));
    assert_eq!(
        tables.live_segments_flushed(),
        BTreeSet::from([SegmentId(1), SegmentId(3)])
    );
    drop((store, tables));

    let (store, mut tables) = open(dir.path(), options());
    assert_eq!(
        tables.references(),
        BTreeMap::from([(SegmentId(1), 4), (SegmentId(3), 1)])
    );
    tables.release(place(150), 4);
    tables.commit(320);
    tables.flush().unwrap();
    assert_eq!(log.told(GROUP), (320, vec![3]));
    drop((store, tables));
    let (_store, tables) = open(dir.path(), options());
    assert_eq!(tables.references(), BTreeMap::from([(SegmentId(3), 1)]));
}

#[test]
fn a_request_syncs_soon_and_log_bytes_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = TableOptions {
        sync_log_bytes: 1_000,
        ..lazy()
    };
    let (_store, mut tables) = open(dir.path(), options);
    tables.put(b"a", vec![1]);
    tables.commit(1);
    tables.request_sync();
    wait_until("a sync", || tables.flushed() == 1);
    tables.put(b"a", vec![2]);
    tables.commit(2);
    tables.note_log_bytes(600);
    tables.note_log_bytes(600);
    wait_until("another", || tables.flushed() == 2);
}

#[test]
fn groups_are_apart_and_have_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut one) = open(dir.path(), lazy());
    let mut two = store.group(GroupId(2)).unwrap();
    one.put(b"a", vec![1]);
    one.commit(1);
    two.put(b"a", vec![2]);
    two.commit(9);
    one.flush().unwrap();
    two.flush().unwrap();
    assert!(store.group(GROUP).is_err());
    drop(one);
    let one = store.group(GROUP).unwrap();
    assert_eq!(one.get(b"a").unwrap().unwrap(), [1]);
    assert_eq!((one.applied(), two.applied()), (1, 9));
    assert!(
        TableStore::open(dir.path().join("tables"), lazy()).is_err(),
        "in use"
    );
}

#[test]
fn a_snapshot_is_one_commit_and_restores_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    (0..100_u8).for_each(|n| tables.insert(&[b'm', n], vec![n; 50]));
    tables.set_system("members", vec![9]);
    tables.retain(place(150), 3);
    tables.commit(150);
    let snapshot = tables.handle().snapshot(false).unwrap();
    tables.remove(&[b'm', 3]);
    tables.commit(151);
    tables.flush().unwrap();
    let rows: Vec<_> = snapshot.rows().collect::<Result<_, _>>().unwrap();
    assert_eq!((snapshot.applied(), rows.len()), (150, 101));
    assert!(rows.is_sorted());

    let elsewhere = tempfile::tempdir().unwrap();
    let (other_store, mut other) = open(elsewhere.path(), lazy());
    other.put(b"junk", vec![1]);
    other.retain(place(20), 1);
    other.commit(1);
    let mut staged = other.handle().stage().unwrap();
    staged
        .add_payloads(&[(place(150), 3, b"ten bytes.")])
        .unwrap();
    staged.add_rows(rows).unwrap();
    staged.finish(150).unwrap();
    assert!(other.handle().stage().is_err(), "one at a time");
    assert_eq!(all(&other).len(), 1, "nothing is touched before");
    other.install(staged).unwrap();
    let check = |other: &GroupTables| {
        assert_eq!(all(other).len(), 100);
        assert_eq!(other.system("members").unwrap().unwrap(), [9]);
        assert_eq!((other.applied(), other.flushed()), (150, 150));
        assert_eq!(other.references(), BTreeMap::new());
        let handle = other.handle();
        assert_eq!(handle.floor(), 150);
        assert_eq!(
            handle.payload(place(150)).unwrap().unwrap(),
            &b"ten bytes."[..]
        );
        assert_eq!((handle.outside().payloads, handle.outside().bytes), (1, 10));
    };
    check(&other);
    drop((other_store, other));
    let (other_store, mut other) = open(elsewhere.path(), lazy());
    check(&other);
    assert_eq!(
        other_store.inner.db.keyspace_count(),
        2,
        "the old rows are gone"
    );
    other.put(b"more", vec![1]);
    other.release(place(150), 2);
    other.commit(151);
    other.flush().unwrap();
    let handle = other.handle();
    assert!(handle.payload(place(150)).unwrap().is_some());
    other.release(place(150), 1);
    other.commit(152);
    other.flush().unwrap();
    assert_eq!(
        handle.payload(place(150)).unwrap(),
        None,
        "gone with its last reference"
    );
    assert_eq!(handle.outside().payloads, 0);
    other.health().unwrap();
    other.release(place(150), 1);
    other.commit(153);
    assert!(other.health().is_err(), "more is released than there was");
    drop((store, tables));
}

#[test]
fn a_snapshot_that_is_not_in_order_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    tables.put(b"a", vec![1]);
    tables.commit(5);
    let row = |key: &[u8]| (key.to_vec(), vec![7]);
    for rows in [
        vec![row(b"b"), row(b"a")],
        vec![row(b"\0a")],
        vec![row(b"a"), row(b"a")],
    ] {
        let mut staged = tables.handle().stage().unwrap();
        assert!(staged.add_rows(rows).is_err());
    }
    let mut staged = tables.handle().stage().unwrap();
    staged.add_payloads(&[(place(7), 1, [1; 10])]).unwrap();
    assert!(staged.add_payloads(&[(place(7), 1, [1; 10])]).is_err());
    assert!(staged.add_payloads(&[(place(8), 1, [1; 9])]).is_err());
    assert!(staged.add_payloads(&[(place(8), 0, [1; 10])]).is_err());
    assert!(tables.install(staged).is_err(), "it is not complete");
    tables.health().unwrap();
    assert_eq!(all(&tables), [(b"a".to_vec(), vec![1])]);
    assert_eq!(store.inner.db.keyspace_count(), 2);
    let mut staged = tables.handle().stage().unwrap();
    staged.add_rows(vec![row(b"b")]).unwrap();
    staged.finish(4).unwrap();
    tables.install(staged).unwrap();
    assert_eq!((tables.applied(), all(&tables).len()), (4, 1));
    drop((store, tables));
    assert_eq!(open(dir.path(), lazy()).1.applied(), 4);
}

#[test]
fn a_snapshot_cut_off_by_a_crash_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    tables.put(b"a", vec![1]);
    tables.commit(5);
    tables.flush().unwrap();
    // What a snapshot leaves before its last batch.
    let half = store.inner.home(GROUP, 1).unwrap();
    half.rows.insert("b", "2").unwrap();
    half.payloads.insert("b", "2").unwrap();
    drop(half);
    drop((store, tables));
    let (store, tables) = open(dir.path(), lazy());
    assert_eq!(all(&tables), [(b"a".to_vec(), vec![1])]);
    assert_eq!(store.inner.db.keyspace_count(), 2);
    assert_eq!(tables.leftovers(), 1);
}

#[test]
fn drained_tables_give_their_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), lazy());
    let key = |n: u32| [b"m", &n.to_be_bytes()[..]].concat();
    (0..120_000).for_each(|n| tables.put(&key(n), vec![7; 40]));
    tables.commit(1);
    tables.flush().unwrap();
    let handle = tables.handle();
    assert!(!handle.tidy(0).unwrap(), "nothing was removed");
    (0..119_000).for_each(|n| tables.remove(&key(n)));
    tables.commit(2);
    tables.flush().unwrap();
    assert!(handle.tidy(0).unwrap());
    let rows = tables
        .handle()
        .upgrade()
        .unwrap()
        .1
        .lock()
        .home
        .rows
        .clone();
    assert!(rows.disk_space() < 1 << 20, "{} bytes", rows.disk_space());
    assert_eq!(all(&tables).len(), 1_000);
    assert!(!handle.tidy(0).unwrap(), "once");
}

/// Name and niceness of each thread of this process, from `/proc`.
#[cfg(target_os = "linux")]
fn threads() -> Vec<(String, i64)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One may have ended meanwhile.
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let of = |stat: String| {
        let (front, back) = stat.rsplit_once(')')?;
        let (_, name) = front.split_once('(')?;
        // proc(5): the nineteenth field; the third is the first behind the name.
        let nice = back.split_whitespace().nth(16)?.parse().ok()?;
        Some((name.to_owned(), nice))
    };
    stats.filter_map(of).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn what_writes_tables_runs_behind_others() {
    let own = rustix::process::nice(0).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let _open = open(dir.path(), lazy());
    for name in ["tables", "fjall:worker"] {
        // Those of other tests may just be starting.
        wait_until("every such thread runs behind this one", || {
            let threads = threads();
            let mut such = threads
                .iter()
                .filter(|(thread, _)| thread == name)
                .peekable();
            such.peek().is_some() && such.all(|(_, nice)| (i64::from(own) + 5).min(19) == *nice)
        });
    }
    assert_eq!(rustix::process::nice(0).unwrap(), own, "and only those");
}
