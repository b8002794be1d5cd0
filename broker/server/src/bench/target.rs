//! The broker under load: one that is there, or one of our own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::args::BenchArgs;
use super::probe::Probe;
use super::process::Process;
use super::stage::Stage;
use crate::client::{Client, Payload, Route};

/// How long a broker may take to be ready after a crash.
const RECOVERY_MAX: Duration = Duration::from_secs(300);

/// A broker under load.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) probe: Probe,
    /// Our own broker with its data; none when it is another's.
    own: Option<(Process, TempDir)>,
    /// What was created in another's broker and is to be deleted at the end.
    stages: Vec<Stage>,
}

impl Target {
    /// Reaches the broker that the user names, or starts one.
    ///
    /// # Errors
    /// When there is none, or it does not start.
    pub(super) async fn open(args: &BenchArgs) -> Result<Self> {
        if let Some(url) = &args.server {
            let mut client = Client::new(url)?;
            wait_until_ready(&mut client).await?;
            return Ok(Self {
                client,
                probe: Probe::Metrics(url.clone()),
                own: None,
                stages: Vec::new(),
            });
        }
        let root = args.data.clone().unwrap_or_else(std::env::temp_dir);
        let data = TempDir::with_prefix_in("millrace-bench-", root)
            .context("a directory for the broker's data")?;
        let process = Process::broker(data.path()).await?;
        let mut target = Self {
            client: Client::new(process.url())?,
            probe: Probe::Process(process.id()?),
            own: Some((process, data)),
            stages: Vec::new(),
        };
        wait_until_ready(&mut target.client).await?;
        Ok(target)
    }

    /// `host:port`.
    pub(super) fn authority(&self) -> String {
        self.client.authority().to_owned()
    }

    /// Whether it is our own, which may be killed.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// How many nodes it has: members of its largest group, or one where it does not tell.
    pub(super) async fn nodes(&mut self) -> usize {
        let Ok(cluster) = self.client.get(Route::of(["v1", "cluster"])).await else {
            return 1;
        };
        let groups = cluster["groups"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let members = groups
            .iter()
            .filter_map(|group| group["members"].as_array().map(Vec::len));
        members.max().unwrap_or(1).max(1)
    }

    /// Creates a topic and queues for a load.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(super) async fn stage(
        &mut self,
        args: &BenchArgs,
        queues: usize,
        with_plugin: bool,
    ) -> Result<Stage> {
        let stage = Stage::create(&mut self.client, args, queues, with_plugin).await?;
        self.stages.push(stage.clone());
        Ok(stage)
    }

    /// Kills our own broker and starts it again on the same data; gives the time from its start until it was ready.
    ///
    /// # Errors
    /// When it is another's, or does not come back.
    pub(super) async fn crash_and_restart(&mut self) -> Result<Duration> {
        let Some((process, data)) = self.own.take() else {
            bail!("only a broker of its own can be killed")
        };
        process.kill().await?;
        let began = Instant::now();
        let process = Process::broker(data.path()).await?;
        self.client = Client::new(process.url())?;
        self.probe = Probe::Process(process.id()?);
        self.own = Some((process, data));
        wait_until_ready(&mut self.client).await?;
        Ok(began.elapsed())
    }

    /// Stops our own broker and deletes its data; of another's, deletes what was created in it.
    ///
    /// # Errors
    /// When the broker does not stop, or ended before.
    pub(super) async fn close(mut self) -> Result<()> {
        match self.own.take() {
            Some((process, data)) => {
                process.stop().await?;
                data.close().context("the broker's data cannot be deleted")
            }
            None => {
                for stage in &self.stages {
                    stage.delete(&mut self.client).await?;
                }
                Ok(())
            }
        }
    }
}

async fn wait_until_ready(client: &mut Client) -> Result<()> {
    let began = Instant::now();
    loop {
        let answer = client
            .exchange(Method::GET, Route::of(["readyz"]), &[], Payload::empty())
            .await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if began.elapsed() > RECOVERY_MAX {
            bail!(
                "the broker is not ready: {}",
                answer.json().unwrap_or(Value::Null)
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
