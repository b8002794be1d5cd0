//! Damage on disk: the broker says what is damaged and does not start; it never starts empty, and never serves what is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_tests::{Broker, Client};
use serde_json::json;

use crate::scene::{counter, queue, send};

/// What the damaged event holds: found in the log by it.
const MARK: &str = "here is where the bit flips";

/// A stopped broker with a hundred events in its log, one of them marked.
fn stopped() -> Broker {
    let mut broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    for number in 0..100 {
        let data = if number == 50 {
            json!(MARK)
        } else {
            json!(number)
        };
        send(&client, "q", &data);
    }
    assert!(broker.stop().success());
    broker
}

#[track_caller]
fn refuses_to_start(broker: &mut Broker, says: &[&str]) {
    match broker.try_restart() {
        Ok(()) => panic!(
            "it started with {} messages",
            counter(&broker.client(), "q", "ready")
        ),
        Err(end) => assert_eq!(end.code(), Some(1), "{}", broker.log()),
    }
    let log = broker.log();
    assert!(!log.contains("panicked at"), "{log}");
    let lower = log.to_lowercase();
    assert!(
        says.iter().any(|word| lower.contains(word)),
        "it does not say what is wrong: {log}"
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The file of the log that holds the marked event, and where in it.
fn marked(data: &Path) -> (PathBuf, usize) {
    let holds = |path: PathBuf| {
        let bytes = fs::read(&path).expect("readable");
        let at = bytes
            .windows(MARK.len())
            .position(|window| window == MARK.as_bytes())?;
        Some((path, at))
    };
    files(data)
        .into_iter()
        .find_map(holds)
        .expect("the event is in the log")
}

#[test]
fn a_flipped_bit_in_the_log_is_found_at_start() {
    let mut broker = stopped();
    let (path, at) = marked(broker.data());
    let mut bytes = fs::read(&path).expect("readable");
    bytes[at] ^= 0x01;
    fs::write(&path, bytes).expect("writable");
    refuses_to_start(&mut broker, &["damage", "corrupt", "crc", "checksum"]);
}

#[test]
fn a_removed_log_is_missed() {
    let mut broker = stopped();
    let (path, _) = marked(broker.data());
    fs::remove_file(&path).expect("removed");
    refuses_to_start(
        &mut broker,
        &["missing", "lost", "damage", "gone", "no log"],
    );
}

#[test]
fn a_removed_log_folder_is_missed() {
    let mut broker = stopped();
    let (path, _) = marked(broker.data());
    let folder = path.parent().expect("a folder");
    assert_ne!(folder, broker.data(), "the log has a folder of its own");
    fs::remove_dir_all(folder).expect("removed");
    refuses_to_start(&mut broker, &["the log folder is empty"]);
}

#[test]
fn a_log_cut_short_is_found() {
    let mut broker = stopped();
    let (path, at) = marked(broker.data());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("writable");
    file.set_len(at as u64).expect("cut");
    drop(file);
    refuses_to_start(
        &mut broker,
        &[
            "missing", "lost", "damage", "corrupt", "short", "truncat", "end",
        ],
    );
}

#[test]
fn the_audit_passes_on_what_is_whole_and_fails_on_what_is_not() {
    let broker = stopped();
    let check = || {
        let mut check = std::process::Command::new(millrace_tests::millrace());
        check.args(["check", "--output", "json"]).arg(broker.data());
        check.output().expect("the binary can be run")
    };
    let whole = check();
    assert!(whole.status.success(), "{whole:?}");
    let (path, at) = marked(broker.data());
    let mut bytes = fs::read(&path).expect("readable");
    bytes[at] ^= 0x80;
    fs::write(&path, bytes).expect("writable");
    let damaged = check();
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
}

#[test]
fn two_brokers_never_share_a_data_directory() {
    let broker = Broker::start();
    let client: Client = broker.client();
    queue(&client, "q");
    let output = std::process::Command::new(millrace_tests::millrace())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--peer-listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(broker.data())
        .output()
        .expect("the binary can be run");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    client.get("/v1/queues/q").expect(200);
}
