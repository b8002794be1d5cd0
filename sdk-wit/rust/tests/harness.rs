//! The SDK as an author meets it: a plugin of each world, run by the harness.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use millrace_plugin::testing::{FilterHarness, RouterHarness, TestEvent, TransformHarness};
use millrace_plugin::{
    Description, Event, Failure, Filter, Output, Payload, Problem, Router, Transform, Wishes,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Deserialize)]
struct Limit {
    max: u32,
}

/// Takes data no longer than any of the limits.
struct Short(Config);

impl Filter for Short {
    type Config = Config;
    fn describe() -> Description {
        Description::new("short", "1.0.0", "Lets short data through.")
    }
    fn configure(config: Config, _: &[String]) -> Result<Self, Vec<Problem>> {
        Ok(Self(config))
    }
    fn wishes(&self) -> Wishes {
        Wishes::body()
    }
    fn matches(&self, event: &Event<'_>) -> Result<bool, Failure> {
        let body = event
            .body()
            .ok_or_else(|| Failure::retry("no_data", "later, perhaps"))?;
        Ok(self
            .0
            .limits
            .iter()
            .all(|limit| body.len() <= limit.max as usize))
    }
}

/// Goes where the event's own attribute says.
struct Told;

impl Router for Told {
    type Config = serde_json::Value;
    fn describe() -> Description {
        Description::new("told", "1.0.0", "Goes where the event says.")
            .destination("a", "The first.")
    }
    fn configure(_: serde_json::Value, _: &[String]) -> Result<Self, Vec<Problem>> {
        Ok(Self)
    }
    fn wishes(&self) -> Wishes {
        Wishes::attributes(["to", "id", "to"])
    }
    fn route(&self, event: &Event<'_>) -> Result<Vec<String>, Failure> {
        assert_eq!(event.attribute("to"), event.attribute_at(0));
        Ok(event
            .attribute("to")
            .into_iter()
            .map(str::to_owned)
            .collect())
    }
}

/// Asks for nothing and looks at something.
struct Careless;

impl Transform for Careless {
    type Config = serde_json::Value;
    fn describe() -> Description {
        Description::new("careless", "1.0.0", "Looks at what it did not ask for.")
    }
    fn configure(_: serde_json::Value, _: &[String]) -> Result<Self, Vec<Problem>> {
        Ok(Self)
    }
    fn wishes(&self) -> Wishes {
        Wishes::default()
    }
    fn transform(&self, event: &Event<'_>) -> Result<Vec<Output>, Failure> {
        assert!(
            event.body().is_none(),
            "data that was not asked for is not there"
        );
        assert_eq!(event.accepted_at_ms(), 7);
        if event.attribute("type").is_some() {
            Ok(vec![])
        } else {
            Ok(vec![Output::same().to("nowhere")])
        }
    }
}

#[test]
fn failures_are_of_one_event() {
    let plugin = FilterHarness::<Short>::new(&json!({"limits": [{"max": 3}]})).unwrap();
    let event = |body: &[u8]| TestEvent::new("x").body(body);
    let answers = plugin.matches(&[event(b"abc"), TestEvent::new("x"), event(b"abcd")]);
    assert_eq!(
        answers,
        [
            Ok(true),
            Err(Failure::retry("no_data", "later, perhaps")),
            Ok(false)
        ]
    );
}

#[test]
fn configurations_of_the_wrong_type_are_problems_with_a_place() {
    let problems = |config| FilterHarness::<Short>::new(&config).unwrap_err();
    assert_eq!(
        problems(json!({"limits": [{"max": 1}, {"max": "a"}]}))[0].pointer,
        "/limits/1/max"
    );
    assert_eq!(problems(json!({"limit/s": []}))[0].pointer, "/limit~1s");
    assert_eq!(problems(json!("text"))[0].pointer, "");
}

#[test]
fn undeclared_destinations_fail_as_in_the_broker() {
    let plugin = RouterHarness::<Told>::new(&json!(null), &["a", "b"]).unwrap();
    assert_eq!(
        plugin.wishes().attributes,
        ["to", "id"],
        "each once, in order of mention"
    );
    let to = |name: &str| TestEvent::new("x").attribute("to", name);
    let answers = plugin.route(&[to("a"), TestEvent::new("x"), to("c")]);
    assert_eq!(answers[0], Ok(vec!["a".to_owned()]));
    assert_eq!(answers[1], Ok(vec![]));
    assert!(
        matches!(&answers[2], Err(Failure::Reject(reason)) if reason.code == "unknown_destination")
    );
}

#[test]
#[should_panic(expected = "do not ask for the attribute \"type\"")]
fn reading_an_attribute_that_was_not_asked_for_is_found_in_tests() {
    let plugin = TransformHarness::<Careless>::new(&json!({}), &["default"]).unwrap();
    let _ = plugin.transform(&[TestEvent::new("x").accepted_at_ms(7)]);
}

#[test]
fn outputs_are_built_step_by_step() {
    let output = Output::replaced(b"x".to_vec())
        .to("a")
        .to("b")
        .set("subject", "s")
        .remove("tags")
        .delay_ms(5);
    assert_eq!(output.to, ["a", "b"]);
    assert_eq!(output.payload, Payload::Replaced(b"x".to_vec()));
    assert_eq!(output.attributes[1].value, None);
    assert_eq!(output.delay_ms, Some(5));
}

#[test]
fn destinations_that_are_not_known_yet_are_not_checked() {
    assert_eq!(Problem::unless_declared("/to", "eu", &[]), Ok(()));
    assert!(Problem::unless_declared("/to", "eu", &["us".to_owned()]).is_err());
}
