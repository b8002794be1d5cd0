//! What the export macros expand to: one configured plugin in an instance. Not for authors.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;

pub use crate::bindings::filter::millrace::plugin::types::{Event, Setup};
use crate::{Event as Seen, Failure, Problem, Wishes};

/// The plugin of this instance, once it is configured. The broker configures an instance once.
#[allow(missing_debug_implementations)]
pub struct Instance<P>(OnceCell<(P, Wishes)>);

impl<P> Default for Instance<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Instance<P> {
    /// An instance without a configuration yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// Reads the configuration, makes the plugin, and says what it wishes for.
    ///
    /// # Errors
    /// What is wrong with the configuration; or one problem when the instance has one already.
    pub fn configure<C: DeserializeOwned>(
        &self,
        setup: &Setup,
        configure: fn(C, &[String]) -> Result<P, Vec<Problem>>,
        wishes: fn(&P) -> Wishes,
    ) -> Result<Wishes, Vec<Problem>> {
        log_panics();
        let plugin = configure(read_config(&setup.config)?, &setup.destinations)?;
        let wishes = wishes(&plugin);
        match self.0.set((plugin, wishes.clone())) {
            Ok(()) => Ok(wishes),
            Err(_) => Err(vec![Problem::new(
                "",
                "this instance is configured already",
            )]),
        }
    }

    /// Runs `one` on every event of the batch.
    pub fn run<T>(
        &self,
        batch: &[Event],
        one: fn(&P, &Seen<'_>) -> Result<T, Failure>,
    ) -> Vec<Result<T, Failure>> {
        let configured = self.0.get();
        let run = |event| match configured {
            Some((plugin, wishes)) => one(plugin, &Seen::new(wishes, event)),
            None => Err(Failure::reject(
                "not_configured",
                "the instance was not configured",
            )),
        };
        batch.iter().map(run).collect()
    }
}

/// A panic ends as a trap that says nothing; the log is the one place where its message can be seen.
fn log_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
}

/// A type error in the configuration becomes a problem at its JSON Pointer.
fn read_config<C: DeserializeOwned>(text: &str) -> Result<C, Vec<Problem>> {
    let reader = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        vec![Problem::new(
            pointer_to(error.path()),
            error.inner().to_string(),
        )]
    })
}

fn pointer_to(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            // A variant's name stands in the document only where serde tags externally, and then as a key of its own.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}
