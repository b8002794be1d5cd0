//! The configuration of `millrace serve`: one struct, and where its values come from.

mod members;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use millrace_model::{FormatVersion, limit};
use serde::{Deserialize, Serialize};

pub(crate) use members::{Members, member};

use crate::failure::Usage;
use crate::serve::ServeArgs;

/// Most threads that serve requests: more than any machine has cores that this would fill.
const THREADS_MAX: usize = 256;

/// Everything that `millrace serve` can be told. `millrace.example.toml` shows every key with its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Directory that holds everything the broker keeps. Created when missing.
    pub(crate) data: PathBuf,
    /// Address for clients. Port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Number of this node in its cluster, from 1.
    pub(crate) node: u64,
    /// Address for the other nodes of the cluster.
    pub(crate) peer_listen: SocketAddr,
    /// The first members of the cluster; empty for a node alone. It counts at the first start.
    pub(crate) cluster: Members,
    /// The newest format to read and write; lower than the broker's own to upgrade a cluster node by node and to keep the
    /// way back open.
    pub(crate) format_version_max: u16,
    /// How many data groups the cluster is created with; 1 when none is given. It counts at the first start.
    pub(crate) groups: Option<u32>,
    /// Threads that serve requests; when none is given, one for each core but one.
    pub(crate) threads: Option<usize>,
    /// Form of the log on standard error.
    pub(crate) log_format: LogFormat,
}

/// Form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./millrace-data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7440)),
            node: 1,
            peer_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7441)),
            cluster: Members::default(),
            format_version_max: FormatVersion::MAX.0,
            groups: None,
            threads: None,
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Layers defaults, file, environment and flags (clap has merged the last two into `args`), and validates the whole.
    ///
    /// # Errors
    /// [`Usage`], with the key and where its value came from.
    pub(crate) fn load(args: &ServeArgs) -> Result<Self, Usage> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &args.config {
            layers = layers.merge(Toml::file_exact(file));
        }
        let config: Self = layers
            .merge(Serialized::defaults(args))
            .extract()
            .map_err(describe)?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Usage> {
        if self.node == 0 || self.node > i32::MAX as u64 {
            return Err(Usage::new("node: nodes are numbered from 1 to 2147483647"));
        }
        if !self.cluster.is_empty() && !self.cluster.contains(self.node) {
            return Err(Usage::new(format!(
                "cluster: node {} is not among its members",
                self.node
            )));
        }
        let most = limit::DATA_GROUPS_MAX;
        if self
            .groups
            .is_some_and(|groups| !(1..=most).contains(&groups))
        {
            return Err(Usage::new(format!("groups: must be 1 to {most}")));
        }
        if self
            .threads
            .is_some_and(|threads| !(1..=THREADS_MAX).contains(&threads))
        {
            return Err(Usage::new(format!("threads: must be 1 to {THREADS_MAX}")));
        }
        if self.data.as_os_str().is_empty() {
            return Err(Usage::new("data: a directory must be named"));
        }
        let (oldest, newest) = (FormatVersion::MIN.0, FormatVersion::MAX.0);
        if !(oldest..=newest).contains(&self.format_version_max) {
            return Err(Usage::new(format!(
                "format_version_max: this broker supports formats {oldest} to {newest}"
            )));
        }
        if self.listen == self.peer_listen && self.listen.port() != 0 {
            return Err(Usage::new(format!(
                "listen and peer_listen are both {}; give each its own",
                self.listen
            )));
        }
        Ok(())
    }
}

/// figment's sentence names the key and the file; it stands behind a word that tells the user where to look.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err wants"
)]
fn describe(error: figment::Error) -> Usage {
    Usage::new(format!("configuration: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn args(file: &tempfile::NamedTempFile) -> ServeArgs {
        ServeArgs {
            config: Some(file.path().to_path_buf()),
            ..ServeArgs::default()
        }
    }

    #[test]
    fn the_example_file_equals_the_defaults() {
        let text = include_str!("../millrace.example.toml");
        let from_file: Config = Figment::from(Toml::string(text))
            .extract()
            .expect("every key is there");
        assert_eq!(from_file, Config::default());
    }

    #[test]
    fn flags_win_over_the_file_which_wins_over_the_defaults() {
        let file = file("listen = \"127.0.0.1:1\"\nnode = 7\n");
        let mut args = args(&file);
        args.listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 2)));
        let config = Config::load(&args).expect("valid");
        assert_eq!(
            (config.listen.port(), config.node, config.peer_listen.port()),
            (2, 7, 7441)
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let file = file("listen_on = \"127.0.0.1:1\"\n");
        let error = Config::load(&args(&file)).expect_err("unknown");
        assert!(error.to_string().contains("listen_on"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        let file = file("listen = \"nowhere\"\n");
        let error = Config::load(&args(&file)).expect_err("not an address");
        assert!(error.to_string().contains("listen"), "{error}");
    }

    #[test]
    fn threads_are_bounded() {
        let threads = |text| Config::load(&args(&file(text))).map(|it| it.threads);
        assert_eq!(threads("threads = 256\n").expect("fits"), Some(256));
        for wrong in ["threads = 0\n", "threads = 257\n"] {
            assert!(threads(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn data_groups_are_bounded() {
        assert_eq!(
            Config::load(&args(&file("groups = 16\n")))
                .map(|it| it.groups)
                .ok(),
            Some(Some(16))
        );
        for wrong in ["groups = 0\n", "groups = 17\n"] {
            let error = Config::load(&args(&file(wrong))).expect_err("out of range");
            assert!(error.to_string().contains("1 to 16"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let args = ServeArgs {
            config: Some(PathBuf::from("/nowhere/millrace.toml")),
            ..ServeArgs::default()
        };
        assert!(Config::load(&args).is_err());
    }

    #[test]
    fn a_cluster_names_this_node() {
        assert!(Config::load(&args(&file("cluster = \"1=a:1\"\n"))).is_ok());
        assert!(Config::load(&args(&file("node = 2\ncluster = \"1=a:1,2=b:2\"\n"))).is_ok());
        assert!(Config::load(&args(&file("node = 2\ncluster = \"1=a:1\"\n"))).is_err());
    }
}
