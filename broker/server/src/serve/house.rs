//! The parts of a broker, in the order in which they start and stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use millrace_cluster::{Cluster, ClusterOptions};
use millrace_gateway::{Clock, Entropy, Gateway, GatewayConfig};
use millrace_model::{Fault, FormatVersion, Ledger, Router};
use millrace_plugin_host::{Host, Limits};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::serve::components::Catalog;

/// How long log and tables may take to become durable at the end.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How long it may take to hand the leadership of groups to other nodes.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// Starts log, tables, groups, sandbox and door; serves until a signal or a fault; stops them in reverse order.
///
/// # Errors
/// What kept the broker from starting, or made it stop.
pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let mut options = ClusterOptions::new(&config.data, config.node);
    options.members = config.cluster.addresses().clone();
    options.data_groups = config.groups;
    options.peer_listen = config.peer_listen;
    options.format_version_max = FormatVersion(config.format_version_max);
    let cluster = tokio::select! {
        cluster = Cluster::start(options) => Arc::new(cluster.context("cannot start on the data directory")?),
        () = signals.next() => return Ok(()),
    };
    let gateway = door(Arc::clone(&cluster) as Arc<dyn Ledger>)?;
    announce(&listener)?;
    let end = serve(&cluster, listener, &gateway, signals).await;
    let stopped = tokio::time::timeout(STOP_MAX, cluster.stop()).await;
    end?;
    stopped.context("log and tables did not become durable in time")??;
    tracing::info!("stopped");
    Ok(())
}

fn door(ledger: Arc<dyn Ledger>) -> anyhow::Result<Gateway> {
    let components = Arc::new(Catalog(Arc::clone(&ledger)));
    let host: Arc<dyn Router> = Arc::new(Host::new(Limits::default(), components)?);
    Ok(Gateway::new(
        ledger,
        host,
        Clock::system(),
        Entropy::system(),
        GatewayConfig::default(),
    ))
}

/// The one line on standard output: whoever started the broker may wait for it.
fn announce(listener: &TcpListener) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    Ok(())
}

async fn serve(
    cluster: &Arc<Cluster>,
    listener: TcpListener,
    gateway: &Gateway,
    mut signals: Signals,
) -> Result<(), Fault> {
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let door = tokio::spawn(millrace_gateway::serve(listener, gateway.clone(), async {
        // The sender going away is an order to stop as well.
        let _ = stopping.await;
    }));
    let fault = tokio::select! {
        fault = cluster.failed() => Some(fault),
        () = signals.next() => None,
    };
    match &fault {
        Some(fault) => tracing::error!(%fault, "the broker has failed and stops"),
        None => {
            tracing::info!("stopping");
            // While the door is still open: what comes in between goes to the new leaders.
            let handed_over = tokio::time::timeout(HAND_OVER_MAX, cluster.hand_over()).await;
            if handed_over.is_err() {
                tracing::warn!("not everything was handed over in time: an election follows");
            }
        }
    }
    gateway.stop();
    cluster.drain();
    drop(stop);
    if let Err(panic) = door.await {
        tracing::error!(%panic, "the door has failed");
    }
    fault.map_or(Ok(()), Err)
}

/// The signals that order a stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
