//! Topics: where producers publish.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::limit;
use crate::problem::Problem;

/// The configuration of a topic (`API.md`, Topics).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// Largest event, in bytes; the broker's limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_048_576)]
    pub max_message_bytes: Option<u64>,
    /// How long the events of the topic itself are kept, in seconds, for backtests and replays. This
    /// version keeps none: only 0 is taken.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 0)]
    pub retention_seconds: u64,
    /// JSON Schema 2020-12 that the data of every event must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<JsonDocument>,
    /// What follows when the data breaks the schema.
    #[serde(default)]
    pub schema_mode: SchemaMode,
}

/// What follows when an event breaks its topic's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaMode {
    /// The event is refused with 422 `schema_violation`.
    #[default]
    Reject,
    /// The event is accepted, and the violation is counted and logged.
    Warn,
}

/// A free JSON document inside a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct JsonDocument(pub Value);

impl TopicConfig {
    /// What is wrong with the configuration, apart from the schema itself (the gateway compiles that).
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(bytes) = self.max_message_bytes
            && !(1..=limit::EVENT_BYTES_MAX as u64).contains(&bytes)
        {
            problems.push(Problem::new(
                "/max_message_bytes",
                "out_of_range",
                format!("must be 1 to {}", limit::EVENT_BYTES_MAX),
            ));
        }
        if self.retention_seconds != 0 {
            problems.push(Problem::new(
                "/retention_seconds",
                "unsupported_value",
                "topics keep no events of their own in this version: leave it out or set it to 0",
            ));
        }
        problems
    }

    /// Largest event of this topic, in bytes.
    #[must_use]
    pub fn event_bytes_max(&self) -> usize {
        let limit = limit::EVENT_BYTES_MAX as u64;
        usize::try_from(self.max_message_bytes.unwrap_or(limit).min(limit))
            .unwrap_or(limit::EVENT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value) -> TopicConfig {
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_topic_needs_no_configuration() {
        let config = read(json!({}));
        assert!(config.problems().is_empty());
        assert_eq!(config.event_bytes_max(), limit::EVENT_BYTES_MAX);
    }

    #[test]
    fn the_size_of_events_is_limited_downwards_only() {
        assert_eq!(read(json!({"max_message_bytes": 1})).event_bytes_max(), 1);
        for wrong in [0, limit::EVENT_BYTES_MAX + 1] {
            let config = read(json!({ "max_message_bytes": wrong }));
            let problems = config.problems();
            assert_eq!(
                (&*problems[0].pointer, &*problems[0].code),
                ("/max_message_bytes", "out_of_range")
            );
            assert!(config.event_bytes_max() <= limit::EVENT_BYTES_MAX);
        }
    }

    #[test]
    fn topics_that_keep_events_are_refused_and_not_ignored() {
        let problems = read(json!({"retention_seconds": 60})).problems();
        assert_eq!(
            (&*problems[0].pointer, &*problems[0].code),
            ("/retention_seconds", "unsupported_value")
        );
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_value::<TopicConfig>(json!({"retention": 1})).is_err());
    }
}
