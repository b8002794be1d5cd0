//! Promises in seconds: what is promised for a machine that does nothing else, and nothing more than what this one lost meanwhile.

use std::time::{Duration, Instant};

use millrace_tests::{Load, Stall};

/// The others serve within this time when a leader is gone.
const FAIL_OVER: Duration = Duration::from_secs(3);
/// How long it is waited for that at all: what is late is told with how late it was.
const FAIL_OVER_PATIENCE: Duration = Duration::from_secs(20);

/// Asserts that something which began at `from` took no longer than promised.
pub(crate) fn kept(load: &Load, what: &str, from: Instant, took: Duration, promised: Duration) {
    if took <= promised {
        return;
    }
    let lost = load.machine().lost(from, from + took);
    println!(
        "{what} took {took:.2?} where {promised:.2?} are promised; the machine lost {lost:.2?} meanwhile"
    );
    assert!(
        took <= promised + lost,
        "{what} took {took:.2?}: {promised:.2?} are promised, and the machine lost only {lost:.2?}"
    );
}

/// The same of a stall of the load.
pub(crate) fn stalled_briefly(load: &Load, what: &str, stall: Stall, promised: Duration) {
    kept(
        load,
        &format!("{what}: a stall"),
        stall.from,
        stall.took,
        promised,
    );
}

/// Publishes through `doors` until that is acknowledged, as soon as is promised when a leader is gone: how long it took.
pub(crate) fn served(load: &Load, doors: &[String]) -> Duration {
    let from = Instant::now();
    let took = load.probe(doors, FAIL_OVER_PATIENCE);
    let took = took.unwrap_or_else(|| panic!("{doors:?} serve nothing in {FAIL_OVER_PATIENCE:?}"));
    kept(load, "to serve again", from, took, FAIL_OVER);
    took
}
