//! Figures, printed: `cargo test --release -p millrace-store speed -- --ignored --nocapture --test-threads 1`.

use std::time::Instant;

use super::*;

fn key(queue: u32, seq: u64) -> Vec<u8> {
    [b"e", &queue.to_be_bytes()[..], &seq.to_be_bytes()].concat()
}

fn options() -> TableOptions {
    TableOptions::new(Arc::new(Hundreds::default()))
}

fn print(what: &str, start: Instant, n: u64) {
    let took = start.elapsed();
    let each = took.as_nanos() as f64 / n as f64;
    println!("{what:48} {took:>10.1?}  {each:8.1} ns each");
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
#[ignore = "prints figures"]
fn rows_that_live_shortly() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), options());
    let (n, depth) = (1_000_000_u64, 20_000_u64);
    let start = Instant::now();
    for i in 0..n + depth {
        if i < n {
            tables.insert(&key((i % 50) as u32, i / 50), vec![1; 40]);
            tables.put(&key((i % 50) as u32, i / 50), vec![2; 40]);
        }
        if let Some(old) = i.checked_sub(depth) {
            tables.remove(&key((old % 50) as u32, old / 50));
        }
        if i % 64 == 0 {
            tables.commit(i);
        }
    }
    print("insert + put + remove, 20k live", start, n);
    println!("{:?}", store.metrics().read());
}

fn open_as(dir: &Path, paged: bool) -> (TableStore, GroupTables) {
    let store = TableStore::open(dir.join("tables"), options()).unwrap();
    if paged {
        store.pages().allow();
    }
    let tables = store.group(GROUP).unwrap();
    (store, tables)
}

#[test]
#[ignore = "prints figures"]
fn a_backlog_its_restart_and_its_drain() {
    for (paged, what) in [(true, "in pages"), (false, "each row alone")] {
        println!("\n{what}");
        backlog(paged);
    }
}

fn backlog(paged: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open_as(dir.path(), paged);
    let n = 1_000_000_u64;
    println!("start: {}", memory());
    let start = Instant::now();
    for i in 0..n {
        tables.insert(&key(1, i), vec![1; 40]);
        if i % 64 == 0 {
            tables.commit(i);
        }
    }
    tables.commit(n);
    print("insert 1M rows", start, n);
    tables.flush().unwrap();
    print("and flush", start, n);
    println!("{} {:?}", memory(), store.metrics().read());
    drop((store, tables));
    let start = Instant::now();
    let (store, mut tables) = open_as(dir.path(), paged);
    print("open", start, 1);
    println!("{}", memory());
    for pass in ["scan 1M rows in windows of 1024", "again"] {
        let start = Instant::now();
        let (mut from, mut seen) = (key(1, 0), 0);
        loop {
            let rows = tables.scan(&from, &key(2, 0), 1_024).unwrap();
            seen += rows.len() as u64;
            let Some((last, _)) = rows.last() else { break };
            from = [&last[..], &[0]].concat();
        }
        assert_eq!(seen, n);
        print(pass, start, n);
    }
    println!("{}", memory());
    let start = Instant::now();
    for i in 0..n {
        if i % 1_024 == 0 {
            assert!(
                !tables
                    .scan(&key(1, i), &key(2, 0), 1_024)
                    .unwrap()
                    .is_empty()
            );
        }
        tables.remove(&key(1, i));
        if i % 64 == 0 {
            tables.commit(n + i);
        }
    }
    tables.commit(2 * n);
    print("drain 1M rows: refill windows and remove", start, n);
    tables.flush().unwrap();
    print("and flush", start, n);
    println!("{} {:?}", memory(), store.metrics().read());
}

#[test]
#[ignore = "prints figures"]
fn one_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut tables) = open(dir.path(), lazy());
    let n = 100_000_u64;
    for i in 0..n {
        tables.insert(&key(1, i), vec![1; 40]);
    }
    tables.commit(1);
    let start = Instant::now();
    tables.flush().unwrap();
    print("flush 100k rows", start, n);
    println!("{:?}", store.metrics().read());
    let start = Instant::now();
    for i in 0..n {
        assert!(tables.get(&key(1, i * 7_919 % n)).unwrap().is_some());
    }
    print("get from fjall's memtable", start, n);
}

#[test]
#[ignore = "prints figures"]
fn references_of_short_messages() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut tables) = open(dir.path(), options());
    let (n, batch) = (900_000_u64, 64);
    let of = |entry, message| PayloadRef {
        index: entry,
        offset: u32::try_from(message).unwrap() * 1_000,
        len: 1_000,
    };
    let start = Instant::now();
    for entry in 0..n / batch {
        for message in 0..batch {
            tables.retain(of(entry, message), 1);
        }
        tables.commit(2 * entry);
        for message in 0..batch {
            tables.release(of(entry, message), 1);
        }
        tables.commit(2 * entry + 1);
    }
    print("retain + release, 64 a commit", start, n);
}
