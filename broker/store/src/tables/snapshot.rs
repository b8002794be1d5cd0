//! All rows of a group at one moment.

use millrace_model::{Fault, tables::Row};

/// All rows of a group as of one commit. Holds disk space of what is overwritten meanwhile: do not keep it for long.
#[derive(Debug)]
pub struct TableSnapshot {
    _private: (),
}

impl TableSnapshot {
    /// The index of the last entry that the rows know of.
    pub fn applied(&self) -> u64 {
        todo!()
    }

    /// The rows in order of their keys: system rows first, under their reserved prefix, and without what belongs to
    /// this node alone (reference counts). Fit for [`GroupTables::restore`](crate::tables::GroupTables::restore).
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Fault>> + Send + use<> {
        std::iter::empty()
    }
}
