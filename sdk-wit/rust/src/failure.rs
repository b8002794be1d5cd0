//! Builders of [`Failure`].

use crate::{Failure, Reason};

impl Failure {
    /// The event can never succeed. `code` is stable, for programs (`[a-z][a-z0-9_]*`); `detail` is for people.
    #[must_use]
    pub fn reject(code: &str, detail: &str) -> Self {
        Self::Reject(Reason {
            code: code.to_owned(),
            detail: detail.to_owned(),
        })
    }

    /// The event may succeed another time: the broker tries it once more at once, alone and in a new instance, and then
    /// does what the subscription's `on_failure` says.
    #[must_use]
    pub fn retry(code: &str, detail: &str) -> Self {
        Self::Retry(Reason {
            code: code.to_owned(),
            detail: detail.to_owned(),
        })
    }
}
