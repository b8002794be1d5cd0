//! [`Broker`]: a broker process of a test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary::millrace;
use crate::client::Client;

/// Longest start, replay of the log included, before a test gives up.
const START_SECONDS_MAX: u64 = 60;

/// What the broker prints when it serves.
const LISTENING: &str = "listening on http://";

/// A `millrace serve` process with a data directory. Dropping it kills the process.
#[derive(Debug)]
pub struct Broker {
    process: Option<Child>,
    data: PathBuf,
    /// Flags beside `--data`.
    flags: Vec<String>,
    /// Words before the command.
    before: Vec<String>,
    environment: BTreeMap<String, String>,
    /// What all processes printed.
    log: PathBuf,
    /// Where in it the present process began.
    log_from: usize,
    url: String,
    // Last, so that the folder goes after the process.
    _folder: TempDir,
}

impl Broker {
    /// Starts a broker on an empty data directory and waits until it is ready.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().join("data");
        Self::start_on(folder, data)
    }

    /// Starts a broker on the data directory `data`.
    #[must_use]
    pub fn start_in(data: &Path) -> Self {
        Self::start_on(
            TempDir::new().expect("a temporary folder"),
            data.to_path_buf(),
        )
    }

    fn start_on(folder: TempDir, data: PathBuf) -> Self {
        let flags = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
        let mut broker = Self::on(folder, data, &flags);
        broker.restart();
        broker
    }

    /// A broker with these flags beside `--data`, not started yet.
    #[must_use]
    pub fn idle(flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().join("data");
        Self::on(folder, data, flags)
    }

    fn on(folder: TempDir, data: PathBuf, flags: &[&str]) -> Self {
        Self {
            process: None,
            data,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            before: Vec::new(),
            environment: BTreeMap::new(),
            log: folder.path().join("log.txt"),
            log_from: 0,
            url: String::new(),
            _folder: folder,
        }
    }

    /// From the next start on, these words stand before the command.
    pub fn run_in(&mut self, before: Vec<String>) {
        self.before = before;
    }

    /// From the next start on, the data is there.
    pub fn keep_data_in(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// From the next start on, this variable is set.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment
            .insert(variable.to_owned(), value.to_owned());
    }

    /// From the next start on, nothing is set but what the test itself has.
    pub fn unset_all(&mut self) {
        self.environment.clear();
    }

    /// Starts the process again on the same data, on another free port, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart(&mut self) {
        if let Err(end) = self.try_restart() {
            panic!("the broker did not start ({end}); it said:\n{}", self.log());
        }
    }

    /// As [`Broker::restart`], for a start that may fail.
    ///
    /// # Errors
    /// How the process ended, when it ended before it was ready.
    pub fn try_restart(&mut self) -> Result<(), ExitStatus> {
        self.spawn();
        self.try_listen()?;
        self.wait_until_ready()
    }

    /// Starts the process and waits for nothing.
    ///
    /// # Panics
    /// When it runs already.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "the broker runs already");
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(&self.log);
        let log = log.expect("the log file can be made");
        self.log_from = log.metadata().expect("its size").len() as usize;
        let errors = log.try_clone().expect("a file handle can be doubled");
        let process = self
            .command()
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the binary can be run");
        self.process = Some(process);
    }

    fn command(&self) -> Command {
        let mut words = self.before.iter().map(OsString::from).collect::<Vec<_>>();
        words.extend([millrace().into(), "serve".into(), "--data".into()]);
        words.push(self.data.clone().into());
        words.extend(self.flags.iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(&self.environment);
        command.stdin(Stdio::null());
        command
    }

    /// Waits until the spawned process listens; it may not be ready then.
    ///
    /// # Errors
    /// How the process ended, when it ended before.
    pub fn try_listen(&mut self) -> Result<(), ExitStatus> {
        self.url = self.wait_for_address()?;
        Ok(())
    }

    /// Waits until the spawned process is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn get_ready(&mut self) {
        if let Err(end) = self.try_listen().and_then(|()| self.wait_until_ready()) {
            panic!("the broker did not start ({end}); it said:\n{}", self.log());
        }
    }

    /// Whether there is a process that was neither killed nor stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn wait_for_address(&mut self) -> Result<String, ExitStatus> {
        self.wait("to listen", |broker| {
            let log = broker.log();
            let (_, rest) = log.split_once(LISTENING)?;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
            Some(format!("http://{}", &rest[..end]))
        })
    }

    fn wait_until_ready(&mut self) -> Result<(), ExitStatus> {
        let client = self.client();
        self.wait("to be ready", |_| {
            let answer = client.call("GET", "/readyz", &[], None).ok()?;
            (answer.status == 200).then_some(())
        })
    }

    fn wait<T>(
        &mut self,
        what: &str,
        mut until: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(START_SECONDS_MAX) {
            if let Some(found) = until(self) {
                return Ok(found);
            }
            if let Some(end) = self.ended() {
                self.process = None;
                return Err(end);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "waited {START_SECONDS_MAX} s for the broker {what}; it said:\n{}",
            self.log()
        );
    }

    /// Whether the process ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        process.try_wait().expect("a child can be waited for")
    }

    /// A client for the broker as it runs now.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// `http://127.0.0.1:PORT`, for as long as this process runs.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the process printed so far, or printed last.
    #[must_use]
    pub fn log(&self) -> String {
        self.log_since(self.log_from)
    }

    fn log_since(&self, from: usize) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
    }

    /// Kills the process as `kill -9` does.
    ///
    /// # Panics
    /// When it runs no more: then it ended by itself, which no test expects.
    pub fn kill(&mut self) {
        assert!(
            self.ended().is_none(),
            "the broker ended by itself; it said:\n{}",
            self.log()
        );
        let mut process = self.process.take().expect("the broker runs");
        process.kill().expect("a child can be killed");
        process.wait().expect("a child can be waited for");
    }

    /// As [`Broker::kill`], for a broker whose disk is gone: it may have ended by itself.
    pub fn kill_or_find_dead(&mut self) {
        match self.ended() {
            Some(_) => self.process = None,
            None => self.kill(),
        }
    }

    /// The number of the process.
    ///
    /// # Panics
    /// When the broker does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").id()
    }

    /// Sends SIGTERM; the process goes on with its orderly end.
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, by its name.
    ///
    /// # Panics
    /// When the broker does not run.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let sent = kill.args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait_for_end(Duration::from_secs(30))
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// When it runs on for longer than `most`.
    pub fn wait_for_end(&mut self, most: Duration) -> ExitStatus {
        let began = Instant::now();
        while began.elapsed() < most {
            if let Some(end) = self.ended() {
                self.process = None;
                return end;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "the broker still runs after {most:?}; it said:\n{}",
            self.log()
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("the broker said:\n{}", self.log_since(0));
        }
    }
}
