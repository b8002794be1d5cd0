//! What a server spends: its CPU time and its memory.

use std::fs;

use anyhow::{Context, Result};
use hyper::Method;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{Client, Payload, Route};

/// Where to read it.
#[derive(Debug, Clone)]
pub(super) enum Probe {
    /// The kernel, about a process of this machine.
    Process(u32),
    /// The `/metrics` of a broker at this URL.
    Metrics(String),
}

/// What a server has spent so far. None where it is not told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) rss_bytes: Option<f64>,
}

impl Probe {
    /// Reads it now.
    ///
    /// # Errors
    /// When the server is gone.
    pub(super) async fn read(&self) -> Result<Usage> {
        match self {
            Self::Process(id) => of_process(*id),
            Self::Metrics(url) => {
                let answer = Client::new(url)?
                    .send(Method::GET, Route::of(["metrics"]), &[], Payload::empty())
                    .await?;
                Ok(of_metrics(&String::from_utf8_lossy(&answer.body)))
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ticks and pages stay far below 2^52"
)]
fn of_process(id: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("the server has ended")?;
    let (ticks, pages) =
        parse_stat(&stat).context("/proc/…/stat has another form than expected")?;
    Ok(Usage {
        cpu_seconds: Some(ticks as f64 / clock_ticks_per_second() as f64),
        rss_bytes: Some(pages as f64 * page_size() as f64),
    })
}

/// User and system ticks, and resident pages: fields 14, 15 and 24 of proc_pid_stat(5). The name in field 2 may hold
/// blanks, so that counting begins behind its bracket.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

fn of_metrics(text: &str) -> Usage {
    let value = |name: &str| {
        let line = text.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        })?;
        line.split_whitespace().last()?.parse().ok()
    };
    Usage {
        cpu_seconds: value("process_cpu_seconds_total"),
        rss_bytes: value("process_resident_memory_bytes"),
    }
}

/// Lets this process and the servers that it starts open as many files as the system allows: `idle` needs thousands.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, connecting says so better than a warning here could.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let usage = of_process(std::process::id()).expect("this process is there");
        assert!(
            usage.rss_bytes.is_some_and(|bytes| bytes > 100_000.0),
            "{usage:?}"
        );
        assert!(usage.cpu_seconds.is_some(), "{usage:?}");
    }

    #[test]
    fn a_name_with_blanks_and_brackets_is_skipped() {
        let stat = "7 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 4096 321 18446744073709551615";
        assert_eq!(parse_stat(stat), Some((200, 321)));
    }

    #[test]
    fn metrics_are_read_by_their_exact_name() {
        let text = "# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total 12.5\nprocess_resident_memory_bytes_max 9\n\
                    process_resident_memory_bytes 1048576\n";
        let usage = of_metrics(text);
        assert_eq!(
            (usage.cpu_seconds, usage.rss_bytes),
            (Some(12.5), Some(1_048_576.0))
        );
        assert!(of_metrics("").cpu_seconds.is_none());
    }
}
