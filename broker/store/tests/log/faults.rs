//! A disk that fails: nothing is promised after it, and everybody is told.

use std::process::Command;

use millrace_store::log::LogError;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support::*;

const IN_CHILD: &str = "MILLRACE_TEST_FAILING_DISK";

/// Runs [`in_a_process_whose_writes_fail`] in a process of its own: the limit that makes writes fail is the process's.
#[test]
fn after_a_failed_write_nothing_is_written_and_everybody_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let ignoring_the_signal =
        "trap '' XFSZ; exec \"$0\" --exact faults::in_a_process_whose_writes_fail --nocapture";
    let test = std::env::current_exe().unwrap();
    let mut shell = Command::new("sh");
    let output = shell
        .arg("-c")
        .arg(ignoring_the_signal)
        .arg(test)
        .env(IN_CHILD, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What was acknowledged is there for the next process.
    let log = open(dir.path());
    let entries = all(&log.group(G));
    assert!(entries.len() >= 5);
    for entry in entries {
        let len = if entry.index <= 5 { 100 } else { 3000 };
        assert_eq!(entry.body, body(entry.index, len));
    }
}

#[test]
fn in_a_process_whose_writes_fail() {
    let Some(dir) = std::env::var_os(IN_CHILD) else {
        return;
    };
    let log = open(dir.as_ref());
    let group = log.group(G);
    fill(&group, 1, 5, 100);
    eventually("spares", || log.metrics().read().segments_free == 2);
    // Writes beyond this offset of any file fail from now on.
    let end = log.segments()[0].bytes + 1000;
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(end),
            maximum: Some(end),
        },
    )
    .unwrap();
    let (waits, waited) = waiter();
    group.when_durable(7, waits);
    let outcomes: Vec<_> = (6..=20)
        .map(|index| {
            let (done, told) = waiter();
            group
                .append(vec![entry(1, index, body(index, 3000))], done)
                .map(|()| told)
        })
        .collect();
    let mut refused = 0;
    for outcome in outcomes {
        match outcome {
            Ok(told) => assert!(matches!(
                *told.recv().unwrap().unwrap_err(),
                LogError::Io(_)
            )),
            Err(error) => {
                assert!(matches!(*error, LogError::Poisoned(_)), "{error}");
                refused += 1;
            }
        }
    }
    assert!(waited.recv().unwrap().is_err());
    let (done, _told) = waiter();
    assert!(matches!(
        *group.save_vote(vec![1].into(), done).unwrap_err(),
        LogError::Poisoned(_)
    ));
    assert!(group.wait_durable(7).is_err() && refused < 15);
    assert_eq!(group.durable_index(), Some(5));
    assert_eq!(group.payload(3, 0, 100).unwrap(), body(3, 100));
    assert!(log.close().is_err());
}
