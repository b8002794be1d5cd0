//! The tables of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock::Instant;
use crate::kv::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
};
use millrace_model::{Fault, GroupId, version};

use crate::disk::{self, File};
use crate::log::SegmentId;
use crate::tables::counts::Live;
use crate::tables::fjall_fault::fault;
use crate::tables::flusher::{Desk, Flusher};
use crate::tables::home::{Home, Layout};
use crate::tables::room::Room;
use crate::tables::rows::Part;
use crate::tables::spilled::Spilled;
use crate::tables::threads::{FlusherThread, behind_others};
use crate::tables::{GroupTables, Pages, TableMetrics, TableOptions, journal, rows};

/// The tables of a node: one fjall database and one thread that writes to it. They close when this and the tables of
/// all groups are dropped.
pub struct TableStore {
    pub(crate) inner: Arc<StoreInner>,
    new: bool,
}

/// What the tables of all groups share.
pub(crate) struct StoreInner {
    pub(crate) db: Database,
    pub(crate) dir: PathBuf,
    pub(crate) options: TableOptions,
    pub(crate) metrics: Arc<TableMetrics>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) pages: Pages,
    flusher: Option<FlusherThread>,
}

/// The least that fjall takes: two journals of the size at which it starts a new one.
const JOURNALS_BYTES: u64 = 64 << 20;

/// One for flushes alone and two that also compact. With one, a compaction would hold up flushes and so the flusher; with two, the one
/// for flushes turns round without a pause while the other compacts: fjall 3.1 lets it put back what is to be compacted until
/// somebody takes it.
const WORKERS: usize = 3;

