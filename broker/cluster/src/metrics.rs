//! What the node counts, as Prometheus text.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_machine::Outbox;

use crate::cluster::Cluster;
use crate::group::Group;

/// One metric: kind, name, help.
type Family = (&'static str, &'static str, &'static str);

/// All counters of log, tables and groups.
pub(crate) fn text(cluster: &Cluster) -> String {
    let mut text = String::with_capacity(4096);
    log(&mut text, cluster);
    tables(&mut text, cluster);
    payloads(&mut text, cluster);
    groups(&mut text, cluster);
    outboxes(&mut text, cluster);
    peers(&mut text, cluster);
    text
}

/// Appends the head of a metric, and gives the name of its samples.
fn head(text: &mut String, (kind, name, help): Family) -> String {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    let suffix = if kind == "counter" { "_total" } else { "" };
    format!("{name}{suffix}")
}

fn metric(text: &mut String, family: Family, value: &dyn Display) {
    let name = head(text, family);
    let _ = writeln!(text, "{name} {value}");
}

#[rustfmt::skip]
fn log(text: &mut String, cluster: &Cluster) {
    let space = cluster.node.log.space();
    let log = cluster.node.log.metrics().read();
    let rows: [(Family, &dyn Display); 11] = [
        (("gauge", "millrace_log_free_bytes", "Bytes ready in preallocated segments."), &space.free_bytes),
        (("gauge", "millrace_log_full", "1 when no further segment can be had."), &u8::from(space.full)),
        (("counter", "millrace_log_syncs", "fdatasync calls on the log."), &log.syncs),
        (("counter", "millrace_log_sync_seconds", "Time spent in them."), &log.sync_time.as_secs_f64()),
        (("counter", "millrace_log_records", "Records written to the log."), &log.records),
        (("counter", "millrace_log_written_bytes", "Bytes written to the log."), &log.bytes_written),
        (("gauge", "millrace_log_segments_live", "Segments in use."), &log.segments_live),
        (("gauge", "millrace_log_segments_free", "Segments that stand ready."), &log.segments_free),
        (("counter", "millrace_log_segments_recycled", "Segments given back."), &log.segments_recycled),
        (("gauge", "millrace_log_cache_bytes", "Bytes of recent bodies in memory."), &log.cache_bytes),
        (("counter", "millrace_log_disk_reads", "Reads that missed the cache."), &log.disk_reads),
    ];
    rows.into_iter().for_each(|(family, value)| metric(text, family, value));
}

#[rustfmt::skip]
fn tables(text: &mut String, cluster: &Cluster) {
    let tables = cluster.node.tables.metrics().read();
    let rows: [(Family, &dyn Display); 8] = [
        (("counter", "millrace_tables_flushes", "Overlays written to the tables."), &tables.flushes),
        (("counter", "millrace_tables_flush_seconds", "Time spent in that."), &tables.flush_time.as_secs_f64()),
        (("counter", "millrace_tables_rows_written", "Rows written to the tables."), &tables.rows_written),
        (("counter", "millrace_tables_rows_elided", "Rows that never reached the disk."), &tables.rows_elided),
        (("gauge", "millrace_tables_overlay_bytes", "Bytes not yet written."), &tables.overlay_bytes),
        (("counter", "millrace_tables_stalls", "How often applying waited for a flush."), &tables.stalls),
        (("counter", "millrace_tables_syncs", "Syncs of the tables."), &tables.syncs),
        (("gauge", "millrace_tables_journals", "Journals of the tables; should stay below 4."), &tables.journals),
    ];
    rows.into_iter().for_each(|(family, value)| metric(text, family, value));
}

#[rustfmt::skip]
fn payloads(text: &mut String, cluster: &Cluster) {
    let segments = cluster.node.log.segments();
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let payloads = cluster.node.payloads_used();
    let moved = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let rows: [(Family, &dyn Display); 7] = [
        (("gauge", "millrace_log_bytes", "Bytes of records in segments in use."), &bytes),
        (("gauge", "millrace_log_referred_bytes", "Lengths of payloads in the log, once for each reference."), &payloads.referred_bytes),
        (("gauge", "millrace_spilled_payloads", "Payloads that were moved out of the log and live."), &payloads.outside.payloads),
        (("gauge", "millrace_spilled_bytes", "Their bytes."), &payloads.outside.bytes),
        (("counter", "millrace_spill_segments", "Segments of the log that were emptied."), &moved(&cluster.node.moved.segments)),
        (("counter", "millrace_spill_payloads", "Payloads that were moved out of the log."), &moved(&cluster.node.moved.payloads)),
        (("counter", "millrace_spill_bytes", "Their bytes."), &moved(&cluster.node.moved.bytes)),
    ];
    rows.into_iter().for_each(|(family, value)| metric(text, family, value));
}

/// One metric of each group.
type GroupFamily = (Family, fn(&Group) -> u64);

#[rustfmt::skip]
const GROUP_FAMILIES: [GroupFamily; 14] = [
    (("counter", "millrace_group_carried_deliveries", "Deliveries that this node carried to other groups."),
     |group| group.view.carried.load(Ordering::Relaxed)),
    (("gauge", "millrace_group_leaving_queues", "Queues that are handed over to other groups."),
     |group| group.view.departures.borrow().len() as u64),
    (("counter", "millrace_group_handed_over_entries", "Entries of such queues that this node handed over."),
     |group| group.view.handed_over.load(Ordering::Relaxed)),
    (("gauge", "millrace_group_dropped_deliveries", "Deliveries of other groups whose queue or subscription was gone."),
     |group| group.view.dropped.load(Ordering::Relaxed)),
    (("gauge", "millrace_group_applied_index", "Index of the last applied entry."),
     |group| group.view.applied.load(Ordering::Acquire)),
    (("gauge", "millrace_group_is_leader", "1 on the node that leads the group."),
     |group| u64::from(group.is_leader())),
    (("gauge", "millrace_group_waiting_commands", "Commands that wait for a batch."),
     |group| group.batcher.load().waiting() as u64),
    (("counter", "millrace_group_batches", "Batches proposed."),
     |group| group.batcher.load().batches.load(Ordering::Relaxed)),
    (("counter", "millrace_group_commands", "Commands proposed."),
     |group| group.batcher.load().proposed.load(Ordering::Relaxed)),
    (("counter", "millrace_group_piggybacked_receives", "Receives proposed in the batch that brought what they waited for."),
     |group| group.batcher.load().piggybacked.load(Ordering::Relaxed)),
    (("counter", "millrace_group_snapshots_built", "Snapshots built."),
     |group| group.view.built.count.load(Ordering::Relaxed)),
    (("counter", "millrace_group_snapshot_build_nanoseconds", "Time spent in that."),
     |group| group.view.built.nanos.load(Ordering::Relaxed)),
    (("counter", "millrace_group_snapshots_installed", "Snapshots of other nodes installed."),
     |group| group.view.installed.count.load(Ordering::Relaxed)),
    (("counter", "millrace_group_snapshot_install_nanoseconds", "Time spent in that."),
     |group| group.view.installed.nanos.load(Ordering::Relaxed)),
];

fn groups(text: &mut String, cluster: &Cluster) {
    let help = "Receives under way, long polls included.";
    metric(
        text,
        ("gauge", "millrace_waiting_receives", help),
        &cluster.node.waiters.waiting(),
    );
    for (family, value) in GROUP_FAMILIES {
        let name = head(text, family);
        for group in cluster.node.groups() {
            let _ = writeln!(text, "{name}{{group=\"{}\"}} {}", group.id, value(group));
        }
    }
}

/// What waits for other groups, was carried there, and found no place there.
fn outboxes(text: &mut String, cluster: &Cluster) {
    type Waits = (Family, fn(&Outbox) -> u64);
    let waits: [Waits; 2] = [
        (
            (
                "gauge",
                "millrace_outbox_deliveries",
                "Deliveries that wait to be carried to another group.",
            ),
            Outbox::rows,
        ),
        (
            (
                "gauge",
                "millrace_outbox_bytes",
                "Sizes of their events, once a delivery.",
            ),
            |outbox| outbox.bytes,
        ),
    ];
    for (family, value) in waits {
        let name = head(text, family);
        for group in &cluster.node.data {
            for (to, outbox) in &group.view.outboxes {
                let (from, value) = (group.id, value(&outbox.borrow()));
                let _ = writeln!(text, "{name}{{group=\"{from}\",to=\"{to}\"}} {value}");
            }
        }
    }
}

/// Peers, what was sent to them, and how far each member of a group is behind, which its leader knows.
fn peers(text: &mut String, cluster: &Cluster) {
    let peers = &cluster.node.peers;
    let help = "Peers that votes and heartbeats can be sent to.";
    let connected = peers.connected();
    metric(
        text,
        ("gauge", "millrace_peers_connected", help),
        &connected,
    );
    let help = "Calls to peers, by kind and result.";
    let name = head(text, ("counter", "millrace_peer_calls", help));
    let counters = &peers.counters;
    for (kind, [answered, not]) in [
        ("control", &counters.control),
        ("entries", &counters.entries),
        ("requests", &counters.requests),
    ] {
        for (result, count) in [("answered", answered), ("unanswered", not)] {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "{name}{{kind=\"{kind}\",result=\"{result}\"}} {count}"
            );
        }
    }
    let statuses: Vec<_> = cluster.node.groups().map(|group| group.status()).collect();
    let help = "Term of the group; it grows with every election.";
    let name = head(text, ("gauge", "millrace_group_term", help));
    for status in &statuses {
        let _ = writeln!(text, "{name}{{group=\"{}\"}} {}", status.id, status.term);
    }
    let help = "Entries that a member is not known to have, on the leader of the group.";
    let name = head(text, ("gauge", "millrace_group_lag_entries", help));
    for status in statuses {
        let own = status
            .members
            .iter()
            .find(|member| member.node == cluster.standing.node);
        let Some(last) = own.and_then(|member| member.match_index) else {
            continue;
        };
        for member in &status.members {
            let lag = last.saturating_sub(member.match_index.unwrap_or(0));
            let _ = writeln!(
                text,
                "{name}{{group=\"{}\",member=\"{}\"}} {lag}",
                status.id, member.node
            );
        }
    }
}
