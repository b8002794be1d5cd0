use super::*;
use crate::spill::round::Round;

/// Ten sparse segments: of each entry one payload lives, and of every third none.
fn sparse(dir: &Path) -> Node {
    let mut node = Node::open(dir);
    node.fill(120);
    node.thin(|place| place.offset == 3 * PAYLOAD_BYTES && place.index % 3 > 0);
    node
}

#[test]
fn sparse_segments_are_emptied_given_back_and_read_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = sparse(dir.path());
    let before = node.segments();
    assert!(before > 8, "{before} segments");
    let mut spiller = node.spiller();
    while spiller.round().unwrap() > 0 {}
    node.check();
    eventually("segments are given back", || {
        node.tables.flush().unwrap();
        node.segments() <= 3
    });
    node.check();
    // Without the cache: the newest entries are in memory only until a restart.
    drop((node, spiller));
    let mut node = Node::open(dir.path());
    node.check();
    let outside = node.tables.handle().outside();
    assert!(outside.payloads > 50, "{outside:?}");
    for place in node.live() {
        node.drop_one(place, 0);
    }
    node.commit();
    node.settle();
    node.check();
    assert_eq!(node.tables.handle().outside().payloads, 0);
}

#[test]
fn what_changes_during_a_move_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = sparse(dir.path());
    let kept: Vec<_> = node.live().into_iter().take(4).collect();
    let ids: BTreeSet<_> = node
        .log
        .kept_for_payloads()
        .iter()
        .map(|(id, _)| *id)
        .collect();
    let present = node
        .log
        .segments()
        .iter()
        .map(|segment| segment.id)
        .collect();
    let handle = node.tables.handle();
    let mut round = Round::begin(&handle, node.log.group(GROUP), ids.clone()).unwrap();
    // Before the rows are read, after, and in the middle of a batch.
    node.drop_one(kept[0], 0);
    node.commit();
    round.collect(reference, 1_000).unwrap().unwrap();
    node.add(kept[1], 1);
    node.commit();
    node.drop_one(kept[2], 0);
    let worth: Vec<_> = ids.into_iter().collect();
    round.move_out(&worth, &present).unwrap();
    drop(round);
    node.drop_one(kept[3], 0);
    node.commit();
    node.check();
    node.drop_one(kept[1], 0);
    node.commit();
    node.check();
    node.drop_one(kept[1], 1);
    node.commit();
    node.settle();
    node.check();
    drop(node);
    Node::open(dir.path()).check();
}

#[test]
fn a_crash_after_each_step_leaves_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = sparse(dir.path());
    let live = node.live();
    let ids: BTreeSet<_> = node
        .log
        .kept_for_payloads()
        .iter()
        .map(|(id, _)| *id)
        .collect();
    let present = node
        .log
        .segments()
        .iter()
        .map(|segment| segment.id)
        .collect();
    let worth: Vec<_> = ids.iter().copied().collect();
    let check = |step: &str, moved: bool| {
        let crashed = copy(dir.path());
        let mut node = Node::open(crashed.path());
        assert_eq!(node.live(), live, "after {step}");
        node.check();
        let outside = node.tables.handle().outside();
        assert_eq!(outside.payloads > 0, moved, "after {step}: {outside:?}");
        while node.spiller().round().unwrap() > 0 {}
        node.check();
        eventually("segments are given back", || {
            node.tables.flush().unwrap();
            node.segments() <= 3
        });
        node.check();
    };
    let handle = node.tables.handle();
    let mut round = Round::begin(&handle, node.log.group(GROUP), ids.clone()).unwrap();
    check("the note", false);
    round.collect(reference, 1_000).unwrap().unwrap();
    round.copy().unwrap();
    check("the copy", false);
    round.switch(&worth, &present).unwrap();
    node.tables.flush().unwrap();
    check("the switch", true);
    drop(round);
    node.check();
    eventually("segments are given back", || node.segments() <= 3);
    check("the end", true);
}

#[test]
fn a_move_that_fails_leaves_nothing_and_the_next_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = sparse(dir.path());
    let ids: BTreeSet<_> = node
        .log
        .kept_for_payloads()
        .iter()
        .map(|(id, _)| *id)
        .collect();
    let present = node
        .log
        .segments()
        .iter()
        .map(|segment| segment.id)
        .collect();
    let worth: Vec<_> = ids.iter().copied().collect();
    let handle = node.tables.handle();
    let mut round = Round::begin(&handle, node.log.group(GROUP), ids.clone()).unwrap();
    assert!(
        Round::begin(&handle, node.log.group(GROUP), ids).is_err(),
        "one at a time"
    );
    round.collect(reference, 1_000).unwrap().unwrap();
    // More changes than are kept.
    let place = node.live().into_iter().next().unwrap();
    for _ in 0..40_000 {
        node.tables.retain(place, 1);
        node.tables.commit(node.tables.applied());
        node.tables.release(place, 1);
        node.tables.commit(node.tables.applied());
    }
    assert!(round.move_out(&worth, &present).is_err());
    drop(round);
    assert_eq!(handle.outside().payloads, 0);
    let snapshot = node.tables.snapshot().unwrap();
    assert_eq!(snapshot.stored().count(), 0, "nothing is left");
    drop(snapshot);
    node.check();
    while node.spiller().round().unwrap() > 0 {}
    node.check();
    drop(node);
    Node::open(dir.path()).check();
}

#[test]
fn bytes_that_rot_outside_the_log_are_a_fault_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = sparse(dir.path());
    while node.spiller().round().unwrap() > 0 {}
    eventually("segments are given back", || {
        node.tables.flush().unwrap();
        node.segments() <= 3
    });
    let live: Vec<_> = node.live().into_iter().collect();
    drop(node);
    // In every file of the payloads' keyspace that holds values, a byte in the middle.
    let mut flipped = 0;
    for folder in std::fs::read_dir(dir.path().join("tables/keyspaces")).unwrap() {
        let Ok(blobs) = std::fs::read_dir(folder.unwrap().path().join("blobs")) else {
            continue;
        };
        for file in blobs {
            let path = file.unwrap().path();
            let mut content = std::fs::read(&path).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 4;
            std::fs::write(&path, content).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 0);
    let mut node = Node::open(dir.path());
    let mut faults = 0;
    for place in live {
        match node.payloads.read(&[place]) {
            Ok(read) => assert_eq!(read[0], bytes(place)),
            Err(_) => faults += 1,
        }
    }
    assert!(faults > 0);
    let snapshot = node.tables.snapshot().unwrap();
    let findings = crate::spill::audit::audit(&snapshot, &node.log, reference).unwrap();
    assert!(!findings.is_empty());
}
