//! `millrace check DIR`: the offline audit of a data directory.

use std::path::Path;

/// Audits the data directory of a broker that is not running.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn run(dir: &Path) -> anyhow::Result<()> {
    anyhow::bail!(
        "this build cannot audit {}: it has no store linked in",
        dir.display()
    )
}
