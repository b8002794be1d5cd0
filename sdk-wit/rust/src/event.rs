//! [`Event`]: what a plugin sees of an event.

use serde::de::DeserializeOwned;

use crate::bindings::filter::millrace::plugin::types::Event as Handed;
use crate::{Failure, Wishes};

/// One event, reduced to what the plugin's [`Wishes`] asked for.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    wishes: &'a Wishes,
    handed: &'a Handed,
}

impl<'a> Event<'a> {
    pub(crate) fn new(wishes: &'a Wishes, handed: &'a Handed) -> Self {
        Self { wishes, handed }
    }

    /// The value of an attribute by its CloudEvents name, if the event has it and the wishes asked for it.
    ///
    /// # Panics
    /// In debug builds (so in tests), when the wishes did not ask for the attribute: it would never be there.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        let position = self.wishes.attributes.iter().position(|wish| wish == name);
        debug_assert!(
            position.is_some(),
            "the wishes of this plugin do not ask for the attribute {name:?}"
        );
        self.attribute_at(position?)
    }

    /// The value of the attribute that stands at `position` in the wishes: for plugins that resolve names once, when they
    /// are configured.
    #[must_use]
    pub fn attribute_at(&self, position: usize) -> Option<&'a str> {
        self.handed.attributes.get(position)?.as_deref()
    }

    /// Milliseconds since 1970 UTC at which the broker took the event in.
    #[must_use]
    pub fn accepted_at_ms(&self) -> u64 {
        self.handed.accepted_at_ms
    }

    /// The data, if the event has any and the wishes asked for the body.
    #[must_use]
    pub fn body(&self) -> Option<&'a [u8]> {
        self.handed.body.as_deref()
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    /// A [`Failure::Reject`] with the code `no_data` when there is none, `invalid_data` when it is not JSON or not the
    /// JSON that `T` wants.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body = self
            .body()
            .ok_or_else(|| Failure::reject("no_data", "the event carries no data"))?;
        serde_json::from_slice(body)
            .map_err(|error| Failure::reject("invalid_data", &error.to_string()))
    }
}
