//! Frozen rows as one batch of fjall.

use millrace_model::Fault;
use millrace_model::tables::SEQUENCES;

use crate::kv::{Database, OwnedWriteBatch, PersistMode};
use crate::tables::fjall_fault::fault;
use crate::tables::home::Home;
use crate::tables::overlay::{Overlay, Slot};
use crate::tables::page::{self, PageKey};
use crate::tables::rows;

/// Rows that are moved into pages at once: some milliseconds of work.
const MOVED_ROWS: usize = 16_384;

/// Bytes that they may take in fjall, about.
pub(crate) const MOVED_BYTES: usize = MOVED_ROWS * 128;

/// A batch of fjall that rows are put into, neighbours of a sequence after each other.
struct Batch<'a> {
    home: &'a Home,
    batch: OwnedWriteBatch,
    /// Whether rows of sequences are put into pages.
    paged: bool,
    /// Whether one may stand alone yet.
    alone: bool,
    page: Option<PageKey>,
    changes: Vec<(u8, Option<&'a [u8]>)>,
    removals: u64,
}

/// Writes `overlay` as one unit; how many removals that left in fjall.
pub(crate) fn write(db: &Database, home: &Home, overlay: &Overlay) -> Result<u64, Fault> {
    let mut batch = Batch::new(db, home, overlay.len());
    if home.layout.is_mixed() {
        // With the first page comes what keeps older brokers away.
        batch.put_alone(rows::FORMAT, Some(&rows::number(rows::format(true))));
    }
    for (key, slot) in overlay.iter() {
        key.with_bytes(|key| batch.put(key, slot))?;
    }
    batch.commit()
}

/// What [`move_into_pages`] did.
pub(crate) struct Moved {
    /// How many rows were moved.
    pub(crate) rows: u64,
    /// Whether none is left.
    pub(crate) all: bool,
}

/// Moves some rows that stand alone into pages. What the tables hold is the same before and after.
pub(crate) fn move_into_pages(db: &Database, home: &Home) -> Result<Moved, Fault> {
    let moved = home.layout.moved();
    let kinds = SEQUENCES.iter().map(|kind| {
        let from = moved.clone().max(vec![*kind]);
        let until = vec![*kind + 1].max(from.clone());
        home.rows.range(from..until)
    });
    let found = kinds.flatten().take(MOVED_ROWS);
    let found = found.map(|row| row.into_inner().map_err(fault("move rows into pages")));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let mut batch = Batch::new(db, home, found.len());
    for (key, value) in &found {
        batch.put_at(key, Some(value), true)?;
    }
    let all = found.len() < MOVED_ROWS;
    let rows = batch.commit()?;
    if let Some((last, _)) = found.last() {
        home.layout.set_moved([last, &[0][..]].concat());
    }
    Ok(Moved { rows, all })
}

impl<'a> Batch<'a> {
    fn new(db: &Database, home: &'a Home, rows: usize) -> Self {
        let batch = OwnedWriteBatch::with_capacity(db.clone(), rows);
        Self {
            home,
            batch: batch.durability(Some(PersistMode::Buffer)),
            paged: home.layout.has_pages(),
            alone: home.layout.has_alone(),
            page: None,
            changes: Vec::with_capacity(page::ROWS),
            removals: 0,
        }
    }

    fn put(&mut self, key: &[u8], slot: &'a Slot) -> Result<(), Fault> {
        let value = slot.value().map(Vec::as_slice);
        let fresh = matches!(slot, Slot::Fresh(_));
        self.put_at(key, value, self.alone && !fresh)
    }

    /// Puts a row, which may stand alone already as `alone` says.
    fn put_at(&mut self, key: &[u8], value: Option<&'a [u8]>, alone: bool) -> Result<(), Fault> {
        let Some((page, place)) = PageKey::of(key).filter(|_| self.paged) else {
            self.put_alone(key, value);
            return Ok(());
        };
        if self.page != Some(page) {
            self.end_page()?;
            self.page = Some(page);
        }
        self.changes.push((place, value));
        if alone {
            self.remove(key);
        }
        Ok(())
    }

    fn put_alone(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            self.remove(key);
            // The bytes of a payload outside the log go with its count.
            if let Some(payload) = key.strip_prefix(rows::PAYLOADS) {
                self.batch.remove(&self.home.payloads, payload);
            }
            return;
        };
        self.batch.insert(&self.home.rows, key, value);
    }

    fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.batch.remove(&self.home.rows, key.as_ref());
        self.removals += 1;
    }

    /// Writes the page that changes were collected of.
    fn end_page(&mut self) -> Result<(), Fault> {
        let Some(page) = self.page.take() else {
            return Ok(());
        };
        // Where every row is known anew nothing has to be read.
        let old = if self.changes.len() < page::ROWS {
            let old = self.home.rows.get(page);
            old.map_err(fault("read a page of rows"))?
        } else {
            None
        };
        match page::rewrite(old.as_deref(), &self.changes)? {
            Some(new) => self.batch.insert(&self.home.rows, page.as_ref(), new),
            None if old.is_some() || self.changes.len() == page::ROWS => self.remove(page),
            None => {}
        }
        self.changes.clear();
        Ok(())
    }

    fn commit(mut self) -> Result<u64, Fault> {
        self.end_page()?;
        self.batch.commit().map_err(fault("write rows"))?;
        Ok(self.removals)
    }
}
