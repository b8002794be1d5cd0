//! Builders of [`Wishes`].

use crate::Wishes;

impl Default for Wishes {
    /// No attributes, no body.
    fn default() -> Self {
        Self {
            attributes: Vec::new(),
            body: false,
        }
    }
}

impl Wishes {
    /// These attributes, and no body. Names may repeat; each is asked for once, in the order of first mention.
    pub fn attributes<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut attributes: Vec<String> = Vec::new();
        for name in names {
            let name = name.into();
            if !attributes.contains(&name) {
                attributes.push(name);
            }
        }
        Self {
            attributes,
            body: false,
        }
    }

    /// The body alone.
    #[must_use]
    pub fn body() -> Self {
        Self {
            attributes: Vec::new(),
            body: true,
        }
    }

    /// The same wishes, and the body when `wanted`.
    #[must_use]
    pub fn with_body(mut self, wanted: bool) -> Self {
        self.body = wanted;
        self
    }
}
