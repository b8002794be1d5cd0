//! Subscriptions: topic → optional filter → optional plugin → one or several destinations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::filter::FilterConfig;
use crate::limit;
use crate::name::Name;
use crate::problem::Problem;
use crate::topic::JsonDocument;

/// The configuration of a subscription (`API.md`, Subscriptions). Filter first, then plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionConfig {
    /// Which events the subscription takes; all when absent.
    #[serde(default)]
    pub filter: Option<FilterConfig>,
    /// The plugin that filters, routes or transforms.
    #[serde(default)]
    pub plugin: Option<PluginBinding>,
    /// Where events go.
    pub to: Destinations,
    /// What follows when the plugin fails on an event.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// A paused subscription parks every event that it would have taken; a redrive delivers them later.
    #[serde(default)]
    pub paused: bool,
}

/// A plugin version with its configuration, as a subscription uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginBinding {
    /// Name of the plugin.
    pub name: Name,
    /// Version of the plugin, as it was uploaded.
    pub version: String,
    /// The plugin's configuration document; `{}` when absent.
    #[serde(default = "empty_object")]
    pub config: JsonDocument,
}

fn empty_object() -> JsonDocument {
    JsonDocument(serde_json::json!({}))
}

/// Where a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Destinations {
    /// One queue.
    Queue(Name),
    /// One topic: the event is routed on by its subscriptions.
    Topic(Name),
    /// Several, by the names that a router or transform plugin uses. Without such a plugin, all of them.
    Destinations(BTreeMap<Name, Destination>),
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Destination {
    /// A queue.
    Queue(Name),
    /// A topic.
    Topic(Name),
}

/// What follows when a plugin fails on an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The event waits in the subscription's parked list and can be redriven.
    #[default]
    Park,
    /// The subscription drops the event.
    Skip,
    /// The publish of this event is refused with 422 `rejected_by_plugin`.
    Reject,
}

impl SubscriptionConfig {
    /// What is wrong with the configuration, as far as it can be told without the catalog and the plugin.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self
            .filter
            .as_ref()
            .map(FilterConfig::problems)
            .unwrap_or_default();
        if let Destinations::Destinations(map) = &self.to
            && !(1..=limit::DESTINATIONS_MAX).contains(&map.len())
        {
            let detail = format!("must name 1 to {} destinations", limit::DESTINATIONS_MAX);
            problems.push(Problem::new("/to/destinations", "out_of_range", detail));
        }
        let config_bytes = self
            .plugin
            .as_ref()
            .map_or(0, |plugin| plugin.config.0.to_string().len());
        if config_bytes > limit::PLUGIN_CONFIG_BYTES_MAX {
            let detail = format!("must be at most {} bytes", limit::PLUGIN_CONFIG_BYTES_MAX);
            problems.push(Problem::new("/plugin/config", "out_of_range", detail));
        }
        problems
    }
}

impl Destinations {
    /// Every destination, with its name where it has one.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Option<&Name>, DestinationRef<'_>)> + '_> {
        match self {
            Self::Queue(queue) => Box::new(std::iter::once((None, DestinationRef::Queue(queue)))),
            Self::Topic(topic) => Box::new(std::iter::once((None, DestinationRef::Topic(topic)))),
            Self::Destinations(map) => Box::new(
                map.iter()
                    .map(|(name, destination)| (Some(name), destination.as_ref())),
            ),
        }
    }
}

/// A borrowed [`Destination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationRef<'a> {
    /// A queue.
    Queue(&'a Name),
    /// A topic.
    Topic(&'a Name),
}

impl Destination {
    /// The destination, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> DestinationRef<'_> {
        match self {
            Self::Queue(queue) => DestinationRef::Queue(queue),
            Self::Topic(topic) => DestinationRef::Topic(topic),
        }
    }
}
