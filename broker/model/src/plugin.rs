//! Plugin versions as the catalog keeps them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::name::Name;
use crate::topic::JsonDocument;

/// What a plugin is for: the world of the WIT package that its component targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum World {
    /// Says yes or no to each event.
    Filter,
    /// Chooses destinations.
    Router,
    /// Makes zero or more outputs of each event.
    Transform,
}

/// What a component says of itself, read once at upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Description {
    /// Which world the component targets.
    pub world: World,
    /// The host interfaces that it imports.
    pub imports: Vec<String>,
    /// One sentence for people.
    pub description: String,
    /// JSON Schema 2020-12 of its configuration.
    pub config_schema: JsonDocument,
    /// The destinations that it may name; empty when its configuration decides.
    pub destinations: Vec<PluginDestination>,
}

/// A destination that a plugin declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginDestination {
    /// Its name.
    pub name: String,
    /// One sentence for people.
    pub summary: String,
}

/// An immutable version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginVersion {
    /// Name of the plugin.
    pub name: Name,
    /// Version, as uploaded: a path segment of 1 to 64 letters, digits, `.`, `_`, `+`, `-`.
    pub version: String,
    /// `sha256:` and the hex digest of the component's bytes.
    pub digest: String,
    /// Size of the component, in bytes.
    pub bytes: u64,
    /// When it was uploaded, in milliseconds since the epoch.
    #[schema(value_type = u64)]
    pub uploaded_at: crate::time::Timestamp,
    /// What it says of itself.
    pub description: Description,
}

/// Whether `text` can be a version: 1 to 64 letters, digits, `.`, `_`, `+` or `-`.
#[must_use]
pub fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}
