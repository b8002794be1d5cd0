//! Pages: neighbours of a sequence as one row of fjall.
//!
//! A row costs fjall about a microsecond to write, another to remove, and work again at each compaction, whatever its
//! size; those of a sequence ([`SEQUENCES`]) are small, many, and come and go next to each other. So up to
//! [`ROWS`] of them are kept as one row. Only the flusher writes pages; everybody else sees rows.
//!
//! A page's key is that of its first row, with the highest bit of the first byte set, which is how it is told from a row. Its
//! value is a byte for its form, and then for each row, in order: its place, its length (one byte, or 255 and four,
//! little-endian), its value.

use millrace_model::Fault;
use millrace_model::tables::{Row, SEQUENCE_KEY_BYTES, SEQUENCES};

use crate::kv::{Guard, Value};
use crate::tables::fjall_fault::fault;

/// Most rows of a page.
pub(crate) const ROWS: usize = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 6;

/// The low bits of a key's last byte, which say where in its page a row is.
const PLACE: u8 = (1 << PLACE_BITS) - 1;

/// The bit of a key's first byte that a page has and no row.
const MARK: u8 = 0x80;

/// The first byte of a page's value.
const FORM: u8 = 1;

/// The first key that a page may have.
pub(crate) const FIRST: &[u8] = &[MARK];

/// A length that does not fit into one byte follows in four.
const LONG: u8 = u8::MAX;

/// The key of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageKey([u8; SEQUENCE_KEY_BYTES]);

impl PageKey {
    /// The page that a row of this key belongs to, and its place there; `None` when it is a row by itself.
    pub(crate) fn of(key: &[u8]) -> Option<(Self, u8)> {
        let mut page: [u8; SEQUENCE_KEY_BYTES] = key.try_into().ok()?;
        let [first, .., last] = &mut page;
        if !SEQUENCES.contains(first) {
            return None;
        }
        let place = *last & PLACE;
        *first |= MARK;
        *last &= !PLACE;
        Some((Self(page), place))
    }

    /// Whether a row may have this key, as [`SEQUENCES`] says.
    pub(crate) fn fits(key: &[u8]) -> bool {
        match key.first() {
            Some(first) if SEQUENCES.contains(first) => key.len() == SEQUENCE_KEY_BYTES,
            Some(first) => first & MARK == 0,
            None => true,
        }
    }

    fn read(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }

    /// The key of the row at `place`.
    fn row(self, place: u8) -> [u8; SEQUENCE_KEY_BYTES] {
        let mut key = self.0;
        let [first, .., last] = &mut key;
        *first &= !MARK;
        *last |= place;
        key
    }
}

impl AsRef<[u8]> for PageKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Where the pages begin that may hold rows from the key `from` on, which may be longer or shorter than that of a row.
pub(crate) fn first(from: &[u8]) -> Vec<u8> {
    let mut first = marked(from);
    first.truncate(SEQUENCE_KEY_BYTES);
    if let Some(last) = first.get_mut(SEQUENCE_KEY_BYTES - 1) {
        *last &= !PLACE;
    }
    first
}

/// The end of the pages that may hold rows before the key `until`.
pub(crate) fn end(until: &[u8]) -> Vec<u8> {
    marked(until)
}

fn marked(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    if let Some(first) = key.first_mut() {
        *first |= MARK;
    }
    key
}

/// One row of a page.
struct Cell<'a> {
    place: u8,
    value: &'a [u8],
}

/// Takes the next row off the front of `rest`.
fn split<'a>(rest: &mut &'a [u8]) -> Option<Cell<'a>> {
    let (place, after) = rest.split_first()?;
    let (short, after) = after.split_first()?;
    let (length, after) = match *short {
        LONG => {
            let (long, after) = after.split_first_chunk()?;
            (usize::try_from(u32::from_le_bytes(*long)).ok()?, after)
        }
        short => (usize::from(short), after),
    };
    let (value, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(Cell {
        place: *place,
        value,
    })
}

