//! Any sequence of calls, with restarts and crashes in between, against the plainest model of a log.

use std::collections::BTreeMap;

use millrace_model::GroupId;
use millrace_store::log::{Log, LogId, LogOptions};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { group: u32, count: u64, len: usize },
    Truncate { group: u32, back: u64 },
    Purge { group: u32, ahead: u64 },
    Vote { group: u32, vote: u8 },
    Flush { group: u32 },
    Close,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 1..=3_u32;
    prop_oneof![
        6 => (group.clone(), 1..20_u64, prop_oneof![0..200_usize, 3000..9000_usize, 20_000..40_000_usize])
            .prop_map(|(group, count, len)| Step::Append { group, count, len }),
        2 => (group.clone(), 0..12_u64).prop_map(|(group, back)| Step::Truncate { group, back }),
        2 => (group.clone(), 0..20_u64).prop_map(|(group, ahead)| Step::Purge { group, ahead }),
        1 => (group.clone(), 1..=255_u8).prop_map(|(group, vote)| Step::Vote { group, vote }),
        2 => group.prop_map(|group| Step::Flush { group }),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    purged: Option<LogId>,
    vote: Option<u8>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries
            .last_key_value()
            .map(|(index, (term, _))| id(*term, *index))
            .or(self.purged)
    }
}

struct World {
    dir: tempfile::TempDir,
    log: Option<Log>,
    models: BTreeMap<u32, Model>,
    term: u64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Some(Self::open(&dir));
        Self {
            dir,
            log,
            models: (1..=3).map(|group| (group, Model::default())).collect(),
            term: 1,
        }
    }

    fn open(dir: &tempfile::TempDir) -> Log {
        Log::open(
            dir.path(),
            LogOptions {
                cache_bytes: 30_000,
                ..options()
            },
        )
        .unwrap()
    }

    fn run(&mut self, step: Step) {
        self.term += 1;
        let term = self.term;
        let log = self.log.as_ref().unwrap();
        match step {
            Step::Append { group, count, len } => {
                let model = self.models.get_mut(&group).unwrap();
                let first = model.last().map_or(1, |last| last.index + 1);
                let entries: Vec<_> = (first..first + count)
                    .map(|index| entry(term, index, body(index + term, len)))
                    .collect();
                model.entries.extend(
                    entries
                        .iter()
                        .map(|entry| (entry.index, (term, entry.body.to_vec()))),
                );
                append(&log.group(GroupId(group)), entries);
            }
            Step::Truncate { group, back } => {
                let model = self.models.get_mut(&group).unwrap();
                let Some(last) = model.last() else { return };
                let purged = model.purged.map(|purged| purged.index);
                let keep = last.index.saturating_sub(back).max(purged.unwrap_or(0));
                let keep =
                    (model.entries.contains_key(&keep) || purged == Some(keep)).then_some(keep);
                model
                    .entries
                    .retain(|index, _| keep.is_some_and(|keep| *index <= keep));
                truncate(&log.group(GroupId(group)), keep);
            }
            Step::Purge { group, ahead } => {
                let model = self.models.get_mut(&group).unwrap();
                let upto = model.purged.map_or(0, |purged| purged.index) + ahead;
                let upto = model
                    .entries
                    .get(&upto)
                    .map_or(id(term, upto), |(term, _)| id(*term, upto));
                if model.purged.is_none_or(|purged| purged.index < upto.index) {
                    model.purged = Some(upto);
                }
                model.entries.retain(|index, _| *index > upto.index);
                log.group(GroupId(group)).purge(upto).unwrap();
            }
            Step::Vote { group, vote } => {
                self.models.get_mut(&group).unwrap().vote = Some(vote);
                let (done, told) = waiter();
                log.group(GroupId(group))
                    .save_vote(vec![vote].into(), done)
                    .unwrap();
                told.recv().unwrap().unwrap();
            }
            Step::Flush { group } => {
                let applied = log.group(GroupId(group)).durable_index().unwrap_or(0);
                log.group(GroupId(group)).flushed(applied, &live(&[]));
            }
            Step::Close => {
                self.log = None;
                self.log = Some(Self::open(&self.dir));
            }
            Step::Crash => {
                // A purge is not waited for; a vote behind it is.
                let model = self.models.get_mut(&1).unwrap();
                model.vote = Some(1);
                vote(&log.group(GroupId(1)), &[1]);
                let crashed = copy(self.dir.path());
                self.log = Some(Self::open(&crashed));
                self.dir = crashed;
            }
        }
    }

    fn check(&self) {
        let log = self.log.as_ref().unwrap();
        for (group, model) in &self.models {
            let group = log.group(GroupId(*group));
            assert_eq!(group.last(), model.last());
            assert_eq!(group.purged(), model.purged);
            assert_eq!(group.read_vote().map(|vote| vote[0]), model.vote);
            let got = all(&group)
                .into_iter()
                .map(|entry| (entry.index, (entry.term, entry.body.to_vec())));
            assert!(got.eq(model.entries.clone()), "entries differ");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_agrees_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.check();
        }
    }
}
