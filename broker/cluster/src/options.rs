//! What can be set about the agreement.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use millrace_model::FormatVersion;

/// What can be set about the agreement. [`ClusterOptions::new`] is for production; tests make logs small.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The folder that holds the log and the tables of this node.
    pub dir: PathBuf,
    /// This node's number, from 1.
    pub node: u64,
    /// The first members with their peer addresses, `HOST:PORT`; empty for a node alone. It counts at the first start;
    /// later the members are those that the cluster has agreed on.
    pub members: BTreeMap<u64, String>,
    /// Where peers connect to. A node alone with no `members` does not listen.
    pub peer_listen: SocketAddr,
    /// How many data groups the cluster is created with; 1 when none is given, and at most
    /// [`millrace_model::limit::DATA_GROUPS_MAX`]. Later it is what it was created with. One for two cores is best.
    pub data_groups: Option<u32>,
    /// Bytes of log bodies after which the tables are made durable and the log is purged up to there, 128 MiB: as much
    /// of a log lies on the disk beside what lives.
    pub snapshot_bytes: u64,
    /// The newest format that is read and written: lower than [`FormatVersion::MAX`] the node behaves as an older one
    /// would, and the cluster's version is not raised past it.
    pub format_version_max: FormatVersion,
    /// How long all members must have supported a newer format before the cluster's version is raised to it.
    pub version_steady: Duration,
    /// How long a commit may take before its outcome is called unknown.
    pub commit_timeout: Duration,
    /// When payloads are moved out of the log.
    pub spill: millrace_store::spill::SpillOptions,
    /// What can be set about the log.
    pub log: millrace_store::log::LogOptions,
}

impl ClusterOptions {
    /// Node `node` with its data in `dir`, and defaults for all else.
    pub fn new(dir: impl Into<PathBuf>, node: u64) -> Self {
        Self {
            dir: dir.into(),
            node,
            members: BTreeMap::new(),
            peer_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7441)),
            data_groups: None,
            snapshot_bytes: 128 << 20,
            format_version_max: FormatVersion::MAX,
            version_steady: Duration::from_secs(3),
            commit_timeout: Duration::from_secs(10),
            spill: millrace_store::spill::SpillOptions::default(),
            log: millrace_store::log::LogOptions::default(),
        }
    }
}
