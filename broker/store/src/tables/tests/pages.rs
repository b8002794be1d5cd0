//! Rows of sequences: alone, in pages, and on the way from one to the other.

use super::*;
use crate::tables::rows;

fn key(sequence: u64) -> Vec<u8> {
    [&[b'e', 0, 0, 0, 7][..], &sequence.to_be_bytes()].concat()
}

fn fill(tables: &mut GroupTables, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        tables.insert(&key(sequence), sequence.to_be_bytes().to_vec());
    }
}

/// How many rows fjall has, alone and in pages: of those one for each page.
fn stored(tables: &GroupTables) -> (usize, usize) {
    let count = |first| tables.keyspace().prefix([first]).count();
    (count(b'e'), count(b'e' | 0x80))
}

fn format(tables: &GroupTables) -> Option<u64> {
    let format = tables.keyspace().get(rows::FORMAT).unwrap();
    rows::read_number(&format.unwrap())
}

#[test]
fn what_older_brokers_wrote_is_moved_while_it_is_used() {
    const ROWS: u64 = 40_000;
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    fill(&mut tables, 0..ROWS);
    tables.commit(1);
    tables.flush().unwrap();
    assert_eq!((stored(&tables), format(&tables)), ((40_000, 0), Some(1)));
    store.pages().allow();
    for commit in 2..6 {
        tables.put(&key(commit), vec![9]);
        tables.commit(commit);
        tables.flush().unwrap();
        assert_eq!(format(&tables), Some(2), "with the first page");
        let (alone, pages) = stored(&tables);
        assert!(alone < 40_000 && pages > 0);
        assert_eq!(all(&tables).len(), 40_000);
        assert_eq!(
            tables.get(&key(ROWS - 1)).unwrap().unwrap(),
            (ROWS - 1).to_be_bytes()
        );
        assert_eq!(tables.get(&key(commit)).unwrap().unwrap(), [9]);
    }
    assert_eq!(stored(&tables), (0, 625), "64 to a page");
    drop((store, tables));
    // Whoever opens them need not say it again.
    let (_store, mut tables) = open(dir.path(), lazy());
    assert_eq!(all(&tables).len(), 40_000);
    tables.remove(&key(64));
    tables.commit(6);
    tables.flush().unwrap();
    assert_eq!((stored(&tables), all(&tables).len()), ((0, 625), 39_999));
}

#[test]
fn a_page_goes_with_its_last_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = TableStore::open(dir.path().join("tables"), lazy()).unwrap();
    store.pages().allow();
    let mut tables = store.group(GROUP).unwrap();
    assert_eq!(format(&tables), Some(2));
    fill(&mut tables, 10..200);
    tables.commit(1);
    tables.flush().unwrap();
    assert_eq!(stored(&tables), (0, 4));
    // A page known whole, the end of another, and one row of a third.
    (64..129).for_each(|sequence| tables.remove(&key(sequence)));
    tables.remove(&key(10));
    tables.commit(2);
    tables.flush().unwrap();
    assert_eq!((stored(&tables), all(&tables).len()), ((0, 3), 124));
    (11..200).for_each(|sequence| tables.remove(&key(sequence)));
    tables.commit(3);
    tables.flush().unwrap();
    assert_eq!(stored(&tables), (0, 0));
}

#[test]
#[should_panic(expected = "neither of a sequence nor of something else")]
fn a_key_of_a_sequence_has_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), lazy());
    tables.put(b"e", vec![1]);
}
