//! Where a group's tables are kept, and reading there.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_model::Fault;
use millrace_model::tables::{Row, SEQUENCES};

use crate::kv::{Database, Guard, Keyspace, Readable, Snapshot};
use crate::tables::fjall_fault::fault;
use crate::tables::page::{self, PageKey, Unpacked};
use crate::tables::rows;

/// Where a group's tables are kept.
#[derive(Clone)]
pub(crate) struct Home {
    db: Database,
    /// Counts the keyspaces that the group has had: a snapshot that is installed brings new ones.
    pub(crate) generation: u64,
    /// Rows, counts and positions.
    pub(crate) rows: Keyspace,
    /// The bytes of payloads outside the log.
    pub(crate) payloads: Keyspace,
    /// How rows of sequences are kept.
    pub(crate) layout: Arc<Layout>,
}

/// How rows of sequences are kept: alone, as brokers before format 4 read them, or in pages. It only goes forward.
#[derive(Debug)]
pub(crate) struct Layout {
    stage: AtomicU8,
    /// No row of a sequence stands alone before this key. Who looks for one from here on need not step over what is left of
    /// all that were moved.
    moved: Mutex<Vec<u8>>,
}

/// All stand alone.
const ALONE: u8 = 0;
/// What is written goes to pages, some stand alone yet.
const MIXED: u8 = 1;
/// All are in pages.
const PAGED: u8 = 2;

impl Layout {
    /// That of a keyspace without rows.
    pub(crate) fn empty(paged: bool) -> Self {
        Self::at(if paged { PAGED } else { ALONE })
    }

    /// That of a keyspace of the format `format`, before anybody has looked for what stands alone.
    pub(crate) fn of_format(format: u64) -> Self {
        let paged = format >= rows::FORMAT_OF_PAGES;
        Self::at(if paged { MIXED } else { ALONE })
    }

    fn at(stage: u8) -> Self {
        let (stage, moved) = (AtomicU8::new(stage), Mutex::default());
        Self { stage, moved }
    }

    /// Whether there may be rows that stand alone.
    pub(crate) fn has_alone(&self) -> bool {
        self.stage.load(Ordering::Acquire) != PAGED
    }

    /// Whether there may be pages.
    pub(crate) fn has_pages(&self) -> bool {
        self.stage.load(Ordering::Acquire) != ALONE
    }

    /// Whether there may be both.
    pub(crate) fn is_mixed(&self) -> bool {
        self.stage.load(Ordering::Acquire) == MIXED
    }

    /// From now on there may be pages. Said before the first is written.
    pub(crate) fn begin_pages(&self) {
        self.stage.fetch_max(MIXED, Ordering::AcqRel);
    }

    /// Nothing stands alone any more.
    pub(crate) fn all_paged(&self) {
        self.stage.fetch_max(PAGED, Ordering::AcqRel);
    }

