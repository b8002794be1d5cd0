//! `millrace check DIR`: the offline audit of a data directory.

use std::path::Path;

use anyhow::{Context, bail};
use comfy_table::Table;
use millrace_cluster::{ClusterOptions, GroupReport};
use serde_json::json;

use crate::cli::OutputForm;

/// Audits the data directory of a broker that is not running: every record of the log, every row, every payload that
/// was moved out of the log, every invariant, and the tables against a replay of the log.
///
/// # Errors
/// When the directory is damaged or in use, an invariant does not hold, or a replay gives other tables.
pub(crate) fn run(dir: &Path, form: OutputForm) -> anyhow::Result<()> {
    if !dir.join("log").is_dir() {
        bail!("{} is no data directory of a broker", dir.display());
    }
    let reports = millrace_cluster::check(&ClusterOptions::new(dir, 1))
        .with_context(|| format!("{} does not pass", dir.display()))?;
    match form {
        OutputForm::Json => println!(
            "{}",
            json!({ "groups": reports.iter().map(object).collect::<Vec<_>>() })
        ),
        OutputForm::Table => println!("{}", table(&reports)),
    }
    let bad = reports.iter().filter(|report| !passes(report)).count();
    if bad > 0 {
        let violation = reports.iter().find_map(|report| report.violations.first());
        let violation = violation.map_or("a replay of the log gives other tables", String::as_str);
        bail!("{bad} of {} groups do not pass: {violation}", reports.len());
    }
    Ok(())
}

fn passes(report: &GroupReport) -> bool {
    report.violations.is_empty() && report.replay.is_none_or(|replay| replay == report.digest)
}

fn object(report: &GroupReport) -> serde_json::Value {
    json!({
        "group": report.group.0,
        "last_index": report.last,
        "rows": report.rows,
        "payloads_outside_log": report.payloads_outside,
        "bytes_outside_log": report.bytes_outside,
        "incomplete_snapshots_removed": report.leftovers,
        "digest": report.digest.to_string(),
        "replay_digest": report.replay.map(|replay| replay.to_string()),
        "violations": report.violations,
    })
}

fn table(reports: &[GroupReport]) -> Table {
    let mut table = Table::new();
    table.set_header([
        "group",
        "last index",
        "rows",
        "payloads outside the log",
        "digest",
        "replay",
        "violations",
    ]);
    for report in reports {
        let replay = match report.replay {
            Some(replay) if replay == report.digest => "equal".to_owned(),
            Some(replay) => format!("differs: {replay}"),
            None => "log purged".to_owned(),
        };
        table.add_row([
            report.group.to_string(),
            report.last.to_string(),
            report.rows.to_string(),
            report.payloads_outside.to_string(),
            report.digest.to_string()[..16].to_owned(),
            replay,
            report.violations.join("; "),
        ]);
    }
    table
}