fn content(page: &[u8]) -> Result<&[u8], Fault> {
    match page.split_first() {
        Some((&FORM, content)) => Ok(content),
        _ => Err(damaged()),
    }
}

fn damaged() -> Fault {
    Fault::new(
        "read a page of rows",
        "it is damaged, or newer than this broker",
    )
}

fn push(page: &mut Vec<u8>, place: u8, value: &[u8]) {
    page.push(place);
    match u8::try_from(value.len()) {
        Ok(short) if short != LONG => page.push(short),
        _ => {
            let length = u32::try_from(value.len()).expect("a row is smaller than 4 GiB");
            page.push(LONG);
            page.extend_from_slice(&length.to_le_bytes());
        }
    }
    page.extend_from_slice(value);
}

/// The row at `place` of a page.
pub(crate) fn find(page: &[u8], place: u8) -> Result<Option<Vec<u8>>, Fault> {
    let mut rest = content(page)?;
    while !rest.is_empty() {
        let cell = split(&mut rest).ok_or_else(damaged)?;
        if cell.place >= place {
            return Ok((cell.place == place).then(|| cell.value.to_vec()));
        }
    }
    Ok(None)
}

/// A page after `changes`, which are in order of their places: new values, or removals. `None` when no row is left.
pub(crate) fn rewrite(
    page: Option<&[u8]>,
    changes: &[(u8, Option<&[u8]>)],
) -> Result<Option<Vec<u8>>, Fault> {
    let mut rest = page.map_or(Ok(&[][..]), content)?;
    let mut changes = changes.iter().peekable();
    let mut new = vec![FORM];
    while !rest.is_empty() {
        let cell = split(&mut rest).ok_or_else(damaged)?;
        while let Some((place, value)) = changes.next_if(|(place, _)| *place < cell.place) {
            push_some(&mut new, *place, *value);
        }
        match changes.next_if(|(place, _)| *place == cell.place) {
            Some((place, value)) => push_some(&mut new, *place, *value),
            None => push(&mut new, cell.place, cell.value),
        }
    }
    for (place, value) in changes {
        push_some(&mut new, *place, *value);
    }
    Ok((new.len() > 1).then_some(new))
}

fn push_some(page: &mut Vec<u8>, place: u8, value: Option<&[u8]>) {
    if let Some(value) = value {
        push(page, place, value);
    }
}

/// Makes pages of rows that come in order of their keys.
#[derive(Debug, Default)]
pub(crate) struct Packer(Option<(PageKey, Vec<u8>)>);

impl Packer {
    /// Takes the row at `place` of `page`; gives the page before, once it is complete.
    pub(crate) fn add(&mut self, page: PageKey, place: u8, value: &[u8]) -> Option<Row> {
        let before = match &self.0 {
            Some((open, _)) if *open == page => None,
            _ => self.end(),
        };
        let (_, rows) = self.0.get_or_insert_with(|| (page, vec![FORM]));
        push(rows, place, value);
        before
    }

    /// The last page.
    pub(crate) fn end(&mut self) -> Option<Row> {
        let (page, rows) = self.0.take()?;
        Some((page.0.to_vec(), rows))
    }
}

/// The rows of pages that come in order of their keys.
pub(crate) struct Unpacked<I> {
    pages: I,
    open: Option<(PageKey, Value, usize)>,
}

impl<I> Unpacked<I> {
    pub(crate) fn new(pages: I) -> Self {
        Self { pages, open: None }
    }

    fn next_of_open(&mut self) -> Option<Result<Row, Fault>> {
        let (key, value, at) = self.open.as_mut()?;
        let mut rest = value.get(*at..).filter(|rest| !rest.is_empty())?;
        let cell = split(&mut rest);
        *at = value.len() - rest.len();
        let row = cell.map(|cell| (key.row(cell.place).to_vec(), cell.value.to_vec()));
        if row.is_none() {
            *at = value.len();
        }
        Some(row.ok_or_else(damaged))
    }
}