    /// The first key at which a row of a sequence may stand alone.
    pub(crate) fn moved(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// Everything before `key` is in pages.
    pub(crate) fn set_moved(&self, key: Vec<u8>) {
        let mut moved = self.lock();
        assert!(*moved <= key, "rows are moved in order");
        *moved = key;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // It is whole whenever it is unlocked.
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether rows may be kept in pages: once the data is marked as of format 4, which older brokers do not start on.
/// All tables of a node share it.
#[derive(Clone, Debug, Default)]
pub struct Pages(Arc<AtomicBool>);

impl Pages {
    /// They may from now on. Rows that stand alone are moved as more is written. Idempotent, and cheap.
    pub fn allow(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn are_allowed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Home {
    pub(crate) fn new(
        db: Database,
        generation: u64,
        (rows, payloads): (Keyspace, Keyspace),
        layout: Layout,
    ) -> Self {
        Self {
            db,
            generation,
            rows,
            payloads,
            layout: Arc::new(layout),
        }
    }

    /// The row of `key`.
    ///
    /// fjall shows what it has of a batch to readers without a view: no matter while a batch changes one key of what is
    /// looked for, but a row that is moved is two.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let Some((page, place)) = PageKey::of(key) else {
            return self.look(key);
        };
        if !self.layout.has_alone() {
            let page = self.rows.get(page).map_err(fault("read a row"))?;
            return page.map_or(Ok(None), |page| page::find(&page, place));
        }
        let view = self.db.snapshot();
        let look = |key: &[u8]| view.get(&self.rows, key).map_err(fault("read a row"));
        if let Some(alone) = look(key)? {
            return Ok(Some(alone.to_vec()));
        }
        look(page.as_ref())?.map_or(Ok(None), |page| page::find(&page, place))
    }

    fn look(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let value = self.rows.get(key).map_err(fault("read a row"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// The rows from `from` to before `until`, in order of their keys. As with [`Home::get`], with a view of fjall where a row may
    /// be moved meanwhile.
    pub(crate) fn range<'a>(
        &self,
        from: &'a [u8],
        until: &'a [u8],
    ) -> impl Iterator<Item = Result<Row, Fault>> + use<'a> {
        let pages = some_sequences(from, until).then(|| page::first(from)..page::end(until));
        let moving = pages.is_some() && self.layout.has_alone();
        let alone = self.alone(from, until.min(page::FIRST), moving);
        let (alone, pages) = if moving {
            let view = self.db.snapshot();
            let alone = alone.map(|range| view.range(&self.rows, range));
            (alone, pages.map(|range| view.range(&self.rows, range)))
        } else {
            let alone = alone.map(|range| self.rows.range(range));
            (alone, pages.map(|range| self.rows.range(range)))
        };
        let within = move |row: &Result<Row, Fault>| match row {
            Ok((key, _)) => &key[..] >= from && &key[..] < until,
            Err(_) => true,
        };
        let pages = Unpacked::new(pages.into_iter().flatten()).filter(within);
        merged(alone.into_iter().flatten(), pages)
    }

    /// Where rows may stand alone from `from` to before `end`.
    fn alone(&self, from: &[u8], end: &[u8], moving: bool) -> Option<Range<Vec<u8>>> {
        let mut first = from.to_vec();
        if only_sequences(from, end) {
            if !moving {
                return None;
            }
            first = first.max(self.layout.moved());
        }
        (&first[..] < end).then(|| first..end.to_vec())
    }

    /// The rows of a view whose keys are not reserved, in order of their keys.
    pub(crate) fn rows_at(
        &self,
        view: &Snapshot,
    ) -> impl Iterator<Item = Result<Row, Fault>> + Send + use<> {
        let alone = view.range(&self.rows, rows::FIRST..page::FIRST);
        let pages = view.range(&self.rows, page::FIRST..);
        merged(alone, Unpacked::new(pages))
    }
}

/// Whether all keys from `from` to before `until` are of one sequence or one kind of them.
fn only_sequences(from: &[u8], until: &[u8]) -> bool {
    let (first, last) = (from.first().copied(), until.first().copied());
    let one_kind =
        first == last || (until.len() == 1 && first.map(|first| first.wrapping_add(1)) == last);
    one_kind && first.is_some_and(|first| SEQUENCES.contains(&first))
}

/// Whether any key from `from` to before `until` may be of a sequence.
fn some_sequences(from: &[u8], until: &[u8]) -> bool {
    let kinds = from.first()..=until.first();
    SEQUENCES.iter().any(|kind| kinds.contains(&Some(kind)))
}

/// Rows that stand alone and those of pages, in order. None is in both.
fn merged(
    alone: impl Iterator<Item = Guard>,
    paged: impl Iterator<Item = Result<Row, Fault>>,
) -> impl Iterator<Item = Result<Row, Fault>> {
    let alone = alone.map(|guard| {
        let (key, value) = guard.into_inner().map_err(fault("scan rows"))?;
        Ok((key.to_vec(), value.to_vec()))
    });
    let (mut alone, mut paged) = (alone.peekable(), paged.peekable());
    std::iter::from_fn(move || match (alone.peek(), paged.peek()) {
        (Some(Ok((one, _))), Some(Ok((other, _)))) if one > other => paged.next(),
        (None, Some(_)) => paged.next(),
        _ => alone.next(),
    })
}
