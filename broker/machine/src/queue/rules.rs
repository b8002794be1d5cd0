//! What the configuration of a queue means to the machine.

use millrace_model::{Fault, Name, QueueConfig, QueueId, row};
use serde::{Deserialize, Serialize};

/// The configuration row of a queue: JSON, so that configuration stays extensible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: Name,
    pub(crate) config: QueueConfig,
    pub(crate) dead_letter: Option<QueueId>,
}

impl Settings {
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Fault> {
        row::decode_json("a queue's configuration", value)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        row::encode_json(self)
    }
}

/// [`Settings`] in the units of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) name: Name,
    pub(crate) visibility_ms: u64,
    pub(crate) delay_ms: u64,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) entries_max: Option<u64>,
    pub(crate) dead_letter: Option<DeadLetterRule>,
}

/// When an entry is moved, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterRule {
    pub(crate) queue: QueueId,
    pub(crate) receives_max: u32,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        let ms = |seconds: u64| seconds.saturating_mul(1_000);
        let config = &settings.config;
        let dead_letter = config.dead_letter.as_ref().zip(settings.dead_letter);
        Self {
            name: settings.name.clone(),
            visibility_ms: ms(u64::from(config.visibility_seconds)),
            delay_ms: ms(config.delay_seconds),
            retention_ms: config.retention_seconds.map(ms),
            entries_max: config.max_entries,
            dead_letter: dead_letter.map(|(config, queue)| DeadLetterRule {
                queue,
                receives_max: config.max_receives,
            }),
        }
    }
}
