//! Values that users type for options.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

/// JSON given in place (`{"a": 1}`) or as the name of a file that holds it.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct JsonArg(pub(crate) Value);

impl FromStr for JsonArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let in_place = text.trim_start().starts_with(['{', '[']);
        let content = if in_place {
            text.to_owned()
        } else {
            std::fs::read_to_string(text).map_err(|error| format!("cannot read {text}: {error}"))?
        };
        serde_json::from_str(&content)
            .map(Self)
            .map_err(|error| format!("this is not JSON: {error}"))
    }
}

/// A number of seconds, or `unlimited` (`null` in the contract).
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub(crate) struct SecondsOrUnlimited(Option<u64>);

impl FromStr for SecondsOrUnlimited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|seconds| Self(Some(seconds)))
            .map_err(|_| "give seconds, or `unlimited`".to_owned())
    }
}

/// A plugin's version, written `NAME@VERSION`.
#[derive(Debug, Clone)]
pub(crate) struct PluginVersion {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl FromStr for PluginVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('@') {
            Some((name, version)) if !name.is_empty() && !version.is_empty() => Ok(Self {
                name: name.to_owned(),
                version: version.to_owned(),
            }),
            _ => Err("give it as NAME@VERSION, as in order-router@1.2.0".to_owned()),
        }
    }
}

/// A pair, written `NAME=VALUE`.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("give it as NAME=VALUE".to_owned()),
        }
    }
}
