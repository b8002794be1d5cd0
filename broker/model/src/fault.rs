//! What must not happen: IO errors and damage.

use std::sync::Arc;

/// An IO error or damage. Below Raft a fault stops the node: it never answers from what it cannot trust.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{context}: {reason}")]
pub struct Fault {
    context: Arc<str>,
    reason: Arc<str>,
    is_damage: bool,
}

impl Fault {
    /// A fault met while doing `context`, for `reason`.
    pub fn new(context: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            context: context.into(),
            reason: reason.to_string().into(),
            is_damage: false,
        }
    }

    /// As [`Fault::new`], when what is on disk is not what was written: it will be no better next time.
    pub fn damage(context: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            is_damage: true,
            ..Self::new(context, reason)
        }
    }

    /// Whether something on disk is known to be damaged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.is_damage
    }
}
