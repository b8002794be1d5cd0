//! The format version of a cluster: what its files and messages may hold, and which features are on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of everything that nodes write: files, log entries, messages to each other. A cluster has one, which its
/// members agree on and which is only ever raised, see [`CatalogCommand::RaiseVersion`](crate::command::CatalogCommand).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormatVersion(pub u16);

impl FormatVersion {
    /// The oldest that this broker reads and writes, and that of data without a mark.
    pub const MIN: Self = Self(1);
    /// The newest: 2 brought this gate, and delivery across groups; 3 brought queues that move between groups; 4 keeps rows
    /// in pages.
    pub const MAX: Self = Self(4);

    /// Whether `feature` is on in a cluster of this version.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        feature.since() <= self
    }
}

impl Default for FormatVersion {
    fn default() -> Self {
        Self::MIN
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is off until every member of the cluster understands it. Ask [`Topology::has`](crate::Topology::has) before
/// something of it is proposed; what is in the log already is applied without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Events reach queues of another group than their topic's.
    CrossGroupDelivery,
    /// Queues move to other groups.
    QueueMoves,
    /// Rows of sequences are kept in pages on the disk. Each node has its own, so what it has written down counts.
    PagedRows,
}

impl Feature {
    /// The version that brought it.
    #[must_use]
    pub const fn since(self) -> FormatVersion {
        match self {
            Self::CrossGroupDelivery => FormatVersion(2),
            Self::QueueMoves => FormatVersion(3),
            Self::PagedRows => FormatVersion(4),
        }
    }
}

const _: () = assert!(FormatVersion::MIN.0 <= FormatVersion::MAX.0);
const _: () = assert!(Feature::CrossGroupDelivery.since().0 <= FormatVersion::MAX.0);
const _: () = assert!(Feature::QueueMoves.since().0 <= FormatVersion::MAX.0);
const _: () = assert!(Feature::PagedRows.since().0 <= FormatVersion::MAX.0);

/// Why something of version `found` is not read by who reads up to `max`, and what to do.
#[must_use]
pub fn newer(what: &str, found: impl fmt::Display, max: impl fmt::Display) -> String {
    format!(
        "{what} was written by a newer broker (format {found}); this one reads up to {max}: start the newer broker, or restore a backup"
    )
}
