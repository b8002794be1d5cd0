//! Plugin components, from the catalog.

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::{Answer, BoxFuture, GroupId, Ledger, Query};
use millrace_plugin_host::Components;

/// Reads components from group 0 of the ledger.
pub(super) struct Catalog(pub(super) Arc<dyn Ledger>);

impl Components for Catalog {
    fn component(&self, digest: &str) -> BoxFuture<'_, Result<Bytes, String>> {
        let query = Query::Component(digest.to_owned());
        Box::pin(async move {
            match self.0.query(GroupId::META, query).await {
                Ok(Answer::Component(bytes)) => Ok(bytes.into()),
                Ok(Answer::Refused(refusal)) => Err(refusal.to_string()),
                Ok(other) => Err(format!("the catalog answered {other:?}")),
                Err(unavailable) => Err(unavailable.to_string()),
            }
        })
    }
}
