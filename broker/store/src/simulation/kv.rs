//! What the broker uses of fjall, on maps in memory. Batches are durable in order: a crash keeps all up to some point
//! behind the last sync. Keyspaces, and what is ingested, are durable at once, as fjall has them.

mod options;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Loss, node_of, world};

pub(crate) use options::*;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Image = BTreeMap<String, Arc<Rows>>;
type Pair = (Vec<u8>, Value);

/// What fjall calls a value.
pub(crate) type Value = Vec<u8>;

/// A database on a simulated disk.
#[derive(Default)]
pub(crate) struct Stored {
    now: Image,
    synced: Image,
    /// In order, since the last sync.
    unsynced: Vec<Change>,
}

/// A change of a database.
enum Change {
    /// May be lost until it is synced.
    Batch(Vec<Write>),
    /// Durable at once.
    Made(String),
    /// Durable at once.
    Deleted(Arc<str>),
    /// Durable at once.
    Ingested(Vec<Write>),
}

/// In which keyspace, the key, and the value unless it goes.
type Write = (Arc<str>, Vec<u8>, Option<Vec<u8>>);

impl Stored {
    pub(super) fn crash(&mut self, loss: Loss, random: &mut impl FnMut() -> u64) {
        let is_batch = |change: &&Change| matches!(change, Change::Batch(_));
        let count = self.unsynced.iter().filter(is_batch).count();
        let mut kept = match loss {
            Loss::Nothing => count,
            Loss::Everything => 0,
            Loss::Torn => usize::try_from(random() % (count as u64 + 1)).expect("a count"),
        };
        for change in self.unsynced.drain(..) {
            if let Change::Batch(_) = change {
                if kept == 0 {
                    continue;
                }
                kept -= 1;
            }
            change.make(&mut self.synced);
        }
        self.now = self.synced.clone();
    }

    fn sync(&mut self) {
        self.synced = self.now.clone();
        self.unsynced.clear();
    }

    fn change(&mut self, change: Change) {
        change.make(&mut self.now);
        self.unsynced.push(change);
    }
}

impl Change {
    fn make(&self, image: &mut Image) {
        match self {
            Self::Batch(writes) | Self::Ingested(writes) => {
                writes.iter().for_each(|write| make_write(image, write));
            }
            Self::Made(name) => {
                image.entry(name.clone()).or_default();
            }
            Self::Deleted(name) => {
                image.remove(&**name);
            }
        }
    }
}

/// A keyspace that was deleted meanwhile takes nothing.
fn make_write(image: &mut Image, (name, key, value): &Write) {
    let Some(rows) = image.get_mut(&**name) else {
        return;
    };
    let rows = Arc::make_mut(rows);
    match value {
        Some(value) => rows.insert(key.clone(), value.clone()),
        None => rows.remove(key),
    };
}

/// Why a database does not answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// Never here: fjall's word for a journal that is torn.
    #[allow(dead_code, reason = "the real one has it")]
    JournalRecovery(String),
    /// The disk is dead.
    Off(std::io::Error),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JournalRecovery(reason) => f.write_str(reason),
            Self::Off(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Off(error)
    }
}

/// How durable a batch is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PersistMode {
    Buffer,
    SyncAll,
}

/// Opens a database.
pub(crate) struct Builder(PathBuf);

impl Builder {
    pub(crate) fn cache_size(self, _: u64) -> Self {
        self
    }

    pub(crate) fn max_journaling_size(self, _: u64) -> Self {
        self
    }

    pub(crate) fn journal_compression(self, _: CompressionType) -> Self {
        self
    }

    pub(crate) fn worker_threads(self, _: usize) -> Self {
        self
    }

    pub(crate) fn open(self) -> Result<Database> {
        let mut world = world();
        let disk = world.at(&self.0)?;
        let (path, node, life) = (Arc::from(self.0.as_path()), node_of(&self.0), disk.life);
        disk.databases.entry(self.0).or_default();
        Ok(Database { path, node, life })
    }
}

/// An open database.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    path: Arc<Path>,
    node: u64,
    life: u64,
}

impl Database {
    pub(crate) fn builder(path: impl AsRef<Path>) -> Builder {
        Builder(path.as_ref().to_path_buf())
    }

