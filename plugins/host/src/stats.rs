//! [`Stats`]: what a plugin version did, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Different codes of failure that are told apart for one plugin version; what comes later counts as `other`.
const CODES_MAX: usize = 32;

/// Plugin versions that are told apart; what comes later is not counted.
const PLUGINS_MAX: usize = 1_000;

/// Counters of one plugin version, over all its bindings.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    batches: AtomicU64,
    events: AtomicU64,
    run_ns: AtomicU64,
    retries: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Stats {
    /// A call is over, however it ended.
    pub(crate) fn ran(&self, events: usize, time: Duration) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.run_ns.fetch_add(
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// An event was given to the plugin once more.
    pub(crate) fn tried_again(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// An event failed.
    pub(crate) fn failed(&self, code: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.contains_key(code) || failures.len() < CODES_MAX;
        *failures
            .entry(if known { code } else { "other" }.to_owned())
            .or_default() += 1;
    }
}

/// The counters of every plugin version that ran since the start.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<String, Arc<Stats>>>);

impl Registry {
    /// The counters of `plugin` (`name@version`).
    pub(crate) fn stats(&self, plugin: &str) -> Arc<Stats> {
        let mut stats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stats.len() >= PLUGINS_MAX && !stats.contains_key(plugin) {
            return Arc::default();
        }
        Arc::clone(stats.entry(plugin.to_owned()).or_default())
    }

    /// Everything as Prometheus text. Names and versions hold no character that needs escaping.
    pub(crate) fn text(&self) -> String {
        let stats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed).to_string();
        family(
            &mut text,
            &stats,
            "batches_total",
            "Calls of a plugin.",
            |one| count(&one.batches),
        );
        family(
            &mut text,
            &stats,
            "events_total",
            "Events that a plugin was called with.",
            |one| count(&one.events),
        );
        family(
            &mut text,
            &stats,
            "run_seconds_total",
            "Time in calls of a plugin, waiting included.",
            |one| {
                Duration::from_nanos(one.run_ns.load(Ordering::Relaxed))
                    .as_secs_f64()
                    .to_string()
            },
        );
        family(
            &mut text,
            &stats,
            "retries_total",
            "Events that a plugin was called with once more, since it asked for that.",
            |one| count(&one.retries),
        );
        failures(&mut text, &stats);
        text
    }
}

fn family(
    text: &mut String,
    stats: &BTreeMap<String, Arc<Stats>>,
    name: &str,
    help: &str,
    value: impl Fn(&Stats) -> String,
) {
    if stats.is_empty() {
        return;
    }
    head(text, name, help);
    for (plugin, stats) in stats {
        let _ = writeln!(
            text,
            "millrace_plugin_{name}{{plugin=\"{plugin}\"}} {}",
            value(stats)
        );
    }
}

fn failures(text: &mut String, stats: &BTreeMap<String, Arc<Stats>>) {
    if stats.is_empty() {
        return;
    }
    head(
        text,
        "failures_total",
        "Events that a plugin failed on, by code.",
    );
    for (plugin, stats) in stats {
        for (code, count) in stats
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let _ = writeln!(
                text,
                "millrace_plugin_failures_total{{plugin=\"{plugin}\",code=\"{code}\"}} {count}"
            );
        }
    }
}

/// Writing to a string cannot fail.
fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(
        text,
        "# HELP millrace_plugin_{name} {help}\n# TYPE millrace_plugin_{name} counter"
    );
}
