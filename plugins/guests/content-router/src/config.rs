//! The configuration, as `config.schema.json` describes it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::condition::Condition;

/// Rules, and what happens when none matches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Tried from first to last.
    pub(crate) rules: Vec<RuleConfig>,
    /// Whether the first match decides.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Destinations of an event that no rule matches.
    #[serde(default)]
    pub(crate) default: Vec<String>,
}

/// How many rules may match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// The first rule that matches decides.
    #[default]
    First,
    /// Every rule that matches adds its destinations.
    All,
}

/// One rule: conditions that must all hold, and where a matching event goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleConfig {
    /// Conditions by attribute name.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Condition>,
    /// Conditions by JSON Pointer into the data.
    #[serde(default)]
    pub(crate) data: BTreeMap<String, Condition>,
    /// Destinations.
    pub(crate) to: Vec<String>,
}
