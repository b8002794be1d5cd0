//! What must not happen: IO errors and damage.

use std::sync::Arc;

/// An IO error or damage. Below Raft a fault stops the node: it never answers from what it cannot trust.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{context}: {reason}")]
pub struct Fault {
    context: Arc<str>,
    reason: Arc<str>,
}

impl Fault {
    /// A fault met while doing `context`, for `reason`.
    pub fn new(context: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            context: context.into(),
            reason: reason.to_string().into(),
        }
    }
}
