//! Builders of [`Problem`].

use crate::Problem;

impl Problem {
    /// A problem at a JSON Pointer into the configuration; an empty pointer is the document as a whole.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }

    /// Checks that the subscription declares the destination `name`, which the configuration names at `pointer`. With no
    /// destinations at all (they are not known yet) everything passes.
    ///
    /// # Errors
    /// One problem at `pointer`, naming the destinations that there are.
    pub fn unless_declared(
        pointer: &str,
        name: &str,
        declared: &[String],
    ) -> Result<(), Vec<Self>> {
        if declared.is_empty() || declared.iter().any(|destination| destination == name) {
            return Ok(());
        }
        let message = format!(
            "the subscription declares no destination {name:?}; it has: {}",
            declared.join(", ")
        );
        Err(vec![Self::new(pointer, message)])
    }
}
