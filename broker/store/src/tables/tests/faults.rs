//! What tables do when the disk does not.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::*;

fn sorted_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent().unwrap().ends_with("tables")
                && path.file_name().unwrap() != "lock"
            {
                found.push(path);
            }
        }
    }
    found
}

fn fill(tables: &mut GroupTables, rows: u64, from: u64) {
    for n in from..from + rows {
        let value = n.to_be_bytes().repeat(16);
        tables.put(&[b"m", &n.to_be_bytes()[..]].concat(), value);
        tables.commit(n + 1);
    }
}

#[test]
fn damaged_rows_are_a_fault_that_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    fill(&mut tables, 5_000, 0);
    tables.flush().unwrap();
    tables.keyspace().rotate_memtable_and_wait().unwrap();
    drop((store, tables));
    let keyspaces = dir.path().join("tables/keyspaces/1");
    for file in sorted_files(&keyspaces) {
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle..middle + 4_000].fill(0xa5);
        fs::write(&file, bytes).unwrap();
    }
    // Either the files are refused at once, or the rows when they are read.
    let Ok(store) = TableStore::open(dir.path().join("tables"), lazy()) else {
        return;
    };
    let Ok(tables) = store.group(GROUP) else {
        return;
    };
    assert!(tables.scan(b"m", b"n", usize::MAX).is_err());
    assert!(tables.health().is_err());
    assert!(tables.get(b"m").is_err());
}

#[test]
fn a_disk_that_refuses_writes_is_a_fault_for_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let options = TableOptions {
        memtable_bytes: 64 << 10,
        ..lazy()
    };
    let (_store, mut tables) = open(dir.path(), options);
    fill(&mut tables, 100, 0);
    tables.flush().unwrap();
    let flushed = tables.flushed();
    // The folder of fjall's sorted files is replaced by a file: nothing can be written to it.
    let folder = dir.path().join("tables/keyspaces/1/tables");
    fs::rename(&folder, dir.path().join("gone")).unwrap();
    fs::write(&folder, "").unwrap();
    let mut failed = None;
    for round in 1..50 {
        fill(&mut tables, 1_000, 1_000 * round);
        if let Err(fault) = tables.flush() {
            failed = Some(fault);
            break;
        }
    }
    let fault = failed.expect("a flush fails").to_string();
    assert!(
        fault.contains("Poisoned") || fault.contains("rows"),
        "{fault}"
    );
    assert!(tables.health().is_err());
    assert!(tables.get(b"m").is_err());
    assert!(tables.scan(b"m", b"n", 1).is_err());
    assert!(tables.handle().snapshot(false).is_err());
    assert!(tables.flushed() >= flushed);
    // Commits go nowhere, and they do not hang.
    tables.put(b"m", vec![0; 64 << 20]);
    tables.commit(1_000_000);
    tables.put(b"m", vec![0; 64 << 20]);
    tables.commit(1_000_001);
}

/// Copies all but journals.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if path.extension().is_none_or(|kind| kind != "jnl") {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Power loss leaves a beginning of the journal, and after it nothing, or zeros, or zeros with later blocks behind them.
#[test]
fn a_journal_cut_anywhere_comes_back_at_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    let mut states = BTreeMap::from([(0, Vec::new())]);
    for round in 1..8_u64 {
        // Values within and beyond a block, and such as fjall would compress.
        for n in 0..5 {
            let value = vec![u8::try_from(n).unwrap(); 10 + 1_500 * n];
            tables.put(
                &[b'm', u8::try_from(round).unwrap(), u8::try_from(n).unwrap()],
                value,
            );
        }
        tables.remove(&[b'm', u8::try_from(round - 1).unwrap(), 1]);
        tables.retain(place(100 * round), 1);
        tables.commit(100 * round);
        tables.flush().unwrap();
        states.insert(tables.applied(), all(&tables));
    }
    drop((store, tables));
    let journal = fs::read(dir.path().join("tables/0.jnl")).unwrap();
    let end = journal.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut seen = BTreeSet::new();
    for cut in (200..end).step_by(end / 40) {
        let after = (cut + 4_096).min(end);
        for (length, rest) in [
            (cut, &[][..]),
            (journal.len(), &[]),
            (journal.len(), &journal[after..end]),
        ] {
            let damaged = tempfile::tempdir().unwrap();
            copy(&dir.path().join("tables"), &damaged.path().join("tables"));
            let file = fs::File::create(damaged.path().join("tables/0.jnl")).unwrap();
            file.write_all_at(&journal[..cut], 0).unwrap();
            file.write_all_at(rest, after as u64).unwrap();
            file.set_len(length as u64).unwrap();
            let (_store, tables) = open(damaged.path(), lazy());
            let applied = tables.applied();
            assert_eq!(Some(&all(&tables)), states.get(&applied), "cut at {cut}");
            assert_eq!(tables.references().len() as u64, applied / 100);
            seen.insert(applied);
        }
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn damage_of_a_synced_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    tables.put(b"m", vec![1; 9_000]);
    tables.commit(1);
    tables.flush().unwrap();
    drop((store, tables));
    let path = dir.path().join("tables/0.jnl");
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(&[7; 100], 5_000)
        .unwrap();
    // Now it is not the newest any more.
    fs::File::create(dir.path().join("tables/1.jnl")).unwrap();
    assert!(TableStore::open(dir.path().join("tables"), lazy()).is_err());
}

