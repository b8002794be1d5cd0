//! Moves among everything else that happens, crashes included.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Fill(u8),
    /// Keeps one payload of so many.
    Thin(u8),
    /// Another reference to some payload.
    Again(u8),
    Flush,
    Settle,
    Round,
    Tidy,
    /// What is not yet written is lost, and applied again.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (5_u8..40).prop_map(Step::Fill),
        4 => (1_u8..30).prop_map(Step::Thin),
        2 => any::<u8>().prop_map(Step::Again),
        1 => Just(Step::Flush),
        3 => Just(Step::Settle),
        4 => Just(Step::Round),
        1 => Just(Step::Tidy),
        2 => Just(Step::Crash),
    ]
}

fn again(node: &mut Node, nth: u8) {
    let live = node.live();
    if let Some(place) = live.iter().nth(usize::from(nth) % live.len().max(1)) {
        if node.tables.get(&key(*place, 1)).unwrap().is_none() {
            node.add(*place, 1);
        } else {
            node.drop_one(*place, 1);
        }
        node.commit();
    }
}

fn thin(node: &mut Node, one_of: u8) {
    for place in node.live() {
        let number = place.index * 10 + u64::from(place.offset / PAYLOAD_BYTES);
        let goes = !number.is_multiple_of(u64::from(one_of));
        if goes && node.tables.get(&key(place, 0)).unwrap().is_some() {
            node.drop_one(place, 0);
        }
    }
    node.commit();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn payloads_and_counts_agree_whatever_happens(steps in proptest::collection::vec(step(), 5..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::open(dir.path());
        let mut spiller = node.spiller();
        for step in steps {
            match step {
                Step::Fill(entries) => node.fill(entries.into()),
                Step::Thin(one_of) => thin(&mut node, one_of),
                Step::Again(nth) => again(&mut node, nth),
                Step::Flush => node.tables.flush().unwrap(),
                Step::Settle => node.settle_if_any(),
                Step::Round => { spiller.round().unwrap(); }
                Step::Tidy => { node.tables.handle().tidy(0).unwrap(); }
                Step::Crash => {
                    // Dropping tables loses what a crash would. A copy of the living folder is no crash: fjall's
                    // threads rename files behind it.
                    drop((node, spiller));
                    node = Node::open(dir.path());
                    spiller = node.spiller();
                }
            }
            node.check();
        }
    }
}

#[test]
fn moves_and_applying_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path());
    let mut spiller = node.spiller();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rounds = scope.spawn(|| {
            let mut emptied = 0;
            while !done.load(Ordering::Relaxed) {
                emptied += spiller.round().unwrap();
            }
            emptied
        });
        for round in 0..40_u8 {
            node.fill(25);
            thin(&mut node, 3 + round % 9);
            again(&mut node, round);
            node.settle();
            let live: Vec<_> = node.live().into_iter().collect();
            let read = node.payloads.read(&live).unwrap();
            assert!(
                live.iter()
                    .zip(read)
                    .all(|(place, read)| read == bytes(*place))
            );
        }
        done.store(true, Ordering::Relaxed);
        let emptied = rounds.join().unwrap();
        assert!(emptied > 5, "{emptied} segments were emptied");
    });
    node.check();
    drop((node, spiller));
    Node::open(dir.path()).check();
}
