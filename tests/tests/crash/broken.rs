//! Disks that fail: a sync or a write of one node gives EIO (libfiu). The node ends, and never counts what it could not sync.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use millrace_tests::{Cluster, Setting};
use tempfile::TempDir;

use crate::trial::Trial;
use crate::{alone, seed};

/// A node whose disk fails ends within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const EIO: u32 = 5;

#[test]
fn a_leader_that_cannot_sync_ends_and_comes_back() {
    let _alone = alone();
    fails("leader: EIO at fdatasync", "posix/io/sync/fdatasync", true);
}

#[test]
fn a_follower_that_cannot_sync_ends_and_comes_back() {
    let _alone = alone();
    fails(
        "follower: EIO at fdatasync",
        "posix/io/sync/fdatasync",
        false,
    );
}

#[test]
fn a_follower_that_cannot_write_ends_and_comes_back() {
    let _alone = alone();
    fails("follower: EIO at write", "posix/io/rw/*", false);
}

/// `what` fails from a moment on at one node, which must end by itself, saying so; the others go on; it comes back as it was.
fn fails(fault: &'static str, what: &str, is_leader: bool) {
    let fifos = TempDir::new().expect("a temporary folder");
    let prefix = fifos.path().join("fiu");
    let environment = (1..=3).map(|node| (node, libfiu(&prefix)));
    let setting = Setting {
        environment: environment.collect(),
        ..Setting::default()
    };
    let mut trial = Trial::begin(fault, Cluster::start_on(3, setting), seed());
    std::thread::sleep(Duration::from_secs(1));
    let leader = trial.leader();
    let victim = if is_leader {
        leader
    } else {
        trial.others(&[leader])[0]
    };
    let others = trial.others(&[victim]);

    let broker = trial.cluster.node(victim);
    enable(&prefix, broker.pid(), what);
    let began = Instant::now();
    let served = trial.serves_through(&others);
    let broker = trial.cluster.node(victim);
    let end = broker.wait_for_end(ENDS_WITHIN);
    let (ended, log) = (began.elapsed(), broker.log());
    assert!(!end.success(), "it ended as if nothing had been: {log}");
    // Where nothing can be written, no words can be written either.
    let is_mute = what.contains("/rw/");
    assert!(
        is_mute || log.contains("Input/output error"),
        "it does not say why: {log}"
    );
    assert!(!log.contains("panicked at"), "{log}");
    let said = log.trim().lines().last().unwrap_or_default();
    println!("ended after {ended:.2?}, the others served after {served:.2?}; it said: {said}");
    trial.goes_on(200);

    let broker = trial.cluster.node(victim);
    broker.unset_all();
    broker.restart();
    trial.heals();
    trial.end();
}

/// The variables that `fiu-run -x` would set. A shell between us and the broker would hide its number.
fn libfiu(prefix: &Path) -> Vec<(String, String)> {
    let libraries = ["fiu_run_preload.so", "fiu_posix_preload.so"].map(library);
    let preload = libraries.map(|library| library.display().to_string());
    vec![
        ("LD_PRELOAD".to_owned(), preload.join(" ")),
        ("FIU_ENABLE".to_owned(), String::new()),
        ("FIU_CTRL_FIFO".to_owned(), prefix.display().to_string()),
    ]
}

fn library(name: &str) -> PathBuf {
    let folders = ["/usr/lib/fiu", "/usr/local/lib/fiu"].map(Path::new);
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name}: is fiu-utils installed?"))
}

fn enable(prefix: &Path, pid: u32, what: &str) {
    let command = format!("enable name={what},failinfo={EIO}");
    let output = Command::new("fiu-ctrl")
        .args(["-c", &command, "-f"])
        .arg(prefix)
        .arg(pid.to_string())
        .output()
        .expect("fiu-utils is installed");
    assert!(output.status.success(), "{output:?}");
}
