//! Builders of [`Description`].

use crate::{Description, Destination};

impl Description {
    /// A plugin with no configuration and no fixed destinations. `env!("CARGO_PKG_NAME")` and
    /// `env!("CARGO_PKG_VERSION")` are good values for the first two.
    #[must_use]
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            config_schema: "{}".to_owned(),
            destinations: Vec::new(),
        }
    }

    /// The JSON Schema 2020-12 of the configuration; `include_str!` keeps it in a file of its own.
    #[must_use]
    pub fn config_schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.config_schema);
        self
    }

    /// Adds a destination that the plugin knows by name, whatever its configuration.
    #[must_use]
    pub fn destination(mut self, name: &str, summary: &str) -> Self {
        self.destinations.push(Destination {
            name: name.to_owned(),
            summary: summary.to_owned(),
        });
        self
    }
}