impl TableStore {
    /// Opens the tables in `dir`, creating them when there are none. Blocks while fjall replays its journal.
    ///
    /// # Errors
    /// The disk refused, what is on it is damaged, or another process has it open.
    pub fn open(dir: impl AsRef<Path>, options: TableOptions) -> Result<Self, Fault> {
        let dir = dir.as_ref();
        options.check()?;
        disk::create_dir_all(dir).map_err(|error| Fault::new("create tables", error))?;
        let db = behind_others(|| open_database(dir, &options))
            .map_err(|error| Fault::new("start a thread that opens tables", error))??;
        sync_parent(dir)?;
        let new = db.keyspace_count() == 0;
        // What was found may be in the system's cache alone; from here on it counts as flushed.
        db.persist(PersistMode::SyncAll)
            .map_err(fault("sync tables"))?;
        let room = Room::open(dir, options.reserve_bytes)?;
        let inner = Arc::new(StoreInner::start(db, dir, room, options)?);
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
    /// Already open; the disk refused; an unreadable row; rows of a snapshot that was never complete and nothing else.
    pub fn group(&self, group: GroupId) -> Result<GroupTables, Fault> {
        GroupTables::open(Arc::clone(&self.inner), group)
    }

    /// Whether the disk is so full that tables live on their reserve: refuse what adds payload (507 `storage_full`),
    /// so that receives and acks can go on. As of the last flush; ends by itself at a flush that finds room.
    pub fn is_short(&self) -> bool {
        self.inner.metrics.short.load(Relaxed) != 0
    }

    /// The say over how rows are kept: without it they stand alone, as older brokers read them.
    pub fn pages(&self) -> Pages {
        self.inner.pages.clone()
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
        Err(error @ crate::kv::Error::JournalRecovery(_)) => {
            let cut = journal::cut_torn_end(dir)?;
            tracing::warn!(%error, cut, "the end of the tables' journal was torn");
            try_open(dir, options)
        }
        other => other,
    }
    .map_err(fault("open tables"))
}

fn try_open(dir: &Path, options: &TableOptions) -> crate::kv::Result<Database> {
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
    fn start(db: Database, dir: &Path, room: Room, options: TableOptions) -> Result<Self, Fault> {
        let desk = Arc::new(Desk::new());
        let metrics = Arc::new(TableMetrics::default());
        let pages = Pages::default();
        let flusher = Flusher {
            db: db.clone(),
            desk: Arc::clone(&desk),
            options: options.clone(),
            metrics: Arc::clone(&metrics),
            room,
            pages: pages.clone(),
            synced_at: Instant::now(),
        };
        let flusher = FlusherThread::start(flusher)?;
        Ok(Self {
            db,
            dir: dir.to_path_buf(),
            options,
            metrics,
            desk,
            pages,
            flusher: Some(flusher),
        })
    }

    /// The tables of `group` as they are found. Other generations are left-overs of snapshots and are deleted.
    pub(crate) fn load(&self, group: GroupId) -> Result<Loaded, Fault> {
        let mut found = Vec::new();
        for generation in self.generations(Part::Rows, group) {
            let keyspace = self.keyspace(Part::Rows, group, generation)?;
            let layout = Layout::of_format(read_format(&keyspace)?);
            let applied = read_applied(&keyspace)?;
            found.push((generation, (keyspace, layout), applied));
        }
        found.sort_by_key(|(generation, _, applied)| (applied.is_some(), *generation));
        let Some((generation, (rows, layout), applied)) = found.pop() else {
            return self.create(group);
        };
        let Some(applied) = applied else {
            let lone = generation == 0 && found.is_empty();
            if lone && rows.is_empty().map_err(fault("open rows"))? {
                return self.create(group);
            }
            let reason = format!("group {group}: no keyspace is complete");
            return Err(Fault::new("open tables", reason));
        };
        let leftovers = found.len();
        for (_, (keyspace, _), _) in found {
            self.delete(keyspace)?;
        }
        self.delete_payloads_but(group, generation)?;
        if leftovers > 0 {
            tracing::info!(%group, leftovers, "removed what a snapshot that was not completed, or one before, left behind");
        }
        let payloads = self.keyspace(Part::Payloads, group, generation)?;
        let (counts, spilled) = (read_counts(&rows)?, read_spilled(&rows)?);
        let home = Home::new(self.db.clone(), generation, (rows, payloads), layout);
        Ok(Loaded {
            home,
            applied,
            counts,
            spilled,
            leftovers,
        })
    }

    fn delete_payloads_but(&self, group: GroupId, kept: u64) -> Result<(), Fault> {
        let generations = self.generations(Part::Payloads, group);
        for generation in generations.into_iter().filter(|other| *other != kept) {
            self.delete(self.keyspace(Part::Payloads, group, generation)?)?;
        }
        Ok(())
    }

    fn generations(&self, part: Part, group: GroupId) -> Vec<u64> {
        let names = self.db.list_keyspace_names();
        let generation = |name: &str| rows::generation_of(part, group, name);
        names.iter().filter_map(|name| generation(name)).collect()
    }

    /// Makes both keyspaces of a generation. Whoever completes it writes its format.
    pub(crate) fn home(&self, group: GroupId, generation: u64) -> Result<Home, Fault> {
        let rows = self.keyspace(Part::Rows, group, generation)?;
        let payloads = self.keyspace(Part::Payloads, group, generation)?;
        let layout = Layout::empty(self.pages.are_allowed());
        Ok(Home::new(
            self.db.clone(),
            generation,
            (rows, payloads),
            layout,
        ))
    }

    /// Opens or makes one keyspace of a generation.
    pub(crate) fn keyspace(
        &self,
        part: Part,
        group: GroupId,
        generation: u64,
    ) -> Result<Keyspace, Fault> {
        let memtable = self.options.memtable_bytes;
        let options = || {
            let options = KeyspaceCreateOptions::default().max_memtable_size(memtable);
            match part {
                Part::Rows => options,
                Part::Payloads => options.with_kv_separation(Some(separation())),
            }
        };
        let name = rows::keyspace_name(part, group, generation);
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

    /// Deletes both keyspaces of a generation.
    pub(crate) fn delete_home(&self, home: Home) -> Result<(), Fault> {
        self.delete(home.rows)?;
        self.delete(home.payloads)
    }

    fn create(&self, group: GroupId) -> Result<Loaded, Fault> {
        tracing::info!(%group, "new tables");
        let home = self.home(group, 0)?;
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        let format = rows::format(home.layout.has_pages());
        batch.insert(&home.rows, rows::FORMAT, rows::number(format));
        batch.insert(&home.rows, rows::APPLIED, rows::number(0));
        batch.commit().map_err(fault("create rows"))?;
        Ok(Loaded {
            home,
            applied: 0,
            counts: BTreeMap::new(),
            spilled: Spilled::default(),
            leftovers: 0,
        })
    }
}

/// Payloads are written once, read rarely and dropped one by one: values lie in files of their own, and compactions
/// move keys alone, until a third of such a file is dead.
fn separation() -> KvSeparationOptions {
    KvSeparationOptions::default()
        .compression(CompressionType::None)
        .separation_threshold(SEPARATED_BYTES_MIN)
        .file_target_size(BLOB_FILE_BYTES)
        .staleness_threshold(0.33)
        .age_cutoff(1.0)
}

/// Smaller values stay beside their keys.
const SEPARATED_BYTES_MIN: u32 = 128;

/// Small enough that one file is rewritten in well under a second.
const BLOB_FILE_BYTES: u64 = 16 << 20;

/// What the tables of a group were found to be.
pub(crate) struct Loaded {
    pub(crate) home: Home,
    pub(crate) applied: u64,
    pub(crate) counts: BTreeMap<SegmentId, Live>,
    pub(crate) spilled: Spilled,
    /// Other generations that were found and removed.
    pub(crate) leftovers: usize,
}

/// The format of a keyspace, read before anything else is read or removed.
fn read_format(keyspace: &Keyspace) -> Result<u64, Fault> {
    let row = keyspace.get(rows::FORMAT);
    let row = row.map_err(fault("read the format of tables"))?;
    let format = row.map_or(Some(1), |row| rows::read_number(&row));
    let refused = |reason: String| Err(Fault::new("open tables", reason));
    match format {
        Some(format) if format <= rows::FORMAT_MAX => Ok(format),
        Some(format) => refused(version::newer("a keyspace", format, rows::FORMAT_MAX)),
        None => refused("their format is not 8 bytes long".to_owned()),
    }
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

fn read_counts(keyspace: &Keyspace) -> Result<BTreeMap<SegmentId, Live>, Fault> {
    keyspace.prefix(rows::COUNTS).map(read_count).collect()
}

/// One row of references to a segment.
pub(crate) fn read_count(guard: crate::kv::Guard) -> Result<(SegmentId, Live), Fault> {
    let (key, value) = guard.into_inner().map_err(fault("read reference counts"))?;
    let segment = key.get(rows::COUNTS.len()..).and_then(rows::read_number);
    let count = segment.zip(Live::decode(&value));
    let bad = || Fault::new("read reference counts", "a row has a wrong length");
    count
        .map(|(segment, count)| (SegmentId(segment), count))
        .ok_or_else(bad)
}

fn read_spilled(keyspace: &Keyspace) -> Result<Spilled, Fault> {
    let row = keyspace.get(rows::SPILLED);
    let row = row.map_err(fault("read what was moved out of the log"))?;
    row.map_or(Ok(Spilled::default()), |row| Spilled::decode(&row))
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.desk.stop();
        // A flusher that hangs in fjall must not keep the process from ending.
        if let (Some(flusher), false) = (self.flusher.take(), self.desk.has_failed()) {
            flusher.join();
        }
    }
}
