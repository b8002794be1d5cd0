//! [`FieldRedactor`]: the plugin.

use millrace_plugin::{Description, Event, Failure, Output, Problem, Transform, Wishes};
use serde_json::value::RawValue;

use crate::config::{Config, NotJson, RuleConfig};
use crate::pattern::Pattern;
use crate::rewrite::{Action, Rules, rewrite};

/// Attributes that every CloudEvent must have.
const REQUIRED: [&str; 4] = ["id", "source", "type", "specversion"];

/// Redacts fields of JSON data.
#[derive(Debug)]
pub struct FieldRedactor {
    rules: Rules,
    remove_attributes: Vec<String>,
    not_json: NotJson,
}

impl Transform for FieldRedactor {
    type Config = Config;

    fn describe() -> Description {
        let summary = "Masks, removes and renames fields of JSON data, and removes attributes.";
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), summary)
            .config_schema(include_str!("../config.schema.json"))
    }

    fn configure(config: Config, _destinations: &[String]) -> Result<Self, Vec<Problem>> {
        let mut problems = required_attributes(&config.remove_attributes);
        let mut rules = Rules::default();
        for (at, rule) in config.rules.iter().enumerate() {
            match patterns(at, rule) {
                Ok(patterns) => {
                    rules
                        .actions
                        .extend(std::iter::repeat_n(action(rule), patterns.len()));
                    rules.patterns.extend(patterns);
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            rules,
            remove_attributes: config.remove_attributes,
            not_json: config.not_json,
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes::attributes(self.remove_attributes.iter().cloned())
            .with_body(!self.rules.patterns.is_empty())
    }

    fn transform(&self, event: &Event<'_>) -> Result<Vec<Output>, Failure> {
        let output = match self.redacted(event.body())? {
            Some(data) => Output::replaced(data),
            None => Output::same(),
        };
        let present = self
            .remove_attributes
            .iter()
            .filter(|name| event.attribute(name).is_some());
        Ok(vec![
            present.fold(output, |output, name| output.remove(name)),
        ])
    }
}

impl FieldRedactor {
    /// The data with the rules applied; `None` when it stays as it is.
    fn redacted(&self, body: Option<&[u8]>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(body) = body else { return Ok(None) };
        match (serde_json::from_slice::<&RawValue>(body), self.not_json) {
            (Ok(text), _) => rewrite(&self.rules, text),
            (Err(_), NotJson::Pass) => Ok(None),
            (Err(error), NotJson::Reject) => Err(Failure::reject(
                "not_json",
                &format!("the data is not JSON: {error}"),
            )),
        }
    }
}

fn action(rule: &RuleConfig) -> Action {
    match rule {
        RuleConfig::Mask { with, .. } => Action::Mask(with.to_string()),
        RuleConfig::Remove { .. } => Action::Remove,
        RuleConfig::Rename { to, .. } => Action::Rename(to.clone()),
    }
}

fn patterns(at: usize, rule: &RuleConfig) -> Result<Vec<Pattern>, Vec<Problem>> {
    let (patterns, problems): (Vec<_>, Vec<_>) = rule
        .paths()
        .iter()
        .enumerate()
        .map(|(path_at, path)| pattern(at, path_at, path, rule))
        .partition(Result::is_ok);
    let problems: Vec<Problem> = problems.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() {
        Ok(patterns.into_iter().filter_map(Result::ok).collect())
    } else {
        Err(problems)
    }
}

fn pattern(at: usize, path_at: usize, path: &str, rule: &RuleConfig) -> Result<Pattern, Problem> {
    let problem = |message| Problem::new(format!("/rules/{at}/paths/{path_at}"), message);
    let pattern = Pattern::parse(path).map_err(problem)?;
    if matches!(rule, RuleConfig::Rename { .. }) && !pattern.ends_with_a_key() {
        return Err(problem(
            "a path to rename ends with a key, not with a wildcard",
        ));
    }
    Ok(pattern)
}

fn required_attributes(names: &[String]) -> Vec<Problem> {
    let required = names
        .iter()
        .enumerate()
        .filter(|(_, name)| REQUIRED.contains(&name.as_str()));
    let problem = |(at, name)| {
        Problem::new(
            format!("/remove_attributes/{at}"),
            format!("{name} cannot be removed"),
        )
    };
    required.map(problem).collect()
}
