//! The watch of the machine itself: one that saw a loss wherever a broker is slow would excuse everything.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use millrace_tests::{Machine, machine_parts};

use crate::alone;

const CORES: usize = 2;
/// This test, in what follows.
const OWN: u32 = 100;

/// A process as `/proc` shows it, with ticks of its own and of its children that have ended.
fn process(id: u32, name: &str, parent: u32, ticks: u64, of_children: u64) -> String {
    format!("{id} ({name}) R {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 {of_children} 0 20 0 1 0 5 0 0")
}

/// `/proc/stat` of a machine whose host gave so many ticks to others.
fn all(stolen: u64) -> String {
    format!("cpu  1000 0 1000 9000 50 0 7 {stolen} 0 0\ncpu0 1 2 3")
}

/// What is lost between two looks at these, of 200 ticks on two cores.
fn lost(before: &[String], now: &[String], stolen: u64) -> Duration {
    let [before, now] =
        [before, now].map(|processes| Vec::from_iter(processes.iter().map(String::as_str)));
    machine_parts::taken(OWN, (&all(0), &before), (&all(stolen), &now), CORES)
}

#[test]
fn what_the_test_and_its_brokers_use_is_not_lost_to_them() {
    let tree = |broker: u64, load: u64| {
        [
            process(1, "init", 0, 10, 0),
            process(OWN, "crash", 1, load, 0),
            process(101, "ip netns (x) exec", OWN, 0, 0),
            process(102, "millrace", 101, broker, 0),
        ]
    };
    // One broker runs without end, as one that is stuck in a loop does.
    assert_eq!(lost(&tree(5, 5), &tree(205, 50), 0), Duration::ZERO);
    // All stand still, as those whose disk hangs do.
    assert_eq!(lost(&tree(5, 5), &tree(5, 5), 0), Duration::ZERO);
    // One was killed: its time is its parent's from then on.
    let killed = [
        process(1, "init", 0, 10, 0),
        process(OWN, "crash", 1, 5, 100),
    ];
    assert_eq!(lost(&tree(90, 5), &killed, 0), Duration::ZERO);
}

#[test]
fn what_others_use_and_what_the_host_takes_is_lost() {
    let others = |ticks: u64, of_children: u64| {
        [
            process(1, "init", 0, 10, 0),
            process(OWN, "crash", 1, 5, 0),
            process(7, "cargo build", 1, ticks, of_children),
            process(2, "kthreadd", 0, ticks, 0),
            process(9, "kworker/0:1", 2, ticks, 0),
        ]
    };
    let all_of_both_cores = Duration::from_millis(1000);
    assert_eq!(lost(&others(5, 0), &others(105, 100), 0), all_of_both_cores);
    assert_eq!(lost(&others(5, 0), &others(5, 0), 200), all_of_both_cores);
    assert_eq!(lost(&others(50, 50), &others(50, 0), 0), Duration::ZERO);
}

#[test]
fn only_a_sleep_that_no_busy_process_explains_means_that_the_machine_stood_still() {
    let overslept = |ms| machine_parts::overslept(Duration::from_millis(ms));
    assert_eq!(overslept(10), Duration::ZERO);
    assert_eq!(overslept(90), Duration::ZERO);
    assert_eq!(overslept(510), Duration::from_millis(500));
}

#[test]
fn a_real_process_of_the_test_is_told_from_one_of_somebody_else() {
    let _alone = alone();
    let machine = Machine::watch();
    let quiet = lost_while(&machine, || Busy(Vec::new()));
    let own = lost_while(&machine, || Busy(vec![busy(&["sh", "-c"])]));
    // It leaves the family: its parent ends at once.
    let foreign = lost_while(&machine, || Busy(vec![busy(&["setsid", "-f", "sh", "-c"])]));
    println!(
        "lost in 2 s: {quiet:.2?} quiet, {own:.2?} with a busy child, {foreign:.2?} with a busy stranger"
    );
    let by_stranger = foreign.saturating_sub(own.max(quiet));
    assert!(
        by_stranger > Duration::from_millis(200) || quiet > Duration::from_secs(1),
        "the stranger took {by_stranger:?} more than the child"
    );
}

/// What the machine loses in 2 s of this.
fn lost_while(machine: &Machine, what: impl FnOnce() -> Busy) -> Duration {
    let what = what();
    let from = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let to = Instant::now();
    drop(what);
    machine.lost(from, to)
}

/// Processes that end with it.
struct Busy(Vec<Child>);

/// Computes for 3 s at most.
fn busy(how: &[&str]) -> Child {
    let until = "timeout 2.2 sh -c 'while :; do :; done'";
    let mut command = Command::new(how[0]);
    let spawned = command
        .args(&how[1..])
        .arg(until)
        .stdout(Stdio::null())
        .spawn();
    spawned.expect("a shell is there")
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
