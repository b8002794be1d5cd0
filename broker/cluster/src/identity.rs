//! Who this node is: the file that tells its data from all other data.
//!
//! **Invariants**: the incarnation is made once, with the data, and never changes; data that belongs to another node
//! number, to a newer broker, or whose log is gone is refused, never written to. The format of the file is the newest
//! that anything in the directory may have, and never goes back.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use millrace_model::{Fault, Feature, FormatVersion, version};
use millrace_store::disk::{self as fs, File};
use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, Incarnation, Member};

/// The oldest format that several data groups can have: older brokers know of one.
const SEVERAL_GROUPS: FormatVersion = Feature::CrossGroupDelivery.since();

/// Name of the file in the data directory.
const FILE: &str = "identity";

/// Largest file that is read, in bytes: a few hundred for each first member.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: FormatVersion,
    /// Its number.
    pub(crate) node: u64,
    /// Made at the first start: the same number with other data is another incarnation.
    pub(crate) incarnation: Incarnation,
    /// Set when log and tables were made: from then on their absence is loss.
    opened: bool,
    /// The cluster that it belongs to, once there is one.
    pub(crate) cluster: Option<ClusterId>,
    /// The first members, if this node is one of them.
    pub(crate) founders: BTreeMap<u64, Member>,
    /// How many data groups the cluster was created with.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) data_groups: u32,
}

fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_one(groups: &u32) -> bool {
    *groups == 1
}

/// The identity with the place where it is kept.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    path: PathBuf,
    identity: Identity,
}

impl IdentityFile {
    /// Reads the identity in `dir`, or makes one for `node` where there is none. `max` is the newest format that this
    /// broker reads, `groups` how many data groups are asked for: it counts until the node is in a cluster.
    ///
    /// # Errors
    /// A [`Fault`] that says what to do: the data is of another node, of a newer or older broker, or damaged; or several
    /// groups are asked for in a format that knows of one.
    pub(crate) fn open(
        dir: &Path,
        node: u64,
        max: FormatVersion,
        groups: Option<u32>,
    ) -> Result<Self, Fault> {
        fs::create_dir_all(dir).map_err(|error| fault(dir, error))?;
        let path = dir.join(FILE);
        if groups.is_some_and(|groups| groups > 1) && max < SEVERAL_GROUPS {
            let reason = format!(
                "several data groups need format {SEVERAL_GROUPS}: start it without --format-version-max, or without --groups"
            );
            return Err(fault(&path, reason));
        }
        if let Some(identity) = read(&path, max)? {
            check(&path, &identity, node)?;
            let mut file = Self { path, identity };
            file.ask_groups(groups)?;
            return Ok(file);
        }
        if fs::exists(&dir.join("log")) || fs::exists(&dir.join("tables")) {
            let reason = "there is a log but no identity: the file was removed, or an older broker wrote the data; put the file back, or start with an empty directory";
            return Err(fault(&path, reason));
        }
        let identity = Identity {
            format: FormatVersion::MIN,
            node,
            incarnation: Incarnation::new(),
            opened: false,
            cluster: None,
            founders: BTreeMap::new(),
            data_groups: groups.unwrap_or(1),
        };
        let mut file = Self { path, identity };
        file.write(file.identity.clone())?;
        Ok(file)
    }

    /// Takes over another number of data groups while that is still open.
    fn ask_groups(&mut self, groups: Option<u32>) -> Result<(), Fault> {
        let present = self.identity.data_groups;
        match groups {
            Some(asked) if asked == present => Ok(()),
            None => Ok(()),
            Some(data_groups) if self.identity.cluster.is_none() => self.write(Identity {
                data_groups,
                ..self.identity.clone()
            }),
            Some(asked) => {
                tracing::warn!(
                    asked,
                    present,
                    "the cluster was created with another number of data groups than --groups names; its own counts"
                );
                Ok(())
            }
        }
    }

    /// Who the node is.
    pub(crate) fn get(&self) -> &Identity {
        &self.identity
    }

