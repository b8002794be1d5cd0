//! From one node's disk to another's.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::{Fault, Tables as _};

use super::*;
use crate::spill::tests::{GROUP, Node, place, reference};
use crate::tables::Staging;

fn source(node: &Node) -> Arc<SnapshotSource> {
    let handle = node.tables.handle();
    let source = SnapshotSource::take(&handle, node.log.group(GROUP), reference, true);
    Arc::new(source.unwrap())
}

fn chunks(node: &Node) -> Vec<Bytes> {
    source(node).chunks().collect::<Result<_, _>>().unwrap()
}

fn receive(node: &Node, chunks: &[Bytes]) -> Result<Staging, Fault> {
    let mut incoming = Incoming::begin(&node.tables.handle())?;
    chunks.iter().try_for_each(|chunk| incoming.push(chunk))?;
    incoming.finish()
}

/// A node with payloads in the log, outside of it, and referred to twice.
fn sender(dir: &std::path::Path) -> Node {
    let mut node = Node::open(dir);
    node.fill(60);
    node.thin(|place| place.offset == 0);
    while node.spiller().round().unwrap() > 0 {}
    assert!(node.tables.handle().outside().payloads > 0);
    node.fill(40);
    node.add(place(70, 3), 1);
    node.tables.set_system("members", vec![1, 2, 3]);
    node.commit();
    node
}

#[test]
fn rows_and_payloads_arrive_over_whatever_was_there() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = sender(from.path());
    let mut receiver = Node::open(to.path());
    // Entries of the same indexes with another content, of which some are outside the log.
    receiver.fill(30);
    receiver.thin(|place| place.offset == 500);
    while receiver.spiller().round().unwrap() > 0 {}
    let staged = receive(&receiver, &chunks(&sender)).unwrap();
    assert_eq!(staged.system("members").unwrap().unwrap(), [1, 2, 3]);
    assert_eq!(
        receiver.live().iter().next().unwrap().offset,
        500,
        "nothing is touched yet"
    );
    receiver.tables.install(staged).unwrap();
    for _ in 0..2 {
        assert_eq!(receiver.live(), sender.live());
        assert_eq!(receiver.tables.applied(), 100);
        let rows = |node: &Node| node.tables.scan(b"A", b"z", usize::MAX).unwrap();
        assert_eq!(rows(&receiver), rows(&sender));
        receiver.check();
        drop(receiver);
        // The log ends before the tables: whoever opens them purges it.
        receiver = Node::open(to.path());
    }
    sender.check();
    receiver.drop_one(place(70, 3), 0);
    receiver.commit();
    receiver.check();
    receiver.drop_one(place(70, 3), 1);
    receiver.commit();
    receiver.tables.flush().unwrap();
    receiver.check();
    assert_eq!(
        receiver.tables.handle().payload(place(70, 3)).unwrap(),
        None
    );
    // From the receiver it goes on to a third one.
    let third = tempfile::tempdir().unwrap();
    let mut third = Node::open(third.path());
    let staged = receive(&third, &chunks(&receiver)).unwrap();
    third.tables.install(staged).unwrap();
    assert_eq!(third.live(), receiver.live());
    third.check();
}

#[test]
fn what_a_snapshot_needs_stays_until_it_is_read() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = sender(from.path());
    let live = sender.live();
    let source = source(&sender);
    let segments = sender.segments();
    sender.thin(|_| false);
    sender.fill(100);
    sender.thin(|_| false);
    let mut receiver = Node::open(to.path());
    let chunks: Vec<_> = source.chunks().collect::<Result<_, _>>().unwrap();
    let staged = receive(&receiver, &chunks).unwrap();
    receiver.tables.install(staged).unwrap();
    assert_eq!(receiver.live(), live);
    receiver.check();
    drop(source);
    crate::spill::tests::eventually("segments are given back", || {
        sender.tables.flush().unwrap();
        sender.segments() < segments
    });
}

