//! The tables of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use millrace_model::{Fault, GroupId};

use crate::log::SegmentId;
use crate::tables::fjall_fault::fault;
use crate::tables::flusher::{Desk, Flusher};
use crate::tables::room::Room;
use crate::tables::{GroupTables, TableMetrics, TableOptions, journal, rows};

/// The tables of a node: one fjall database and one thread that writes to it. They close when this and the tables of
/// all groups are dropped.
pub struct TableStore {
    pub(crate) inner: Arc<StoreInner>,
    new: bool,
}

/// What the tables of all groups share.
pub(crate) struct StoreInner {
    pub(crate) db: Database,
    pub(crate) options: TableOptions,
    pub(crate) metrics: Arc<TableMetrics>,
    pub(crate) desk: Arc<Desk>,
    flusher: Option<JoinHandle<()>>,
}

/// The least that fjall takes: two journals of the size at which it starts a new one.
const JOURNALS_BYTES: u64 = 64 << 20;

/// One for flushes alone, one that also compacts: with one, a compaction would hold up flushes and so the flusher.
const WORKERS: usize = 2;

impl TableStore {
    /// Opens the tables in `dir`, creating them when there are none. Blocks while fjall replays its journal.
    ///
    /// # Errors
    /// The disk refused, what is on it is damaged, or another process has it open.
    pub fn open(dir: impl AsRef<Path>, options: TableOptions) -> Result<Self, Fault> {
        let dir = dir.as_ref();
        options.check()?;
        std::fs::create_dir_all(dir).map_err(|error| Fault::new("create tables", error))?;
        let db = open_database(dir, &options)?;
        sync_parent(dir)?;
        let new = db.keyspace_count() == 0;
        // What was found may be in the system's cache alone; from here on it counts as flushed.
        db.persist(PersistMode::SyncAll)
            .map_err(fault("sync tables"))?;
        let room = Room::open(dir, options.reserve_bytes)?;
        let inner = Arc::new(StoreInner::start(db, room, options)?);
        Ok(Self { inner, new })
    }

    /// Whether [`TableStore::open`] found nothing and made new tables. If the log is not new, that is a loss.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The tables of one group, created empty when there are none. They have one owner: a second call is refused until
    /// the first one's tables are dropped. Tells the log what is flushed.
    ///
    /// # Errors
    /// Already open; the disk refused; an unreadable row; rows of a restore that never ended and nothing else.
    pub fn group(&self, group: GroupId) -> Result<GroupTables, Fault> {
        GroupTables::open(Arc::clone(&self.inner), group)
    }

    /// Whether the disk is so full that tables live on their reserve: refuse what adds payload (507 `storage_full`),
    /// so that receives and acks can go on. As of the last flush; ends by itself at a flush that finds room.
    pub fn is_short(&self) -> bool {
        self.inner.metrics.short.load(Relaxed) != 0
    }

    /// What was counted.
    pub fn metrics(&self) -> Arc<TableMetrics> {
        Arc::clone(&self.inner.metrics)
    }
}

impl fmt::Debug for TableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableStore")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

/// Opens fjall's database, if need be after a second look at its journal.
fn open_database(dir: &Path, options: &TableOptions) -> Result<Database, Fault> {
    match try_open(dir, options) {
        Err(error @ fjall::Error::JournalRecovery(_)) => {
            let cut = journal::cut_torn_end(dir)?;
            tracing::warn!(%error, cut, "the end of the tables' journal was torn");
            try_open(dir, options)
        }
        other => other,
    }
    .map_err(fault("open tables"))
}

fn try_open(dir: &Path, options: &TableOptions) -> fjall::Result<Database> {
    Database::builder(dir)
        .cache_size(options.cache_bytes)
        .max_journaling_size(JOURNALS_BYTES)
        .journal_compression(CompressionType::None)
        .worker_threads(WORKERS)
        .open()
}

fn sync_parent(dir: &Path) -> Result<(), Fault> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|parent| parent.sync_all())
        .map_err(|error| Fault::new("sync the folder of tables", error))
}

