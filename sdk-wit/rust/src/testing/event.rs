//! [`TestEvent`]: a whole event, of which the plugin sees what it asks for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Wishes;
use crate::bindings::filter::millrace::plugin::types::Event as Handed;

/// An event for a test. It has `id`, `source` and `specversion` from the start, as every CloudEvent.
#[derive(Clone, Debug)]
pub struct TestEvent {
    attributes: BTreeMap<String, String>,
    accepted_at_ms: u64,
    body: Option<Vec<u8>>,
}

impl TestEvent {
    /// An event of this type, from the source `/test`, without data, accepted in 2026.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        let event = Self {
            attributes: BTreeMap::new(),
            accepted_at_ms: 1_767_225_600_000,
            body: None,
        };
        event
            .attribute("id", "test-1")
            .attribute("source", "/test")
            .attribute("specversion", "1.0")
            .attribute("type", kind)
    }

    /// With this attribute, by its CloudEvents name.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With this JSON data.
    ///
    /// # Panics
    /// When `data` cannot be written as JSON.
    #[must_use]
    pub fn json(self, data: &impl Serialize) -> Self {
        let body = serde_json::to_vec(data).expect("test data can be written as JSON");
        self.attribute("datacontenttype", "application/json")
            .body(&body)
    }

    /// With these bytes as data.
    #[must_use]
    pub fn body(mut self, data: &[u8]) -> Self {
        self.body = Some(data.to_vec());
        self
    }

    /// Accepted at this time, in milliseconds since 1970 UTC.
    #[must_use]
    pub fn accepted_at_ms(mut self, at: u64) -> Self {
        self.accepted_at_ms = at;
        self
    }

    /// What the broker would hand over.
    pub(super) fn handed(&self, wishes: &Wishes) -> Handed {
        Handed {
            attributes: wishes
                .attributes
                .iter()
                .map(|name| self.attributes.get(name).cloned())
                .collect(),
            accepted_at_ms: self.accepted_at_ms,
            body: self.body.clone().filter(|_| wishes.body),
        }
    }
}