/// A small file system, unmounted when dropped. Needs root, as the tests of the whole broker do.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(dir.path());
        assert!(mount.status().unwrap().success(), "mounting needs root");
        Self(dir)
    }

    /// Fills the disk to its last page.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status()
            .ok();
    }
}

#[test]
fn a_full_disk_holds_rows_in_memory_until_there_is_room() {
    let disk = SmallDisk::mount("size=300m");
    let options = || TableOptions {
        reserve_bytes: 32 << 20,
        ..lazy()
    };
    let (store, mut tables) = open(disk.0.path(), options());
    fill(&mut tables, 1_000, 0);
    tables.flush().unwrap();
    assert!(!store.is_short());
    let ballast = disk.fill();
    // The reserve carries small flushes on.
    fill(&mut tables, 1_000, 1_000);
    tables.flush().unwrap();
    assert!(store.is_short());
    let mut flushed = tables.flushed();
    assert_eq!(flushed, 2_000);
    // When it is used up, rows stay in memory, readable, and nothing has failed.
    let mut rounds = 2;
    while tables.flush().is_ok() {
        flushed = tables.flushed();
        fill(&mut tables, 10_000, 10_000 * rounds);
        disk.fill();
        rounds += 1;
        assert!(rounds < 50, "the disk is never full");
    }
    tables.health().unwrap();
    assert_eq!(tables.flushed(), flushed);
    assert!(tables.applied() > flushed);
    let last = 10_000 * rounds - 1;
    assert!(
        tables
            .get(&[b"m", &last.to_be_bytes()[..]].concat())
            .unwrap()
            .is_some()
    );
    // It heals by itself, and the reserve fills up again.
    fs::remove_file(ballast).unwrap();
    tables.flush().unwrap();
    assert_eq!(tables.flushed(), tables.applied());
    assert!(!store.is_short());
    let rows = all(&tables).len();
    drop((store, tables));
    assert_eq!(all(&open(disk.0.path(), options()).1).len(), rows);
}

#[test]
fn a_reference_to_no_segment_or_below_zero_is_a_fault() {
    for (retained, released) in [(2_000_000, 0), (150, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let (_store, mut tables) = open(dir.path(), lazy());
        tables.retain(place(retained), 1);
        tables.release(place(150), released);
        tables.commit(150);
        assert!(tables.health().is_err());
        assert!(tables.flush().is_err());
    }
}

#[test]
fn references_within_one_batch_may_come_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), lazy());
    tables.release(place(150), 1);
    tables.retain(place(150), 2);
    tables.commit(150);
    tables.health().unwrap();
    assert_eq!(tables.references(), BTreeMap::from([(SegmentId(1), 1)]));
}

#[test]
fn tables_without_a_position_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, tables) = open(dir.path(), lazy());
    drop(tables);
    let keyspace = store
        .inner
        .keyspace(crate::tables::rows::Part::Rows, GROUP, 0)
        .unwrap();
    keyspace.insert("m", "row").unwrap();
    keyspace.remove(crate::tables::rows::APPLIED).unwrap();
    drop(keyspace);
    assert!(store.group(GROUP).is_err());
}

#[test]
fn tables_of_a_newer_format_are_refused_and_those_without_a_mark_are_of_the_first() {
    use crate::tables::rows::{self, Part};
    let dir = tempfile::tempdir().unwrap();
    let (store, tables) = open(dir.path(), lazy());
    drop(tables);
    let keyspace = store.inner.keyspace(Part::Rows, GROUP, 0).unwrap();
    keyspace.insert(rows::FORMAT, rows::number(3)).unwrap();
    let refused = store.group(GROUP).unwrap_err().to_string();
    assert!(
        refused.contains("newer broker (format 3); this one reads up to 2"),
        "{refused}"
    );
    keyspace.remove(rows::FORMAT).unwrap();
    assert!(store.group(GROUP).is_ok());
}

#[test]
fn removed_tables_are_new_and_stand_at_zero() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    fill(&mut tables, 10, 0);
    tables.flush().unwrap();
    drop((store, tables));
    fs::remove_dir_all(dir.path().join("tables")).unwrap();
    let (store, tables) = open(dir.path(), lazy());
    assert!(store.is_new());
    assert_eq!(tables.applied(), 0);
}
