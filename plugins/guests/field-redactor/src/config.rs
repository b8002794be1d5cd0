//! The configuration, as `config.schema.json` describes it.

use serde::Deserialize;
use serde_json::Value;

/// Rules for fields, attributes to remove, and what happens to other data than JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens to which fields.
    #[serde(default)]
    pub(crate) rules: Vec<RuleConfig>,
    /// Attributes to take off the event.
    #[serde(default)]
    pub(crate) remove_attributes: Vec<String>,
    /// What happens to an event whose data is not JSON.
    #[serde(default)]
    pub(crate) not_json: NotJson,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RuleConfig {
    /// Puts another value in place of the field's.
    Mask {
        paths: Vec<String>,
        #[serde(default = "stars")]
        with: Value,
    },
    /// Takes the field away.
    Remove { paths: Vec<String> },
    /// Gives the field another name.
    Rename { paths: Vec<String>, to: String },
}

impl RuleConfig {
    /// The paths of the rule, whatever it does.
    pub(crate) fn paths(&self) -> &[String] {
        match self {
            Self::Mask { paths, .. } | Self::Remove { paths } | Self::Rename { paths, .. } => paths,
        }
    }
}

/// What happens to an event whose data is not JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotJson {
    /// It fails: nothing unredacted leaves by mistake.
    #[default]
    Reject,
    /// It passes as it is.
    Pass,
}

fn stars() -> Value {
    Value::from("***")
}
