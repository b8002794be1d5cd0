//! Queues: where entries wait for consumers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limit;
use crate::name::Name;
use crate::problem::Problem;

/// The configuration of a queue (`API.md`, Queues).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Length of a lease, in seconds.
    #[schema(minimum = 0, maximum = 43_200)]
    pub visibility_seconds: u32,
    /// How long an entry is kept, consumed or not, in seconds; null keeps it for ever.
    #[schema(minimum = 60, maximum = 3_162_240_000_u64)]
    pub retention_seconds: Option<u64>,
    /// Delay of every entry before it is ready, in seconds.
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    pub delay_seconds: u64,
    /// How long a receive that names no wait waits for a message, in seconds.
    #[schema(minimum = 0, maximum = 30)]
    pub wait_seconds: u32,
    /// Largest event, in bytes; the broker's limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_048_576)]
    pub max_message_bytes: Option<u64>,
    /// Most entries; a publish or send past it gets 429 `queue_full`. Unlimited when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_entries: Option<u64>,
    /// Order within `partitionkey`. Not in this version: only false is taken.
    pub fifo: bool,
    /// Window in which an `Idempotency-Key` is accepted once, in seconds.
    #[schema(minimum = 0, maximum = 604_800)]
    pub deduplication_seconds: u64,
    /// Deduplication by content. Not in this version: only false is taken.
    pub content_deduplication: bool,
    /// How long acked entries can come back, in seconds. Not in this version: only 0 is taken.
    #[schema(minimum = 0, maximum = 0)]
    pub rewind_seconds: u64,
    /// Where entries go that were received too often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

/// When an entry becomes a dead letter, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The queue that takes dead letters.
    pub queue: Name,
    /// An entry whose lease ends without an ack after this many receives is moved.
    #[schema(minimum = 1, maximum = 1_000)]
    pub max_receives: u32,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            visibility_seconds: 30,
            retention_seconds: Some(345_600),
            delay_seconds: 0,
            wait_seconds: 0,
            max_message_bytes: None,
            max_entries: None,
            fifo: false,
            deduplication_seconds: 300,
            content_deduplication: false,
            rewind_seconds: 0,
            dead_letter: None,
        }
    }
}

impl QueueConfig {
    /// What is wrong with the configuration.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.out_of_range();
        problems.extend(self.unsupported());
        problems
    }

    fn out_of_range(&self) -> Vec<Problem> {
        let longest = limit::DURATION_SECONDS_MAX;
        let retention = self.retention_seconds.unwrap_or(longest);
        let receives = self
            .dead_letter
            .as_ref()
            .map_or(1, |dead| u64::from(dead.max_receives));
        let checks = [
            (
                "/visibility_seconds",
                u64::from(self.visibility_seconds),
                0,
                u64::from(limit::VISIBILITY_SECONDS_MAX),
            ),
            (
                "/retention_seconds",
                retention,
                limit::RETENTION_SECONDS_MIN,
                longest,
            ),
            ("/delay_seconds", self.delay_seconds, 0, longest),
            (
                "/wait_seconds",
                u64::from(self.wait_seconds),
                0,
                u64::from(limit::WAIT_SECONDS_MAX),
            ),
            (
                "/max_message_bytes",
                self.max_message_bytes.unwrap_or(1),
                1,
                limit::EVENT_BYTES_MAX as u64,
            ),
            ("/max_entries", self.max_entries.unwrap_or(1), 1, u64::MAX),
            (
                "/deduplication_seconds",
                self.deduplication_seconds,
                0,
                limit::DEDUPLICATION_SECONDS_MAX,
            ),
            (
                "/dead_letter/max_receives",
                receives,
                1,
                u64::from(limit::DEAD_LETTER_RECEIVES_MAX),
            ),
        ];
        let wrong = checks
            .iter()
            .filter(|(_, value, least, most)| value < least || value > most);
        wrong
            .map(|(pointer, value, least, most)| {
                Problem::new(
                    *pointer,
                    "out_of_range",
                    format!("must be {least} to {most}, got {value}"),
                )
            })
            .collect()
    }

    fn unsupported(&self) -> Vec<Problem> {
        let checks = [
            ("/fifo", self.fifo),
            ("/content_deduplication", self.content_deduplication),
            ("/rewind_seconds", self.rewind_seconds != 0),
        ];
        let wrong = checks.iter().filter(|(_, asked)| *asked);
        wrong
            .map(|(pointer, _)| {
                Problem::new(
                    *pointer,
                    "unsupported_value",
                    "this version does not have it: leave it out",
                )
            })
            .collect()
    }

    /// Largest event of this queue, in bytes.
    #[must_use]
    pub fn event_bytes_max(&self) -> usize {
        let limit = limit::EVENT_BYTES_MAX as u64;
        usize::try_from(self.max_message_bytes.unwrap_or(limit).min(limit))
            .unwrap_or(limit::EVENT_BYTES_MAX)
    }
}