impl<I: Iterator<Item = Guard>> Iterator for Unpacked<I> {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.next_of_open() {
                return Some(row);
            }
            self.open = None;
            let page = self.pages.next()?.into_inner();
            let opened = page
                .map_err(fault("read a page of rows"))
                .and_then(|(key, value)| {
                    content(&value)?;
                    let key = PageKey::read(&key).ok_or_else(damaged)?;
                    Ok((key, value, 1))
                });
            match opened {
                Ok(open) => self.open = Some(open),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(kind: u8, sequence: u64) -> Vec<u8> {
        [&[kind, 0, 0, 0, 1][..], &sequence.to_be_bytes()].concat()
    }

    #[test]
    fn neighbours_share_a_page_and_everything_else_stands_alone() {
        let (page, place) = PageKey::of(&key(b'e', 64)).unwrap();
        assert_eq!(place, 0);
        assert_eq!(PageKey::of(&key(b'e', 127)).unwrap(), (page, 63));
        assert_ne!(PageKey::of(&key(b'e', 128)).unwrap().0, page);
        assert_ne!(PageKey::of(&key(b'o', 64)).unwrap().0, page);
        assert_eq!(page.row(63).to_vec(), key(b'e', 127));
        assert_eq!(PageKey::of(&key(b'd', 64)), None);
        assert_eq!(PageKey::of(b"e"), None);
        assert!(PageKey::fits(&key(b'e', 64)) && PageKey::fits(b"d") && !PageKey::fits(b"e"));
        assert!(!PageKey::fits(page.as_ref()), "a page is no row");
    }

    #[test]
    fn pages_are_ordered_as_their_rows_and_come_after_all_that_stands_alone() {
        let pages = [key(b'e', 1), key(b'e', 70), key(b'o', 1), key(b'p', 0)];
        let pages = pages.map(|row| PageKey::of(&row).unwrap().0.0);
        assert!(pages.is_sorted());
        assert!(&pages[0][..] > FIRST && FIRST > &b"z"[..]);
        let behind = [&key(b'e', 70)[..], &[0]].concat();
        assert_eq!(first(&behind), pages[1], "its page may hold more");
        assert_eq!(first(b"e"), [b'e' | MARK]);
    }

    #[test]
    fn what_is_no_page_is_damage() {
        for bad in [
            &b""[..],
            &[FORM + 1],
            &[FORM, 3],
            &[FORM, 3, 2, 0],
            &[FORM, 3, LONG, 1, 0],
        ] {
            assert!(find(bad, 3).is_err(), "{bad:02x?}");
            assert!(rewrite(Some(bad), &[(9, None)]).is_err(), "{bad:02x?}");
        }
    }

    proptest! {
        #[test]
        fn a_page_is_a_map_of_places(
            rounds in proptest::collection::vec(
                proptest::collection::btree_map(0_u8..64, proptest::option::of(0_usize..600), 0..64), 1..5),
        ) {
            let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
            let mut page: Option<Vec<u8>> = None;
            for round in rounds {
                let values = round.into_iter().map(|(place, length)| (place, length.map(|n| vec![place; n])));
                let values: Vec<_> = values.collect();
                let changes: Vec<_> = values.iter().map(|(place, value)| (*place, value.as_deref())).collect();
                page = rewrite(page.as_deref(), &changes).unwrap();
                for (place, value) in values {
                    match value {
                        Some(value) => model.insert(place, value),
                        None => model.remove(&place),
                    };
                }
                prop_assert_eq!(page.is_none(), model.is_empty());
                for place in 0..64 {
                    let found = page.as_ref().map_or(Ok(None), |page| find(page, place)).unwrap();
                    prop_assert_eq!(found.as_ref(), model.get(&place));
                }
            }
        }
    }
}
