//! What can go wrong below consensus: the disk refused, or what is on it is not what was written.
//!
//! A fault stops the node: it never turns into an answer to a client.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes on disk that are not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file that is damaged or missing.
    pub file: PathBuf,
    /// Byte offset of the first damaged byte's record in `file`; 0 when the whole file is meant.
    pub offset: u64,
    /// What was expected and what was found, for an operator.
    pub reason: String,
}

impl Damage {
    /// Damage at `offset` of `file`.
    pub fn new(file: impl AsRef<Path>, offset: u64, reason: impl Into<String>) -> Self {
        let file = file.as_ref().to_path_buf();
        let reason = reason.into();
        Self {
            file,
            offset,
            reason,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "damaged: {} at offset {}: {}",
            self.file.display(),
            self.offset,
            self.reason
        )
    }
}

impl std::error::Error for Damage {}

/// A system call that failed, with what it was for.
#[derive(Debug)]
pub struct IoFault {
    /// What was being done, as a verb phrase: "write a segment".
    pub doing: &'static str,
    /// The file or folder it was done to.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl IoFault {
    /// The closure form fits `map_err`: `.map_err(IoFault::at("sync a segment", &path))`.
    pub fn at<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            doing,
            path,
            source: source.into(),
        }
    }

    /// Whether the disk (or a quota) is full, which passes by itself when space is back.
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

impl fmt::Display for IoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.doing,
            self.path.display(),
            self.source
        )
    }
}

impl std::error::Error for IoFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
