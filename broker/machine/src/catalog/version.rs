//! The format version of the cluster, as the catalog keeps it.

use std::sync::Arc;

use millrace_model::{Fault, FormatVersion, Outcome, Tables, row, version};

use super::Changing;
use crate::keys;

impl<T: Tables> Changing<'_, T> {
    /// Raises the version; what is not higher than the present one changes nothing.
    pub(super) fn raise_version(&mut self, to: FormatVersion) -> Result<Outcome, Fault> {
        check(to)?;
        if to > self.topology.version {
            self.revise();
            Arc::make_mut(self.topology).version = to;
            self.tables.put(keys::VERSION, row::encode(&to));
        }
        Ok(Outcome::Adopted(self.state.revision))
    }
}

/// The version that the rows hold.
pub(super) fn open<T: Tables>(tables: &T) -> Result<FormatVersion, Fault> {
    let version = match tables.get(keys::VERSION)? {
        Some(value) => row::decode("the format version", &value)?,
        None => FormatVersion::MIN,
    };
    check(version)?;
    Ok(version)
}

/// A machine that would go on in a version that it does not know would differ from those that do.
fn check(version: FormatVersion) -> Result<(), Fault> {
    if version <= FormatVersion::MAX {
        return Ok(());
    }
    let reason = version::newer("the catalog", version, FormatVersion::MAX);
    Err(Fault::new("apply the catalog", reason))
}
