//! Who this node is: the file that tells its data from all other data.
//!
//! **Invariants**: the incarnation is made once, with the data, and never changes; data that belongs to another node
//! number, to a newer broker, or whose log is gone is refused, never written to.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use millrace_model::Fault;
use millrace_store::disk::{self as fs, File};
use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, Incarnation, Member};

/// The form of the file. A broker refuses one that is newer than its own.
const FORMAT: u32 = 1;

/// Name of the file in the data directory.
const FILE: &str = "identity";

/// Largest file that is read, in bytes: a few hundred for each first member.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: u32,
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
}

/// The identity with the place where it is kept.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    path: PathBuf,
    identity: Identity,
}

impl IdentityFile {
    /// Reads the identity in `dir`, or makes one for `node` where there is none.
    ///
    /// # Errors
    /// A [`Fault`] that says what to do: the data is of another node, of a newer or older broker, or damaged.
    pub(crate) fn open(dir: &Path, node: u64) -> Result<Self, Fault> {
        fs::create_dir_all(dir).map_err(|error| fault(dir, error))?;
        let path = dir.join(FILE);
        if let Some(identity) = read(&path)? {
            check(&path, &identity, node)?;
            return Ok(Self { path, identity });
        }
        if fs::exists(&dir.join("log")) || fs::exists(&dir.join("tables")) {
            let reason = "there is a log but no identity: the file was removed, or an older broker wrote the data; put the file back, or start with an empty directory";
            return Err(fault(&path, reason));
        }
        let identity = Identity {
            format: FORMAT,
            node,
            incarnation: Incarnation::new(),
            opened: false,
            cluster: None,
            founders: BTreeMap::new(),
        };
        let mut file = Self { path, identity };
        file.write(file.identity.clone())?;
        Ok(file)
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

    /// Writes beside, syncs, renames, syncs the directory: a crash leaves the old or the new file.
    fn write(&mut self, identity: Identity) -> Result<(), Fault> {
        let json = serde_json::to_string(&identity).map_err(|error| fault(&self.path, error))?;
        let text = format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()));
        replace(&self.path, text.as_bytes()).map_err(|error| fault(&self.path, error))?;
        self.identity = identity;
        Ok(())
    }
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

fn read(path: &Path) -> Result<Option<Identity>, Fault> {
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
    if format.format > FORMAT {
        let reason = format!(
            "it has format {}, this broker reads up to {FORMAT}: start the newer broker that wrote it",
            format.format
        );
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

    fn message(result: Result<IdentityFile, Fault>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn an_identity_is_made_once_and_is_of_one_node_and_one_cluster() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = IdentityFile::open(dir.path(), 2).expect("new");
        let incarnation = file.get().incarnation;
        file.opened(true).expect("first start");
        let member = Member {
            address: "b:2".to_owned(),
            incarnation,
        };
        let founders = BTreeMap::from([(2, member)]);
        let cluster = ClusterId::of(&founders);
        file.join(cluster, founders).expect("joined");
        let mut again = IdentityFile::open(dir.path(), 2).expect("there");
        assert_eq!(again.get(), file.get());
        let lost = again.opened(true).expect_err("the log is gone");
        assert!(lost.to_string().contains("gone"), "{lost}");
        let other = ClusterId::of(&BTreeMap::new());
        assert!(again.join(other, BTreeMap::new()).is_err());
        let wrong = message(IdentityFile::open(dir.path(), 3));
        assert!(wrong.contains("data of node 2"), "{wrong}");
    }

    #[test]
    fn damage_a_newer_form_and_data_without_an_identity_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        IdentityFile::open(dir.path(), 1).expect("new");
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).expect("there");
        fs::write(&path, text.replacen("\"node\":1", "\"node\":7", 1)).expect("written");
        let damaged = message(IdentityFile::open(dir.path(), 1));
        assert!(damaged.contains("damaged"), "{damaged}");
        let json = "{\"format\":99}";
        let newer = format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()));
        fs::write(&path, newer).expect("written");
        let newer = message(IdentityFile::open(dir.path(), 1));
        assert!(newer.contains("format 99"), "{newer}");
        fs::remove_file(&path).expect("removed");
        fs::create_dir(dir.path().join("log")).expect("made");
        let missing = message(IdentityFile::open(dir.path(), 1));
        assert!(missing.contains("no identity"), "{missing}");
    }
}