impl StoreInner {
    fn start(db: Database, room: Room, options: TableOptions) -> Result<Self, Fault> {
        let desk = Arc::new(Desk::new());
        let metrics = Arc::new(TableMetrics::default());
        let flusher = Flusher {
            db: db.clone(),
            desk: Arc::clone(&desk),
            options: options.clone(),
            metrics: Arc::clone(&metrics),
            room,
            synced_at: Instant::now(),
        };
        let flusher = std::thread::Builder::new()
            .name("tables".into())
            .spawn(move || flusher.run())
            .map_err(|error| Fault::new("start the flusher of tables", error))?;
        Ok(Self {
            db,
            options,
            metrics,
            desk,
            flusher: Some(flusher),
        })
    }

    /// The keyspace of `group` with its generation, position and counts. Other generations are left-overs of a restore
    /// and are deleted.
    pub(crate) fn load(&self, group: GroupId) -> Result<Loaded, Fault> {
        let mut found = Vec::new();
        for generation in self.generations(group) {
            let keyspace = self.keyspace(group, generation)?;
            let applied = read_applied(&keyspace)?;
            found.push((generation, keyspace, applied));
        }
        found.sort_by_key(|(generation, _, applied)| (applied.is_some(), *generation));
        let Some((generation, keyspace, applied)) = found.pop() else {
            return self.create(group, self.keyspace(group, 0)?);
        };
        let Some(applied) = applied else {
            let lone = generation == 0 && found.is_empty();
            if lone && keyspace.is_empty().map_err(fault("open rows"))? {
                return self.create(group, keyspace);
            }
            let reason = format!("group {group}: no keyspace is complete");
            return Err(Fault::new("open tables", reason));
        };
        for (_, keyspace, _) in found {
            self.delete(keyspace)?;
        }
        let counts = read_counts(&keyspace)?;
        Ok(Loaded {
            generation,
            keyspace,
            applied,
            counts,
        })
    }

    fn generations(&self, group: GroupId) -> Vec<u64> {
        let names = self.db.list_keyspace_names();
        let generation = |name: &str| rows::generation_of(group, name);
        names.iter().filter_map(|name| generation(name)).collect()
    }

    /// Opens or makes the keyspace of a generation.
    pub(crate) fn keyspace(&self, group: GroupId, generation: u64) -> Result<Keyspace, Fault> {
        let memtable = self.options.memtable_bytes;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
        let name = rows::keyspace_name(group, generation);
        self.db
            .keyspace(&name, options)
            .map_err(fault("open a keyspace"))
    }

    /// Deletes a keyspace; its files go with its last handle.
    pub(crate) fn delete(&self, keyspace: Keyspace) -> Result<(), Fault> {
        self.db
            .delete_keyspace(keyspace)
            .map_err(fault("delete a keyspace"))
    }

    fn create(&self, group: GroupId, keyspace: Keyspace) -> Result<Loaded, Fault> {
        tracing::info!(%group, "new tables");
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&keyspace, rows::APPLIED, rows::number(0));
        batch.commit().map_err(fault("create rows"))?;
        Ok(Loaded {
            generation: 0,
            keyspace,
            applied: 0,
            counts: BTreeMap::new(),
        })
    }
}

/// What the tables of a group were found to be.
pub(crate) struct Loaded {
    pub(crate) generation: u64,
    pub(crate) keyspace: Keyspace,
    pub(crate) applied: u64,
    pub(crate) counts: BTreeMap<SegmentId, u64>,
}

fn read_applied(keyspace: &Keyspace) -> Result<Option<u64>, Fault> {
    let Some(value) = keyspace
        .get(rows::APPLIED)
        .map_err(fault("read a position"))?
    else {
        return Ok(None);
    };
    let bad = || Fault::new("read a position", "it is not 8 bytes long");
    rows::read_number(&value).ok_or_else(bad).map(Some)
}

fn read_counts(keyspace: &Keyspace) -> Result<BTreeMap<SegmentId, u64>, Fault> {
    let read = |guard: fjall::Guard| {
        let (key, value) = guard.into_inner().map_err(fault("read reference counts"))?;
        let segment = key.get(rows::COUNTS.len()..).and_then(rows::read_number);
        let count = segment.zip(rows::read_number(&value));
        let bad = || Fault::new("read reference counts", "a row has a wrong length");
        count
            .map(|(segment, count)| (SegmentId(segment), count))
            .ok_or_else(bad)
    };
    keyspace.prefix(rows::COUNTS).map(read).collect()
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.desk.stop();
        // A flusher that hangs in fjall must not keep the process from ending.
        if let (Some(flusher), false) = (self.flusher.take(), self.desk.has_failed()) {
            // Its panics are caught and told as faults.
            flusher.join().ok();
        }
    }
}
