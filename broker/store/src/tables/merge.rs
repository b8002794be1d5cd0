//! Rows of memory and fjall as one.

use std::cmp::Ordering;
use std::iter::Peekable;

use millrace_model::Fault;
use millrace_model::tables::Row;

use crate::tables::key::Key;
use crate::tables::overlay::Slot;

/// Two overlays as one: where both know a row, the newer one is right.
pub(crate) fn overlays<'a>(
    newer: impl Iterator<Item = (&'a Key, &'a Slot)>,
    older: impl Iterator<Item = (&'a Key, &'a Slot)>,
) -> impl Iterator<Item = (&'a Key, &'a Slot)> {
    let (mut newer, mut older) = (newer.peekable(), older.peekable());
    std::iter::from_fn(move || {
        let order = match (newer.peek(), older.peek()) {
            (Some((new, _)), Some((old, _))) => new.cmp(old),
            (None, Some(_)) => Ordering::Greater,
            (_, None) => Ordering::Less,
        };
        match order {
            Ordering::Less => newer.next(),
            Ordering::Greater => older.next(),
            Ordering::Equal => {
                older.next();
                newer.next()
            }
        }
    })
}

/// The first `limit` rows of `above` and `below`; what `above` knows of a row is right.
pub(crate) fn rows<'a>(
    above: impl Iterator<Item = (&'a Key, &'a Slot)>,
    below: impl Iterator<Item = Result<Row, Fault>>,
    limit: usize,
) -> Result<Vec<Row>, Fault> {
    let mut above = above.peekable();
    let mut found = Vec::new();
    for row in below {
        // Also when the limit is reached: an error here must not look like the end.
        let (key, value) = row?;
        let key_words = Key::new(&key);
        let shadowed = take_until(&mut above, &key_words, limit, &mut found);
        if found.len() >= limit {
            return Ok(found);
        }
        if !shadowed {
            found.push((key, value));
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }
    let rest = above.filter_map(present);
    found.extend(rest.take(limit - found.len()));
    Ok(found)
}

/// Takes the rows of `above` up to `key`, `limit` at most in all; whether `key` itself is among what it knows.
fn take_until<'a>(
    above: &mut Peekable<impl Iterator<Item = (&'a Key, &'a Slot)>>,
    key: &Key,
    limit: usize,
    found: &mut Vec<Row>,
) -> bool {
    while found.len() < limit {
        let Some(row) = above.next_if(|(next, _)| *next <= key) else {
            return false;
        };
        found.extend(present(row));
        if row.0 == key {
            return true;
        }
    }
    false
}

fn present((key, slot): (&Key, &Slot)) -> Option<Row> {
    Some((key.to_vec(), slot.value()?.clone()))
}