    /// Notes that log and tables exist; `is_new` says that the log was made just now.
    ///
    /// # Errors
    /// A [`Fault`] when they existed before: they are lost, and votes with them.
    pub(crate) fn opened(&mut self, is_new: bool) -> Result<(), Fault> {
        if !self.identity.opened {
            let identity = Identity {
                opened: true,
                ..self.identity.clone()
            };
            return self.write(identity);
        }
        if is_new && self.identity.cluster.is_some() {
            let reason = "the log of this node is gone, and its votes with it: put it back; or remove the node from the cluster, empty its directory, and add it again";
            return Err(fault(&self.path, reason));
        }
        Ok(())
    }

    /// Makes the node a member of `cluster`, as a founder or as one that was added (`founders` is empty then).
    ///
    /// # Errors
    /// A [`Fault`] when it is a member of another cluster, or the file cannot be written.
    pub(crate) fn join(
        &mut self,
        cluster: ClusterId,
        founders: BTreeMap<u64, Member>,
    ) -> Result<(), Fault> {
        match self.identity.cluster {
            Some(present) if present == cluster => Ok(()),
            Some(present) => {
                let reason = format!("the node belongs to cluster {present}, not to {cluster}");
                Err(fault(&self.path, reason))
            }
            None => self.write(Identity {
                cluster: Some(cluster),
                founders,
                ..self.identity.clone()
            }),
        }
    }

    /// The newest format that the directory may hold.
    pub(crate) fn recorded(&self) -> FormatVersion {
        self.identity.format
    }

    /// Notes that data of `version` may come: no older broker starts on the directory any more.
    ///
    /// # Errors
    /// A [`Fault`] when the file cannot be written.
    pub(crate) fn record(&mut self, version: FormatVersion) -> Result<(), Fault> {
        if version <= self.identity.format {
            return Ok(());
        }
        self.write(Identity {
            format: version,
            ..self.identity.clone()
        })
    }

    /// Writes beside, syncs, renames, syncs the directory: a crash leaves the old or the new file.
    fn write(&mut self, mut identity: Identity) -> Result<(), Fault> {
        if identity.data_groups > 1 {
            identity.format = identity.format.max(SEVERAL_GROUPS);
        }
        let json = serde_json::to_string(&identity).map_err(|error| fault(&self.path, error))?;
        let text = format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()));
        replace(&self.path, text.as_bytes()).map_err(|error| fault(&self.path, error))?;
        self.identity = identity;
        Ok(())
    }
}

/// Refuses a directory that may hold something newer than `max`.
///
/// # Errors
/// A [`Fault`] that says so, or that the identity cannot be read.
pub(crate) fn check_format(dir: &Path, max: FormatVersion) -> Result<(), Fault> {
    read(&dir.join(FILE), max).map(drop)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn read(path: &Path, max: FormatVersion) -> Result<Option<Identity>, Fault> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(path, error)),
    };
    if size > FILE_BYTES_MAX {
        return Err(fault(path, "it is not an identity file: too long"));
    }
    let text = fs::read_to_string(path).map_err(|error| fault(path, error))?;
    let mut lines = text.lines();
    let (json, sum) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    if sum != format!("{:08x}", crc32c::crc32c(json.as_bytes())) {
        let reason = "it is damaged: put it back from a copy; or remove the node from the cluster, empty its directory, and add it again";
        return Err(fault(path, reason));
    }
    let format = serde_json::from_str::<Format>(json).map_err(|error| fault(path, error))?;
    if format.format > u32::from(max.0) {
        let reason = version::newer("the data", format.format, max);
        return Err(fault(path, reason));
    }
    let identity = serde_json::from_str(json).map_err(|error| fault(path, error))?;
    Ok(Some(identity))
}

/// What every form of the file holds.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn check(path: &Path, identity: &Identity, node: u64) -> Result<(), Fault> {
    if identity.node == node {
        return Ok(());
    }
    let reason = format!(
        "the directory holds the data of node {}, this is node {node}: name another directory, or start with --node {}",
        identity.node, identity.node
    );
    Err(fault(path, reason))
}