#[test]
fn damaged_chunks_and_wrong_orders_are_refused_and_change_nothing() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sender = sender(from.path());
    let mut receiver = Node::open(to.path());
    receiver.fill(3);
    let live = receiver.live();
    let good = chunks(&sender);
    assert!(good.len() >= 3, "{} chunks", good.len());
    let refused = |chunks: &[Bytes], why: &str| {
        let fault = receive(&receiver, chunks).err().unwrap().to_string();
        assert!(fault.contains(why), "{fault}");
    };
    let changed = |at: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut chunks = good.clone();
        let mut chunk = chunks[at].to_vec();
        change(&mut chunk);
        chunks[at] = chunk.into();
        chunks
    };
    let middle = good.len() / 2;
    refused(&good[..good.len() - 1], "without the last");
    refused(&good[1..], "where 0 was expected");
    refused(
        &[&good[..=middle], &good[middle..]].concat(),
        "was expected",
    );
    refused(
        &[&good[..middle], &good[middle + 1..]].concat(),
        "was expected",
    );
    refused(&[&good[..], &good[..1]].concat(), "after the last");
    refused(&changed(middle, &|chunk| chunk.truncate(1_000)), "bytes of");
    refused(&changed(middle, &|chunk| chunk.truncate(9)), "cut off");
    refused(
        &changed(middle, &|chunk| chunk.resize(3 << 20, 0)),
        "too long",
    );
    refused(&changed(0, &|chunk| chunk[4] = 9), "newer");
    refused(&changed(0, &|chunk| chunk[0] = 0), "no chunk");
    for at in 8..CHUNK_HEADER_BYTES {
        receive(&receiver, &changed(middle, &|chunk| chunk[at] ^= 1)).unwrap_err();
    }
    for at in (CHUNK_HEADER_BYTES..good[middle].len()).step_by(good[middle].len() / 8) {
        refused(&changed(middle, &|chunk| chunk[at] ^= 1), "checksum");
    }
    assert_eq!(receiver.live(), live);
    receiver.check();
}

#[test]
fn chunks_that_are_sound_and_lie_are_refused() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sender = sender(from.path());
    let mut receiver = Node::open(to.path());
    receiver.fill(3);
    let live = receiver.live();
    let good = chunks(&sender);
    let refused = |chunks: &[Bytes], why: &str| {
        let fault = receive(&receiver, chunks).err().unwrap().to_string();
        assert!(fault.contains(why), "{fault}");
    };
    let mut other = chunks(&sender);
    other[0] = good[0].clone();
    refused(&other, "another snapshot");
    let (header, payload) = chunk::Header::decode(&good[0]).unwrap();
    let mut group = payload.to_vec();
    group[0] ^= 7;
    let mut wrong = good.clone();
    wrong[0] = header.encode(&group);
    refused(&wrong, "it is of group");
    let last = good.len() - 1;
    let (header, payload) = chunk::Header::decode(&good[last]).unwrap();
    let mut digest = payload.to_vec();
    digest[20] ^= 7;
    let mut wrong = good.clone();
    wrong[last] = header.encode(&digest);
    refused(&wrong, "digests differ");
    let (header, _) = chunk::Header::decode(&good[1]).unwrap();
    let mut wrong = good.clone();
    wrong[1] = header.encode(&[2, 1, 0, 0xff, 0xff, 0xff, 0xff]);
    refused(&wrong, "too long");
    assert_eq!(receiver.live(), live);
    receiver.check();
}

#[test]
fn a_crash_while_it_arrives_leaves_the_old_state() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sender = sender(from.path());
    let mut receiver = Node::open(to.path());
    receiver.fill(3);
    receiver.tables.flush().unwrap();
    let live = receiver.live();
    let good = chunks(&sender);
    let mut half = Incoming::begin(&receiver.tables.handle()).unwrap();
    for chunk in &good[..good.len() - 1] {
        half.push(chunk).unwrap();
    }
    let crashed = crate::spill::tests::copy(to.path());
    drop(half);
    let mut node = Node::open(crashed.path());
    assert_eq!(node.live().len(), live.len());
    node.check();
    let staged = receive(&node, &good).unwrap();
    node.tables.install(staged).unwrap();
    assert_eq!(node.live(), sender.live());
    node.check();
    let staged = receive(&receiver, &good).unwrap();
    receiver.tables.install(staged).unwrap();
    receiver.check();
}
