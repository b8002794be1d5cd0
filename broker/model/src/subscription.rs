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
    /// The publish of this event is refused with 422 `rejected_by_plugin`; with 503 `deferred_by_plugin` when the plugin says that the
    /// event may succeed later.
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

/// The name by which a plugin knows the only destination of a subscription that gives it none.
pub const DESTINATION_DEFAULT: &str = "default";

impl Destinations {
    /// The names by which a plugin knows the destinations.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let name = |(name, _): (Option<&Name>, _)| {
            name.map_or_else(|| DESTINATION_DEFAULT.to_owned(), Name::to_string)
        };
        self.iter().map(name).collect()
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn read(config: &Value) -> Result<SubscriptionConfig, serde_json::Error> {
        serde_json::from_value(config.clone())
    }

    fn places(config: &Value) -> Vec<(String, String)> {
        let problems = read(config).unwrap().problems().into_iter();
        problems
            .map(|problem| (problem.pointer, problem.code))
            .collect()
    }

    #[test]
    fn a_destination_is_enough() {
        let config = read(&json!({"to": {"queue": "q"}})).unwrap();
        assert_eq!(
            (config.filter.is_none(), config.plugin.is_none()),
            (true, true)
        );
        assert_eq!((config.on_failure, config.paused), (OnFailure::Park, false));
        assert!(config.problems().is_empty());
    }

    #[test]
    fn destinations_are_told_with_their_names() {
        let to = |to: Value| read(&json!({ "to": to })).unwrap().to;
        let found = |to: &Destinations| {
            let all = to.iter().map(|(name, destination)| match destination {
                DestinationRef::Queue(queue) => format!("{name:?} queue {queue}"),
                DestinationRef::Topic(topic) => format!("{name:?} topic {topic}"),
            });
            all.collect::<Vec<_>>()
        };
        assert_eq!(found(&to(json!({"queue": "q"}))), ["None queue q"]);
        assert_eq!(found(&to(json!({"topic": "t"}))), ["None topic t"]);
        let several = to(json!({"destinations": {"us": {"topic": "t"}, "eu": {"queue": "q"}}}));
        assert_eq!(
            found(&several),
            ["Some(\"eu\") queue q", "Some(\"us\") topic t"]
        );
    }

    #[test]
    fn a_plugin_needs_no_configuration() {
        let config =
            read(&json!({"to": {"queue": "q"}, "plugin": {"name": "p", "version": "1.0.0"}}));
        assert_eq!(config.unwrap().plugin.unwrap().config.0, json!({}));
    }

    #[test]
    fn what_does_not_fit_is_out_of_range() {
        let destinations = |count: usize| -> Value {
            let all = (0..count).map(|at| (format!("d{at}"), json!({"queue": "q"})));
            json!({"to": {"destinations": Value::Object(all.collect())}})
        };
        let plugin = |bytes: usize| {
            // The quotes of the text are part of the document.
            let config = "x".repeat(bytes - 2);
            json!({"to": {"queue": "q"}, "plugin": {"name": "p", "version": "1", "config": config}})
        };
        let out = |pointer: &str| vec![(pointer.to_owned(), "out_of_range".to_owned())];
        assert_eq!(places(&destinations(0)), out("/to/destinations"));
        assert_eq!(places(&destinations(limit::DESTINATIONS_MAX)), []);
        assert_eq!(
            places(&destinations(limit::DESTINATIONS_MAX + 1)),
            out("/to/destinations")
        );
        assert_eq!(places(&plugin(limit::PLUGIN_CONFIG_BYTES_MAX)), []);
        assert_eq!(
            places(&plugin(limit::PLUGIN_CONFIG_BYTES_MAX + 1)),
            out("/plugin/config")
        );
    }

    #[test]
    fn problems_of_the_filter_are_the_subscriptions() {
        let config = json!({"to": {"queue": "q"}, "filter": {"keys": ["a", ""]}});
        assert_eq!(
            places(&config),
            [("/filter/keys/1".to_owned(), "invalid_filter".to_owned())]
        );
    }

    #[test]
    fn what_the_contract_does_not_name_is_refused() {
        for bad in [
            json!({}),
            json!({"to": {}}),
            json!({"to": {"push": {"url": "https://example.com"}}}),
            json!({"to": {"queue": "q", "topic": "t"}}),
            json!({"to": {"queue": "a b"}}),
            json!({"to": {"destinations": {"x": {"push": "y"}}}}),
            json!({"to": {"queue": "q"}, "on_failure": "retry"}),
            json!({"to": {"queue": "q"}, "filters": []}),
            json!({"to": {"queue": "q"}, "filter": {"tag": ["a"]}}),
            json!({"to": {"queue": "q"}, "plugin": {"name": "p"}}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