fn fault(path: &Path, reason: impl std::fmt::Display) -> Fault {
    Fault::new(&path.display().to_string(), reason)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(dir: &tempfile::TempDir, node: u64) -> Result<IdentityFile, Fault> {
        IdentityFile::open(dir.path(), node, FormatVersion::MAX, None)
    }

    fn message(result: Result<IdentityFile, Fault>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn an_identity_is_made_once_and_is_of_one_node_and_one_cluster() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = open(&dir, 2).expect("new");
        let incarnation = file.get().incarnation;
        file.opened(true).expect("first start");
        let member = Member {
            address: "b:2".to_owned(),
            incarnation,
        };
        let founders = BTreeMap::from([(2, member)]);
        let cluster = ClusterId::of(&founders);
        file.join(cluster, founders).expect("joined");
        let mut again = open(&dir, 2).expect("there");
        assert_eq!(again.get(), file.get());
        let lost = again.opened(true).expect_err("the log is gone");
        assert!(lost.to_string().contains("gone"), "{lost}");
        let other = ClusterId::of(&BTreeMap::new());
        assert!(again.join(other, BTreeMap::new()).is_err());
        let wrong = message(open(&dir, 3));
        assert!(wrong.contains("data of node 2"), "{wrong}");
    }

    #[test]
    fn the_number_of_data_groups_is_open_until_there_is_a_cluster() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = || fs::read_to_string(dir.path().join(FILE)).expect("there");
        let groups = |asked| {
            let file =
                IdentityFile::open(dir.path(), 1, FormatVersion::MAX, asked).expect("opened");
            file.get().data_groups
        };
        assert_eq!(groups(None), 1);
        let older = text();
        assert!(
            older.contains("\"format\":1") && !older.contains("data_groups"),
            "{older}"
        );
        assert_eq!((groups(Some(3)), groups(None), groups(Some(2))), (3, 3, 2));
        assert!(
            text().contains("\"format\":2"),
            "an older broker must not open it"
        );
        let mut file = IdentityFile::open(dir.path(), 1, FormatVersion::MAX, None).expect("opened");
        let cluster = ClusterId::of(&BTreeMap::new());
        file.join(cluster, BTreeMap::new()).expect("joined");
        assert_eq!((groups(Some(4)), groups(None)), (2, 2));
        let other = tempfile::tempdir().expect("a directory");
        let old = IdentityFile::open(other.path(), 1, FormatVersion::MIN, Some(2));
        assert!(message(old).contains("several data groups need format 2"));
    }

    #[test]
    fn damage_a_newer_form_and_data_without_an_identity_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        open(&dir, 1).expect("new");
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).expect("there");
        fs::write(&path, text.replacen("\"node\":1", "\"node\":7", 1)).expect("written");
        let damaged = message(open(&dir, 1));
        assert!(damaged.contains("damaged"), "{damaged}");
        let json = "{\"format\":99}";
        let newer = format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()));
        fs::write(&path, newer).expect("written");
        let newer = message(open(&dir, 1));
        assert!(newer.contains("format 99"), "{newer}");
        fs::remove_file(&path).expect("removed");
        fs::create_dir(dir.path().join("log")).expect("made");
        let missing = message(open(&dir, 1));
        assert!(missing.contains("no identity"), "{missing}");
    }

    #[test]
    fn a_version_is_written_down_for_good_and_an_older_broker_touches_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = open(&dir, 1).expect("new");
        assert_eq!(file.recorded(), FormatVersion(1));
        file.record(FormatVersion(2)).expect("written");
        file.record(FormatVersion(1)).expect("nothing to do");
        file.opened(true).expect("first start");
        let text = fs::read_to_string(dir.path().join(FILE)).expect("there");
        let older = message(IdentityFile::open(dir.path(), 1, FormatVersion(1), None));
        let says = "written by a newer broker (format 2); this one reads up to 1: start the newer broker, or restore a backup";
        assert!(older.contains(says), "{older}");
        assert_eq!(
            fs::read_to_string(dir.path().join(FILE)).expect("there"),
            text
        );
        assert!(check_format(dir.path(), FormatVersion(1)).is_err());
        assert_eq!(open(&dir, 1).expect("newer").recorded(), FormatVersion(2));
    }
}
