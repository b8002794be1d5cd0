//! What the broker uses of fjall, on maps in memory. Batches are durable in order: a crash keeps all up to some point
//! behind the last sync. Keyspaces, and what is ingested, are durable at once, as fjall has them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Loss, node_of, world};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Image = BTreeMap<String, Arc<Rows>>;
type Pair = (Vec<u8>, Vec<u8>);

/// A database on a simulated disk.
#[derive(Default)]
pub(crate) struct Stored {
    now: Image,
    synced: Image,
    /// After each batch since the last sync.
    unsynced: Vec<Image>,
}

impl Stored {
    pub(super) fn crash(&mut self, loss: Loss, random: &mut impl FnMut() -> u64) {
        let count = self.unsynced.len();
        let kept = match loss {
            Loss::Nothing => count,
            Loss::Everything => 0,
            Loss::Torn => usize::try_from(random() % (count as u64 + 1)).expect("a count"),
        };
        if let Some(last) = kept.checked_sub(1) {
            self.synced = self.unsynced.swap_remove(last);
        }
        self.unsynced.clear();
        self.now = self.synced.clone();
    }

    fn sync(&mut self) {
        self.synced = self.now.clone();
        self.unsynced.clear();
    }

    /// Changes the present and all that a crash may leave.
    fn everywhere(&mut self, change: impl Fn(&mut Image)) {
        change(&mut self.now);
        change(&mut self.synced);
        self.unsynced.iter_mut().for_each(change);
    }
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

/// What is not simulated.
#[derive(Clone, Copy)]
pub(crate) enum CompressionType {
    None,
}

/// What is not simulated.
#[derive(Default)]
pub(crate) struct KeyspaceCreateOptions;

impl KeyspaceCreateOptions {
    pub(crate) fn max_memtable_size(self, _: u64) -> Self {
        self
    }

    pub(crate) fn with_kv_separation(self, _: Option<KvSeparationOptions>) -> Self {
        self
    }
}

/// What is not simulated.
#[derive(Default)]
pub(crate) struct KvSeparationOptions;

impl KvSeparationOptions {
    pub(crate) fn compression(self, _: CompressionType) -> Self {
        self
    }

    pub(crate) fn separation_threshold(self, _: u32) -> Self {
        self
    }

    pub(crate) fn file_target_size(self, _: u64) -> Self {
        self
    }

    pub(crate) fn staleness_threshold(self, _: f32) -> Self {
        self
    }

    pub(crate) fn age_cutoff(self, _: f32) -> Self {
        self
    }
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

    fn change<R>(&self, call: impl FnOnce(&mut Stored) -> R) -> Result<R> {
        let changed = self.with(call)?;
        world().changed(self.node)?;
        Ok(changed)
    }

    pub(crate) fn keyspace(
        &self,
        name: &str,
        _: impl Fn() -> KeyspaceCreateOptions,
    ) -> Result<Keyspace> {
        self.change(|stored| {
            stored.everywhere(|image| {
                image.entry(name.to_owned()).or_default();
            });
        })?;
        let (db, name) = (self.clone(), Arc::from(name));
        Ok(Keyspace { db, name })
    }

    #[allow(clippy::needless_pass_by_value, reason = "as fjall has it")]
    pub(crate) fn delete_keyspace(&self, keyspace: Keyspace) -> Result<()> {
        self.change(|stored| {
            stored.everywhere(|image| {
                image.remove(&*keyspace.name);
            });
        })
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
    changes: Vec<(Arc<str>, Vec<u8>, Option<Vec<u8>>)>,
}

impl OwnedWriteBatch {
    pub(crate) fn with_capacity(db: Database, _: usize) -> Self {
        Self {
            db,
            mode: PersistMode::Buffer,
            changes: Vec::new(),
        }
    }

    pub(crate) fn durability(mut self, mode: Option<PersistMode>) -> Self {
        self.mode = mode.unwrap_or(self.mode);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(crate) fn insert(&mut self, at: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let value = Some(value.as_ref().to_vec());
        self.put(at, key.as_ref(), value);
    }

    pub(crate) fn remove(&mut self, at: &Keyspace, key: impl AsRef<[u8]>) {
        self.put(at, key.as_ref(), None);
    }

    fn put(&mut self, at: &Keyspace, key: &[u8], value: Option<Vec<u8>>) {
        let change = (Arc::clone(&at.name), key.to_vec(), value);
        self.changes.push(change);
    }

    pub(crate) fn commit(self) -> Result<()> {
        let changes = self.changes;
        self.db.change(|stored| {
            for (name, key, value) in changes {
                // A keyspace that was deleted meanwhile takes nothing.
                let Some(rows) = stored.now.get_mut(&*name) else {
                    continue;
                };
                let rows = Arc::make_mut(rows);
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
            let now = stored.now.clone();
            stored.unsynced.push(now);
        })?;
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
        let rows = Vec::new();
        Ok(Ingestion { at: self, rows })
    }
}

/// Rows that are written past the journal.
pub(crate) struct Ingestion<'a> {
    at: &'a Keyspace,
    rows: Vec<Pair>,
}

impl Ingestion<'_> {
    pub(crate) fn write(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let row = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.rows.push(row);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.at.db.change(|stored| {
            stored.everywhere(|image| {
                if let Some(rows) = image.get_mut(&*self.at.name) {
                    Arc::make_mut(rows).extend(self.rows.iter().cloned());
                }
            });
        })
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
}

impl Iter {
    fn new<K: AsRef<[u8]>>(rows: Result<Arc<Rows>>, range: &impl RangeBounds<K>) -> Self {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Self {
            rows,
            from: bound(range.start_bound()),
            until: bound(range.end_bound()),
            prefix: Vec::new(),
        }
    }

    fn below(rows: Result<Arc<Rows>>, prefix: &[u8]) -> Self {
        Self {
            rows,
            from: Bound::Included(prefix.to_vec()),
            until: Bound::Unbounded,
            prefix: prefix.to_vec(),
        }
    }

    fn row(&mut self) -> Option<Pair> {
        let rows = self.rows.as_ref().ok()?;
        let bounds = (
            self.from.as_ref().map(Vec::as_slice),
            self.until.as_ref().map(Vec::as_slice),
        );
        let (key, value) = rows.range::<[u8], _>(bounds).next()?;
        if !key.starts_with(&self.prefix) {
            return None;
        }
        self.from = Bound::Excluded(key.clone());
        Some((key.clone(), value.clone()))
    }
}

impl Iterator for Iter {
    type Item = Guard;

    fn next(&mut self) -> Option<Guard> {
        if self.rows.is_err() {
            let error = std::mem::replace(&mut self.rows, Ok(Arc::default()));
            return error.err().map(|error| Guard(Err(error)));
        }
        self.row().map(|row| Guard(Ok(row)))
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
