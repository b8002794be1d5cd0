//! What the node counts, as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::node::Cluster;

/// Appends one metric with its help and type.
fn metric(text: &mut String, kind: &str, name: &str, help: &str, value: impl std::fmt::Display) {
    let suffix = if kind == "counter" { "_total" } else { "" };
    let _ = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{suffix} {value}"
    );
}

/// All counters of log, tables and groups.
pub(crate) fn text(cluster: &Cluster) -> String {
    let mut text = String::with_capacity(4096);
    log(&mut text, cluster);
    tables(&mut text, cluster);
    groups(&mut text, cluster);
    text
}

fn log(text: &mut String, cluster: &Cluster) {
    let space = cluster.log.space();
    metric(
        text,
        "gauge",
        "millrace_log_free_bytes",
        "Bytes ready in preallocated segments.",
        space.free_bytes,
    );
    metric(
        text,
        "gauge",
        "millrace_log_full",
        "1 when no further segment can be had.",
        u8::from(space.full),
    );
    let log = cluster.log.metrics().read();
    metric(
        text,
        "counter",
        "millrace_log_syncs",
        "fdatasync calls on the log.",
        log.syncs,
    );
    metric(
        text,
        "counter",
        "millrace_log_sync_seconds",
        "Time spent in them.",
        log.sync_time.as_secs_f64(),
    );
    metric(
        text,
        "counter",
        "millrace_log_records",
        "Records written to the log.",
        log.records,
    );
    metric(
        text,
        "counter",
        "millrace_log_written_bytes",
        "Bytes written to the log.",
        log.bytes_written,
    );
    metric(
        text,
        "gauge",
        "millrace_log_segments_live",
        "Segments in use.",
        log.segments_live,
    );
    metric(
        text,
        "gauge",
        "millrace_log_segments_free",
        "Segments that stand ready.",
        log.segments_free,
    );
    metric(
        text,
        "counter",
        "millrace_log_segments_recycled",
        "Segments given back.",
        log.segments_recycled,
    );
    metric(
        text,
        "gauge",
        "millrace_log_cache_bytes",
        "Bytes of recent bodies in memory.",
        log.cache_bytes,
    );
    metric(
        text,
        "counter",
        "millrace_log_disk_reads",
        "Reads that missed the cache.",
        log.disk_reads,
    );
}

fn tables(text: &mut String, cluster: &Cluster) {
    let tables = cluster.tables.metrics().read();
    metric(
        text,
        "counter",
        "millrace_tables_flushes",
        "Overlays written to the tables.",
        tables.flushes,
    );
    metric(
        text,
        "counter",
        "millrace_tables_flush_seconds",
        "Time spent in that.",
        tables.flush_time.as_secs_f64(),
    );
    metric(
        text,
        "counter",
        "millrace_tables_rows_written",
        "Rows written to the tables.",
        tables.rows_written,
    );
    metric(
        text,
        "counter",
        "millrace_tables_rows_elided",
        "Rows that never reached the disk.",
        tables.rows_elided,
    );
    metric(
        text,
        "gauge",
        "millrace_tables_overlay_bytes",
        "Bytes not yet written.",
        tables.overlay_bytes,
    );
    metric(
        text,
        "counter",
        "millrace_tables_stalls",
        "How often applying waited for a flush.",
        tables.stalls,
    );
    metric(
        text,
        "counter",
        "millrace_tables_syncs",
        "Syncs of the tables.",
        tables.syncs,
    );
    metric(
        text,
        "gauge",
        "millrace_tables_journals",
        "Journals of the tables; should stay below 4.",
        tables.journals,
    );
}

fn groups(text: &mut String, cluster: &Cluster) {
    let waiting = cluster.waiters.waiting();
    metric(
        text,
        "gauge",
        "millrace_waiting_receives",
        "Receives under way, long polls included.",
        waiting,
    );
    let families: [(&str, &str, &str, fn(&crate::group::Group) -> u64); 5] = [
        (
            "gauge",
            "millrace_group_applied_index",
            "Index of the last applied entry.",
            |group| group.view.applied.load(Ordering::Acquire),
        ),
        (
            "gauge",
            "millrace_group_is_leader",
            "1 on the node that leads the group.",
            |group| u64::from(group.is_leader()),
        ),
        (
            "gauge",
            "millrace_group_waiting_commands",
            "Commands that wait for a batch.",
            |group| group.batcher.load().waiting() as u64,
        ),
        (
            "counter",
            "millrace_group_batches",
            "Batches proposed.",
            |group| group.batcher.load().batches.load(Ordering::Relaxed),
        ),
        (
            "counter",
            "millrace_group_commands",
            "Commands proposed.",
            |group| group.batcher.load().proposed.load(Ordering::Relaxed),
        ),
    ];
    for (kind, name, help, value) in families {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for group in cluster.groups() {
            let _ = writeln!(
                text,
                "{name}{suffix}{{group=\"{}\"}} {}",
                group.id,
                value(group)
            );
        }
    }
}