    fn with<R>(&self, call: impl FnOnce(&mut Stored) -> R) -> Result<R> {
        let mut world = world();
        let disk = world.alive(self.node, self.life)?;
        let stored = disk.databases.get_mut(&*self.path);
        Ok(call(stored.expect("an open database is on its disk")))
    }

    fn change(&self, change: Change) -> Result<()> {
        self.with(|stored| stored.change(change))?;
        world().changed(self.node)?;
        Ok(())
    }

    pub(crate) fn keyspace(
        &self,
        name: &str,
        _: impl Fn() -> KeyspaceCreateOptions,
    ) -> Result<Keyspace> {
        self.change(Change::Made(name.to_owned()))?;
        let (db, name) = (self.clone(), Arc::from(name));
        Ok(Keyspace { db, name })
    }

    #[allow(clippy::needless_pass_by_value, reason = "as fjall has it")]
    pub(crate) fn delete_keyspace(&self, keyspace: Keyspace) -> Result<()> {
        self.change(Change::Deleted(keyspace.name))
    }

    pub(crate) fn list_keyspace_names(&self) -> Vec<String> {
        let names = self.with(|stored| stored.now.keys().cloned().collect());
        names.unwrap_or_default()
    }

    pub(crate) fn keyspace_count(&self) -> usize {
        self.list_keyspace_names().len()
    }

    pub(crate) fn journal_count(&self) -> usize {
        1
    }

    pub(crate) fn batch(&self) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.clone(), 0)
    }

    pub(crate) fn persist(&self, _: PersistMode) -> Result<()> {
        // Before it is done: a machine may die in the middle.
        world().alive(self.node, self.life)?;
        world().changed(self.node)?;
        self.with(Stored::sync)
    }

    /// The rows at this moment; nothing when the disk is dead, as nobody will be told.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let image = self.with(|stored| stored.now.clone());
        Snapshot(image.unwrap_or_default())
    }
}

/// Rows that are written as one.
pub(crate) struct OwnedWriteBatch {
    db: Database,
    mode: PersistMode,
    writes: Vec<Write>,
}

impl OwnedWriteBatch {
    pub(crate) fn with_capacity(db: Database, _: usize) -> Self {
        Self {
            db,
            mode: PersistMode::Buffer,
            writes: Vec::new(),
        }
    }

    pub(crate) fn durability(mut self, mode: Option<PersistMode>) -> Self {
        self.mode = mode.unwrap_or(self.mode);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(crate) fn insert(&mut self, at: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let value = Some(value.as_ref().to_vec());
        self.put(at, key.as_ref(), value);
    }

    pub(crate) fn remove(&mut self, at: &Keyspace, key: impl AsRef<[u8]>) {
        self.put(at, key.as_ref(), None);
    }

    fn put(&mut self, at: &Keyspace, key: &[u8], value: Option<Vec<u8>>) {
        let write = (Arc::clone(&at.name), key.to_vec(), value);
        self.writes.push(write);
    }

    pub(crate) fn commit(self) -> Result<()> {
        self.db.change(Change::Batch(self.writes))?;
        match self.mode {
            PersistMode::Buffer => Ok(()),
            PersistMode::SyncAll => self.db.persist(self.mode),
        }
    }
}

/// One map of a database.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    db: Database,
    name: Arc<str>,
}

impl AsRef<Keyspace> for Keyspace {
    fn as_ref(&self) -> &Keyspace {
        self
    }
}

impl Keyspace {
    fn rows(&self) -> Result<Arc<Rows>> {
        let rows = self
            .db
            .with(|stored| stored.now.get(&*self.name).cloned())?;
        Ok(rows.unwrap_or_default())
    }

    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        Ok(self.rows()?.get(key.as_ref()).cloned())
    }

    pub(crate) fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.rows()?.contains_key(key.as_ref()))
    }

    pub(crate) fn is_empty(&self) -> Result<bool> {
        Ok(self.rows()?.is_empty())
    }

    pub(crate) fn approximate_len(&self) -> usize {
        self.rows().map_or(0, |rows| rows.len())
    }

    pub(crate) fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        Iter::new(self.rows(), &range)
    }

    pub(crate) fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        Iter::below(self.rows(), prefix.as_ref())
    }

    pub(crate) fn iter(&self) -> Iter {
        self.prefix([])
    }

    pub(crate) fn disk_space(&self) -> u64 {
        let size = |rows: Arc<Rows>| rows.values().map(|value| value.len() as u64).sum();
        self.rows().map_or(0, size)
    }

    pub(crate) fn is_kv_separated(&self) -> bool {
        false
    }

    pub(crate) fn rotate_memtable_and_wait(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn major_compact(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn start_ingestion(&self) -> Result<Ingestion<'_>> {
        let writes = Vec::new();
        Ok(Ingestion { at: self, writes })
    }
}

