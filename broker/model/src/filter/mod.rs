//! Filters: which events a subscription takes, told from attributes and data alone.

mod condition;
mod keys;
mod number;
mod policy;
mod tags;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::event::Event;
use crate::filter::keys::Keys;
use crate::filter::policy::Policy;
use crate::filter::tags::Tags;
use crate::limit;
use crate::problem::{self, Problem};

/// A filter as a subscription is configured with it: exactly one of `tags`, `keys` and `match`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// Any in common with the event's `tags`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 256)]
    pub tags: Option<Vec<String>>,
    /// AMQP topic patterns for the event's `routingkey`: `*` is one word, `#` none or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 256)]
    pub keys: Option<Vec<String>>,
    /// An SNS filter policy.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub policy: Option<Value>,
    /// What `match` looks at; `attributes` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// What a `match` filter looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The event's attributes.
    #[default]
    Attributes,
    /// The event's data, when it is JSON.
    Data,
}

impl FilterConfig {
    /// What is wrong with the filter; pointers are into the subscription (`/filter/...`).
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        Filter::compile(self).err().unwrap_or_default()
    }
}

/// A compiled filter. Cheap to ask: the work for one event is bounded by the sizes of the filter and of
/// the event, and tags, keys and text attributes are compared in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Tags(Tags),
    Keys(Keys),
    Attributes(Policy),
    Data(Policy),
}

impl Filter {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// What is wrong, with pointers into the subscription (`/filter/...`). Codes: `invalid_filter`, and
    /// `out_of_range` where a limit is passed.
    pub fn compile(config: &FilterConfig) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if config.scope.is_some() && config.policy.is_none() {
            let detail = "scope belongs to match: leave it out";
            problems.push(invalid("/filter/scope", detail));
        }
        let rule = compile_rule(config, &mut problems);
        match rule {
            Some(rule) if problems.is_empty() => Ok(Self { rule }),
            _ => Err(problems),
        }
    }

    /// Whether the filter looks at the event's data.
    #[must_use]
    pub fn needs_data(&self) -> bool {
        matches!(self.rule, Rule::Data(_))
    }

    /// Whether the filter takes the event. `data` is the parsed data ([`Event::json_data`]), asked for
    /// only by a filter that needs it; a filter on data takes no event whose data is not a JSON object.
    pub fn takes(&self, event: &Event, data: impl FnOnce() -> Option<Value>) -> bool {
        let data = if self.needs_data() { data() } else { None };
        self.takes_parsed(event, data.as_ref())
    }

    /// As [`Filter::takes`], with data that was parsed before: for many filters on one event.
    #[must_use]
    pub fn takes_parsed(&self, event: &Event, data: Option<&Value>) -> bool {
        match &self.rule {
            Rule::Tags(tags) => tags.take(event),
            Rule::Keys(keys) => keys.take(event),
            Rule::Attributes(policy) => policy.takes_attributes(event),
            Rule::Data(policy) => data.is_some_and(|data| policy.takes_data(data)),
        }
    }
}

/// The one rule of the configuration; none when there is a problem with it.
fn compile_rule(config: &FilterConfig, problems: &mut Vec<Problem>) -> Option<Rule> {
    match (&config.tags, &config.keys, &config.policy) {
        (Some(tags), None, None) => Some(Rule::Tags(Tags::compile(tags, problems))),
        (None, Some(keys), None) => Some(Rule::Keys(Keys::compile(keys, problems))),
        (None, None, Some(policy)) => {
            let scope = config.scope.unwrap_or_default();
            let policy = Policy::compile(policy, scope, problems);
            Some(match scope {
                Scope::Attributes => Rule::Attributes(policy),
                Scope::Data => Rule::Data(policy),
            })
        }
        _ => {
            let detail = "must have exactly one of tags, keys and match; \
                          without a filter a subscription takes every event";
            problems.push(invalid("/filter", detail));
            None
        }
    }
}

/// Reports what is wrong with each of `terms`, which stand at `pointer`.
fn check_terms(
    terms: &[String],
    pointer: &str,
    check: fn(&str) -> Result<(), String>,
    problems: &mut Vec<Problem>,
) {
    let most = limit::FILTER_TERMS_MAX;
    if !(1..=most).contains(&terms.len()) {
        let detail = format!("must have 1 to {most} items, got {}", terms.len());
        problems.push(Problem::new(pointer, "out_of_range", detail));
        return;
    }
    for (index, term) in terms.iter().enumerate() {
        if let Err(detail) = check_length(term).and_then(|()| check(term)) {
            report(
                problems,
                invalid(problem::child(pointer, &index.to_string()), detail),
            );
        }
    }
}

fn check_length(term: &str) -> Result<(), String> {
    let most = limit::FILTER_TERM_BYTES_MAX;
    if (1..=most).contains(&term.len()) {
        return Ok(());
    }
    Err(format!("must be 1 to {most} bytes, got {}", term.len()))
}

fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(pointer, "invalid_filter", detail)
}

fn report(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.len() < limit::PROBLEMS_MAX {
        problems.push(problem);
    }
}
