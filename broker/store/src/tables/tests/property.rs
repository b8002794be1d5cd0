//! Tables against a plain map, through flushes, crashes and restarts.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    Retain(u8),
    Release(u8),
    Commit,
    Flush,
    /// Lets the flusher write what it likes.
    Pause,
    Scan(u8, u8, usize),
    Crash,
    /// The data is marked: rows of sequences go to pages from now on.
    AllowPages,
    /// All rows leave as a snapshot and come back, so many at once.
    Restore(usize),
}

const KEYS: u8 = 140;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        24 => (any::<u8>(), any::<u8>()).prop_map(|(key, value)| Step::Put(key % KEYS, value)),
        16 => any::<u8>().prop_map(|key| Step::Remove(key % KEYS)),
        2 => any::<u8>().prop_map(|segment| Step::Retain(segment % 4)),
        2 => any::<u8>().prop_map(|segment| Step::Release(segment % 4)),
        8 => Just(Step::Commit),
        1 => Just(Step::Flush),
        1 => Just(Step::Pause),
        3 => (any::<u8>(), any::<u8>(), 0_usize..100)
            .prop_map(|(from, until, limit)| Step::Scan(from % KEYS, until % KEYS, limit)),
        1 => Just(Step::Crash),
        1 => Just(Step::AllowPages),
        1 => (1_usize..100).prop_map(Step::Restore),
    ];
    proptest::collection::vec(step, 1..300)
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    references: BTreeMap<SegmentId, u64>,
    applied: u64,
}

struct World {
    dir: tempfile::TempDir,
    open: Option<(TableStore, GroupTables)>,
    now: Model,
    commits: Vec<Model>,
    pages: bool,
    restored: bool,
}

fn key(n: u8) -> Vec<u8> {
    match n {
        // Short keys and such as do not fit a head of 24 bytes.
        0..20 if n.is_multiple_of(2) => vec![b'm', n],
        0..20 => [&[b'm'; 24][..], &[n]].concat(),
        // Neighbours, and such as are far from each other.
        20..110 => sequenced(b'e', 40 + u64::from(n)),
        _ => sequenced([b'o', b'p'][usize::from(n % 2)], 1 << (n - 110)),
    }
}

fn sequenced(kind: u8, sequence: u64) -> Vec<u8> {
    [&[kind, 0, 0, 0, 7][..], &sequence.to_be_bytes()].concat()
}

fn restless() -> TableOptions {
    TableOptions {
        flush_bytes: 1_500,
        flush_bytes_max: 3_000,
        flush_age: Duration::from_millis(2),
        memtable_bytes: 1 << 20,
        ..lazy()
    }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = Some(open(dir.path(), restless()));
        let (now, commits) = (Model::default(), vec![Model::default()]);
        Self {
            dir,
            open,
            now,
            commits,
            pages: false,
            restored: false,
        }
    }

    fn tables(&mut self) -> &mut GroupTables {
        &mut self.open.as_mut().unwrap().1
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(n, value) => self.put(&key(n), vec![value; usize::from(value)]),
            Step::Remove(n) => {
                self.now.rows.remove(&key(n));
                self.tables().remove(&key(n));
            }
            // Once a snapshot came there is nothing of these entries in the log.
            Step::Retain(_) if self.restored => {}
            Step::Retain(segment) => {
                *self
                    .now
                    .references
                    .entry(SegmentId(segment.into()))
                    .or_default() += 1;
                self.tables().retain(place(u64::from(segment) * 100 + 7), 1);
            }
            Step::Release(segment) => self.release(SegmentId(segment.into())),
            Step::Commit => self.commit(),
            Step::Flush => {
                self.commit();
                self.tables().flush().unwrap();
                assert_eq!(self.tables().flushed(), self.now.applied);
                self.commits = vec![self.now.clone()];
            }
            Step::Pause => std::thread::sleep(Duration::from_millis(5)),
            Step::Scan(from, until, limit) => self.scan(&key(from), &key(until), limit),
            Step::Crash => self.crash(),
            Step::AllowPages => {
                self.pages = true;
                self.open.as_ref().unwrap().0.pages().allow();
            }
            Step::Restore(rows) => self.restore(rows),
        }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        match self.now.rows.insert(key.to_vec(), value.clone()) {
            None => self.tables().insert(key, value),
            Some(_) => self.tables().put(key, value),
        }
        let expected = self.now.rows.get(key).cloned();
        assert_eq!(self.tables().get(key).unwrap(), expected);
    }

    fn release(&mut self, segment: SegmentId) {
        let Some(count) = self.now.references.get_mut(&segment) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.now.references.remove(&segment);
        }
        self.tables().release(place(segment.0 * 100 + 50), 1);
    }

    fn commit(&mut self) {
        self.now.applied += 1;
        let applied = self.now.applied;
        self.tables().commit(applied);
        self.tables().health().unwrap();
        assert_eq!(self.tables().references(), self.now.references);
        self.commits.push(self.now.clone());
    }

    fn scan(&mut self, from: &[u8], until: &[u8], limit: usize) {
        let rows = self
            .now
            .rows
            .iter()
            .filter(|(key, _)| &key[..] >= from && &key[..] < until);
        let expected: Vec<_> = rows
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(self.tables().scan(from, until, limit).unwrap(), expected);
        // As who goes on behind the last row that came.
        if let Some(last) = expected.last() {
            let from = [&last.0[..], &[0]].concat();
            let rest = self
                .now
                .rows
                .range(from.clone()..)
                .take_while(|(key, _)| &key[..] < until);
            let rest: Vec<_> = rest
                .take(limit)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(self.tables().scan(&from, until, limit).unwrap(), rest);
        }
    }

    fn restore(&mut self, at_once: usize) {
        self.commit();
        let handle = self.tables().handle();
        let snapshot = handle.snapshot(false).unwrap();
        let rows = snapshot.rows().collect::<Result<Vec<_>, _>>().unwrap();
        let expected: Vec<_> = self.now.rows.clone().into_iter().collect();
        assert_eq!(rows, expected);
        let mut staged = handle.stage().unwrap();
        for run in rows.chunks(at_once) {
            staged.add_rows(run.to_vec()).unwrap();
        }
        staged.finish(self.now.applied).unwrap();
        drop(snapshot);
        self.tables().install(staged).unwrap();
        // What is referred to comes as payloads, of which there are none here.
        self.now.references.clear();
        self.restored = true;
        self.commits = vec![self.now.clone()];
        assert_eq!(all(self.tables()), expected);
    }

    fn crash(&mut self) {
        self.open = None;
        let store = TableStore::open(self.dir.path().join("tables"), restless()).unwrap();
        if self.pages {
            store.pages().allow();
        }
        let tables = store.group(GROUP).unwrap();
        self.open = Some((store, tables));
        let tables = self.tables();
        let found = Model {
            rows: all(tables).into_iter().collect(),
            references: tables.references(),
            applied: tables.applied(),
        };
        // The last flush, or any commit after it, in every part.
        let expected = self
            .commits
            .iter()
            .find(|commit| commit.applied == found.applied);
        assert_eq!(Some(&found), expected);
        self.commits
            .retain(|commit| commit.applied == found.applied);
        self.now = found;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn tables_behave_like_a_map_and_come_back_at_a_commit(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.commit();
        let expected: Vec<_> = world.now.rows.clone().into_iter().collect();
        assert_eq!(all(world.tables()), expected);
        world.crash();
    }
}