/// Rows that are written past the journal.
pub(crate) struct Ingestion<'a> {
    at: &'a Keyspace,
    writes: Vec<Write>,
}

impl Ingestion<'_> {
    pub(crate) fn write(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let value = Some(value.as_ref().to_vec());
        let write = (Arc::clone(&self.at.name), key.as_ref().to_vec(), value);
        self.writes.push(write);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.at.db.change(Change::Ingested(self.writes))
    }
}

/// A row that was found.
pub(crate) struct Guard(Result<Pair>);

impl Guard {
    pub(crate) fn into_inner(self) -> Result<Pair> {
        self.0
    }

    pub(crate) fn key(self) -> Result<Vec<u8>> {
        self.0.map(|(key, _)| key)
    }
}

/// Rows in order, as they were when it was made.
pub(crate) struct Iter {
    rows: Result<Arc<Rows>>,
    from: Bound<Vec<u8>>,
    until: Bound<Vec<u8>>,
    prefix: Vec<u8>,
    /// What was looked up and not taken yet, last row first.
    found: Vec<Pair>,
}

impl Iter {
    fn new<K: AsRef<[u8]>>(rows: Result<Arc<Rows>>, range: &impl RangeBounds<K>) -> Self {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Self {
            rows,
            from: bound(range.start_bound()),
            until: bound(range.end_bound()),
            prefix: Vec::new(),
            found: Vec::new(),
        }
    }

    fn below(rows: Result<Arc<Rows>>, prefix: &[u8]) -> Self {
        Self {
            rows,
            from: Bound::Included(prefix.to_vec()),
            until: Bound::Unbounded,
            prefix: prefix.to_vec(),
            found: Vec::new(),
        }
    }

    /// Looks for the next rows, a few at a time, since many iterators are left after their first row.
    fn find(&mut self) {
        const ROWS: usize = 16;
        let Ok(rows) = &self.rows else {
            return;
        };
        let bounds = (
            self.from.as_ref().map(Vec::as_slice),
            self.until.as_ref().map(Vec::as_slice),
        );
        let rows = rows.range::<[u8], _>(bounds);
        let rows = rows.take_while(|(key, _)| key.starts_with(&self.prefix));
        let found = rows
            .take(ROWS)
            .map(|(key, value)| (key.clone(), value.clone()));
        self.found = found.collect();
        if let Some((key, _)) = self.found.last() {
            self.from = Bound::Excluded(key.clone());
        }
        self.found.reverse();
    }
}

impl Iterator for Iter {
    type Item = Guard;

    fn next(&mut self) -> Option<Guard> {
        if self.rows.is_err() {
            let error = std::mem::replace(&mut self.rows, Ok(Arc::default()));
            return error.err().map(|error| Guard(Err(error)));
        }
        if self.found.is_empty() {
            self.find();
        }
        self.found.pop().map(|row| Guard(Ok(row)))
    }
}

/// All rows of a database at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot(Image);

/// How fjall names the reads of a snapshot.
pub(crate) trait Readable {
    fn rows(&self, at: &Keyspace) -> Arc<Rows>;

    fn get(&self, at: impl AsRef<Keyspace>, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        Ok(self.rows(at.as_ref()).get(key.as_ref()).cloned())
    }

    fn range<K: AsRef<[u8]>>(&self, at: impl AsRef<Keyspace>, range: impl RangeBounds<K>) -> Iter {
        Iter::new(Ok(self.rows(at.as_ref())), &range)
    }

    fn prefix(&self, at: impl AsRef<Keyspace>, prefix: impl AsRef<[u8]>) -> Iter {
        Iter::below(Ok(self.rows(at.as_ref())), prefix.as_ref())
    }

    fn iter(&self, at: impl AsRef<Keyspace>) -> Iter {
        self.prefix(at, [])
    }
}

impl Readable for Snapshot {
    fn rows(&self, at: &Keyspace) -> Arc<Rows> {
        self.0.get(&*at.name).cloned().unwrap_or_default()
    }
}