/// The counters that `GET /v1/queues/{queue}` adds to the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueCounters {
    /// Entries that a receive may take now.
    pub ready: u64,
    /// Entries under a lease.
    pub leased: u64,
    /// Entries whose time has not come.
    pub delayed: u64,
    /// Acked entries that a rewind could bring back.
    pub rewindable: u64,
    /// Age of the oldest ready entry, in seconds; null when none is ready.
    pub oldest_ready_age_seconds: Option<u64>,
    /// Bytes of all entries, as stored.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn places(config: Value) -> Vec<(String, String)> {
        let config: QueueConfig = serde_json::from_value(config).unwrap();
        let problems = config.problems().into_iter();
        problems
            .map(|problem| (problem.pointer, problem.code))
            .collect()
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config: QueueConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, QueueConfig::default());
        let expected = json!({
            "visibility_seconds": 30, "retention_seconds": 345_600, "delay_seconds": 0, "wait_seconds": 0,
            "fifo": false, "deduplication_seconds": 300, "content_deduplication": false, "rewind_seconds": 0
        });
        assert_eq!(serde_json::to_value(&config).unwrap(), expected);
        assert!(config.problems().is_empty());
    }

    #[test]
    fn the_ends_of_every_range_are_inside() {
        let longest = limit::DURATION_SECONDS_MAX;
        let least = json!({
            "visibility_seconds": 0, "retention_seconds": 60, "delay_seconds": 0, "wait_seconds": 0,
            "max_message_bytes": 1, "max_entries": 1, "deduplication_seconds": 0,
            "dead_letter": {"queue": "d", "max_receives": 1}
        });
        let most = json!({
            "visibility_seconds": 43_200, "retention_seconds": longest, "delay_seconds": longest,
            "wait_seconds": 30, "max_message_bytes": 1_048_576, "max_entries": u64::MAX,
            "deduplication_seconds": 604_800, "dead_letter": {"queue": "d", "max_receives": 1_000}
        });
        assert_eq!(places(least), []);
        assert_eq!(places(most), []);
        assert_eq!(places(json!({"retention_seconds": null})), []);
    }

    #[test]
    fn past_the_ends_is_out_of_range() {
        let past = limit::DURATION_SECONDS_MAX + 1;
        for (config, pointer) in [
            (json!({"visibility_seconds": 43_201}), "/visibility_seconds"),
            (json!({"retention_seconds": 59}), "/retention_seconds"),
            (json!({ "retention_seconds": past }), "/retention_seconds"),
            (json!({ "delay_seconds": past }), "/delay_seconds"),
            (json!({"wait_seconds": 31}), "/wait_seconds"),
            (json!({"max_message_bytes": 0}), "/max_message_bytes"),
            (
                json!({"max_message_bytes": 1_048_577}),
                "/max_message_bytes",
            ),
            (json!({"max_entries": 0}), "/max_entries"),
            (
                json!({"deduplication_seconds": 604_801}),
                "/deduplication_seconds",
            ),
            (
                json!({"dead_letter": {"queue": "d", "max_receives": 0}}),
                "/dead_letter/max_receives",
            ),
            (
                json!({"dead_letter": {"queue": "d", "max_receives": 1_001}}),
                "/dead_letter/max_receives",
            ),
        ] {
            assert_eq!(
                places(config),
                [(pointer.to_owned(), "out_of_range".to_owned())]
            );
        }
    }

    #[test]
    fn what_this_version_lacks_is_refused_and_not_ignored() {
        let found =
            places(json!({"fifo": true, "content_deduplication": true, "rewind_seconds": 1}));
        let expected = ["/fifo", "/content_deduplication", "/rewind_seconds"];
        assert_eq!(
            found,
            expected.map(|pointer| (pointer.to_owned(), "unsupported_value".to_owned()))
        );
    }

    #[test]
    fn unknown_fields_and_bad_names_are_refused() {
        for bad in [
            json!({"visibility": 3}),
            json!({"visibility_seconds": -1}),
            json!({"dead_letter": {"queue": "1", "max_receives": 1}}),
            json!({"dead_letter": {"queue": "d"}}),
            json!({"dead_letter": {"queue": "d", "max_receives": 1, "after": 2}}),
        ] {
            assert!(
                serde_json::from_value::<QueueConfig>(bad.clone()).is_err(),
                "{bad}"
            );
        }
    }
}
