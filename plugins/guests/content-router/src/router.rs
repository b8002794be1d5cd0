//! [`ContentRouter`]: the plugin.

use millrace_plugin::{Description, Event, Failure, Problem, Router, Wishes};
use serde_json::Value;

use crate::condition::Condition;
use crate::config::{Config, Mode, RuleConfig};
use crate::rule::Rule;

/// Routes by rules.
#[derive(Debug)]
pub struct ContentRouter {
    rules: Vec<Rule>,
    mode: Mode,
    default: Vec<String>,
    attributes: Vec<String>,
    reads_data: bool,
}

impl Router for ContentRouter {
    type Config = Config;

    fn describe() -> Description {
        let summary = "Sends each event where rules on its attributes and its JSON data say.";
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), summary)
            .config_schema(include_str!("../config.schema.json"))
    }

    fn configure(config: Config, destinations: &[String]) -> Result<Self, Vec<Problem>> {
        let problems = problems(&config, destinations);
        if !problems.is_empty() {
            return Err(problems);
        }
        let attributes = Wishes::attributes(
            config
                .rules
                .iter()
                .flat_map(|rule| rule.attributes.keys().cloned()),
        )
        .attributes;
        let rules: Vec<Rule> = config
            .rules
            .into_iter()
            .map(|rule| Rule::new(rule, &attributes))
            .collect();
        let reads_data = rules.iter().any(Rule::reads_data);
        Ok(Self {
            rules,
            mode: config.mode,
            default: config.default,
            attributes,
            reads_data,
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes {
            attributes: self.attributes.clone(),
            body: self.reads_data,
        }
    }

    fn route(&self, event: &Event<'_>) -> Result<Vec<String>, Failure> {
        // Data that is not JSON has no fields: conditions on fields see them as absent.
        let data: Option<Value> = event
            .body()
            .and_then(|body| serde_json::from_slice(body).ok());
        let mut matching = self
            .rules
            .iter()
            .filter(|rule| rule.matches(event, data.as_ref()))
            .map(Rule::to);
        Ok(match self.mode {
            Mode::First => matching.next().unwrap_or(&self.default).to_vec(),
            Mode::All => self.union(matching),
        })
    }
}

impl ContentRouter {
    /// Destinations of all matching rules, each once; the default when no rule matches.
    fn union<'a>(&'a self, matching: impl Iterator<Item = &'a [String]>) -> Vec<String> {
        let mut matched = false;
        let mut union: Vec<String> = Vec::new();
        for name in matching.inspect(|_| matched = true).flatten() {
            if !union.contains(name) {
                union.push(name.clone());
            }
        }
        if matched { union } else { self.default.clone() }
    }
}

fn problems(config: &Config, destinations: &[String]) -> Vec<Problem> {
    let mut problems = undeclared("/default", &config.default, destinations);
    for (at, rule) in config.rules.iter().enumerate() {
        problems.extend(undeclared(
            &format!("/rules/{at}/to"),
            &rule.to,
            destinations,
        ));
        problems.extend(bad_conditions(at, rule));
    }
    problems
}

fn undeclared(pointer: &str, names: &[String], destinations: &[String]) -> Vec<Problem> {
    let check = |(at, name): (usize, &String)| {
        Problem::unless_declared(&format!("{pointer}/{at}"), name, destinations)
    };
    names
        .iter()
        .enumerate()
        .map(check)
        .filter_map(Result::err)
        .flatten()
        .collect()
}

fn bad_conditions(at: usize, rule: &RuleConfig) -> Vec<Problem> {
    let place = |part: &str, (name, condition): (&String, &Condition)| {
        let name = name.replace('~', "~0").replace('/', "~1");
        condition
            .problem()
            .map(|message| Problem::new(format!("/rules/{at}/{part}/{name}"), message))
    };
    let attributes = rule
        .attributes
        .iter()
        .filter_map(|one| place("attributes", one));
    attributes
        .chain(rule.data.iter().filter_map(|one| place("data", one)))
        .collect()
}
