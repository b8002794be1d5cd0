//! A server that the load generator starts for itself: this same program in a process of its own.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What a server prints before its URL when it is ready.
const READY: &str = "listening on ";
/// How long a server may take to be ready: it replays its log first.
const START_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Lines of a server's output that are shown when it fails.
const SHOWN_LINES: usize = 20;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    url: String,
    last_lines: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// A broker that keeps its data in this directory, with default settings, on a free port.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub(super) async fn broker(data: &Path) -> Result<Self> {
        let mut command = command()?;
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--peer-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data);
        Self::start(command).await
    }

    /// A floor server.
    ///
    /// # Errors
    /// As [`Process::broker`].
    pub(super) async fn floor() -> Result<Self> {
        let mut command = command()?;
        command.arg("bench-floor-server");
        Self::start(command).await
    }

    async fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .spawn()
            .context("cannot start a server of its own")?;
        let last_lines = Arc::new(Mutex::new(VecDeque::new()));
        let (found, mut urls) = mpsc::unbounded_channel();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(follow(stdout, found.clone(), last_lines.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(follow(stderr, found, last_lines.clone()));
        }
        // The channel closes when both of the server's outputs do, that is, when it has ended.
        match timeout(START_MAX, urls.recv()).await {
            Ok(Some(url)) => Ok(Self {
                child,
                url,
                last_lines,
            }),
            Ok(None) => bail!(
                "the server ended before it was ready:\n{}",
                show(&last_lines)
            ),
            Err(_) => bail!(
                "the server was not ready within {START_MAX:?}:\n{}",
                show(&last_lines)
            ),
        }
    }

    /// `http://HOST:PORT`, as the server printed it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn id(&self) -> Result<u32> {
        self.child
            .id()
            .with_context(|| format!("the server has ended:\n{}", show(&self.last_lines)))
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// When it had ended already, does not end in time, or ends with an error.
    pub(super) async fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.id()?)
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        kill_process(id, Signal::TERM).context("cannot stop the server")?;
        let Ok(status) = timeout(STOP_MAX, self.child.wait()).await else {
            bail!(
                "the server did not stop within {STOP_MAX:?}:\n{}",
                show(&self.last_lines)
            );
        };
        let status: ExitStatus = status?;
        if !status.success() {
            bail!(
                "the server ended with {status}:\n{}",
                show(&self.last_lines)
            );
        }
        Ok(())
    }
}

/// This program, with nothing of the user's settings: figures of two runs are to be comparable.
fn command() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MILLRACE_"))
    {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// Reads a server's output to its end, lest it blocks; finds the URL in it, and keeps the last lines.
async fn follow(
    output: impl AsyncRead + Unpin,
    found: mpsc::UnboundedSender<String>,
    last_lines: Arc<Mutex<VecDeque<String>>>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(url) = ready_url(&line) {
            // Nobody waits any more for a second one.
            let _ = found.send(url);
        }
        let mut last = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}

/// The URL in a line `… listening on http://HOST:PORT …`.
fn ready_url(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(READY)?;
    let url = rest.split([' ', '"', ',']).next()?;
    url.starts_with("http://").then(|| url.to_owned())
}

fn show(lines: &Mutex<VecDeque<String>>) -> String {
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_found_in_plain_and_in_json_lines() {
        assert_eq!(
            ready_url("listening on http://127.0.0.1:1").as_deref(),
            Some("http://127.0.0.1:1")
        );
        let json = r#"{"message":"listening on http://127.0.0.1:2","level":"INFO"}"#;
        assert_eq!(ready_url(json).as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(ready_url("listening on peers"), None);
    }
}
