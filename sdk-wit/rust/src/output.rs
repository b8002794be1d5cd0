//! Builders of [`Output`].

use crate::{AttributeEdit, Output, Payload};

impl Output {
    /// The event as it is, to every destination of the subscription.
    #[must_use]
    pub fn same() -> Self {
        Self {
            to: Vec::new(),
            payload: Payload::Same,
            attributes: Vec::new(),
            delay_ms: None,
        }
    }

    /// The event with other data, to every destination of the subscription.
    #[must_use]
    pub fn replaced(data: Vec<u8>) -> Self {
        Self {
            to: Vec::new(),
            payload: Payload::Replaced(data),
            attributes: Vec::new(),
            delay_ms: None,
        }
    }

    /// To this destination alone, or to it as well when there is one already.
    #[must_use]
    pub fn to(mut self, destination: &str) -> Self {
        self.to.push(destination.to_owned());
        self
    }

    /// Visible to receivers only after `ms` milliseconds.
    #[must_use]
    pub fn delay_ms(mut self, ms: u64) -> Self {
        self.delay_ms = Some(ms);
        self
    }

    /// With the attribute set.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.attributes.push(AttributeEdit {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        });
        self
    }

    /// Without the attribute.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.attributes.push(AttributeEdit {
            name: name.to_owned(),
            value: None,
        });
        self
    }
}
