//! [`Components`]: where the host gets the bytes of a plugin version that it has not compiled yet.

use bytes::Bytes;
use millrace_model::BoxFuture;

/// A store of components. The server answers from the ledger.
pub trait Components: Send + Sync + 'static {
    /// The component with this digest (`sha256:…`). The host checks that the bytes have it.
    ///
    /// # Errors
    /// A sentence that says why it cannot be had right now.
    fn component(&self, digest: &str) -> BoxFuture<'_, Result<Bytes, String>>;
}
