//! The router as the broker runs it: configured from JSON, in batches.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use content_router::ContentRouter;
use millrace_plugin::Problem;
use millrace_plugin::testing::{RouterHarness, TestEvent};
use serde_json::{Value, json};

fn router(config: &Value) -> RouterHarness<ContentRouter> {
    RouterHarness::new(config, &["eu", "us", "audit", "rest"]).unwrap()
}

fn route(config: &Value, event: TestEvent) -> Vec<String> {
    router(config).route(&[event]).remove(0).unwrap()
}

#[test]
fn the_first_rule_that_matches_decides() {
    let config = json!({
        "rules": [
            {"attributes": {"type": "order.created", "region": ["de", "fr"]}, "to": ["eu", "audit"]},
            {"attributes": {"type": {"prefix": "order."}}, "to": ["us"]},
        ],
        "default": ["rest"],
    });
    let order = |region| TestEvent::new("order.created").attribute("region", region);
    let answers = router(&config).route(&[
        order("fr"),
        order("us"),
        TestEvent::new("order.paid"),
        TestEvent::new("invoice"),
    ]);
    let answers: Vec<Vec<String>> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        answers,
        [vec!["eu", "audit"], vec!["us"], vec!["us"], vec!["rest"]]
    );
}

#[test]
fn mode_all_joins_the_destinations_of_every_matching_rule() {
    let config = json!({
        "mode": "all",
        "rules": [
            {"attributes": {"type": "a"}, "to": ["eu", "audit"]},
            {"to": ["audit", "us"]},
        ],
        "default": ["rest"],
    });
    assert_eq!(route(&config, TestEvent::new("a")), ["eu", "audit", "us"]);
    assert_eq!(route(&config, TestEvent::new("b")), ["audit", "us"]);
}

#[test]
fn without_a_match_and_a_default_the_event_is_dropped() {
    let config = json!({"rules": [{"attributes": {"type": "a"}, "to": ["eu"]}]});
    assert!(route(&config, TestEvent::new("b")).is_empty());
}

#[test]
fn a_matching_rule_without_destinations_drops_in_spite_of_the_default() {
    for mode in ["first", "all"] {
        let config = json!({"mode": mode, "rules": [{"attributes": {"type": "noise"}, "to": []}], "default": ["rest"]});
        assert!(route(&config, TestEvent::new("noise")).is_empty());
    }
}

#[test]
fn the_body_is_asked_for_only_when_a_rule_reads_data() {
    let attributes = json!({"rules": [{"attributes": {"type": "a", "subject": "s"}, "to": []}, {"attributes": {"type": "b"}, "to": []}]});
    assert_eq!(router(&attributes).wishes().attributes, ["subject", "type"]);
    assert!(!router(&attributes).wishes().body);
    assert!(
        router(&json!({"rules": [{"data": {"/action": "opened"}, "to": []}]}))
            .wishes()
            .body
    );
}

#[test]
fn rules_look_into_the_data_by_json_pointer() {
    let config = json!({"rules": [
        {"data": {"/action": ["opened", "reopened"], "/repository/private": false}, "to": ["eu"]},
        {"data": {"/items/0/price": {"min": 10}, "/a~1b": {"exists": true}}, "to": ["us"]},
    ]});
    let event = |data: Value| TestEvent::new("x").json(&data);
    assert_eq!(
        route(
            &config,
            event(json!({"action": "opened", "repository": {"private": false}}))
        ),
        ["eu"]
    );
    assert!(
        route(
            &config,
            event(json!({"action": "opened", "repository": {"private": true}}))
        )
        .is_empty()
    );
    assert_eq!(
        route(
            &config,
            event(json!({"items": [{"price": 10.5}], "a/b": null}))
        ),
        ["us"]
    );
    assert!(route(&config, event(json!({"items": [{"price": 9}], "a/b": 1}))).is_empty());
}

#[test]
fn data_that_is_not_json_has_no_fields() {
    let config = json!({"rules": [
        {"data": {"/action": "opened"}, "to": ["eu"]},
        {"data": {"/action": {"exists": false}}, "to": ["rest"]},
    ]});
    assert_eq!(
        route(&config, TestEvent::new("x").body(b"\xff\x00 not json")),
        ["rest"]
    );
    assert_eq!(route(&config, TestEvent::new("x")), ["rest"]);
}

#[test]
fn every_test_holds_and_fails_where_it_should() {
    let cases = [
        (json!({"prefix": "ab"}), vec!["ab", "abc"], vec!["a", "xab"]),
        (json!({"suffix": "yz"}), vec!["yz", "xyz"], vec!["yzx"]),
        (json!({"contains": "-"}), vec!["a-b"], vec!["ab"]),
        (json!({"exists": true}), vec![""], vec![]),
        (json!({"not": ["a", "b"]}), vec!["c", ""], vec!["a", "b"]),
        (json!({"min": 5}), vec!["5", "7.5"], vec!["4.9", "five"]),
        (json!({"max": 5}), vec!["5", "-1"], vec!["5.1", ""]),
        (json!(7), vec!["7"], vec!["7.0", "8"]),
        (json!(true), vec!["true"], vec!["1"]),
        (json!(null), vec![], vec!["", "null"]),
    ];
    for (condition, pass, fail) in cases {
        let config = json!({"rules": [{"attributes": {"subject": condition}, "to": ["eu"]}]});
        let subject = |value: &str| TestEvent::new("x").attribute("subject", value);
        for value in pass {
            assert_eq!(
                route(&config, subject(value)),
                ["eu"],
                "{config} must hold for {value:?}"
            );
        }
        for value in fail {
            assert!(
                route(&config, subject(value)).is_empty(),
                "{config} must not hold for {value:?}"
            );
        }
    }
}

#[test]
fn an_absent_attribute_passes_not_and_exists_false_alone() {
    for (condition, passes) in [
        (json!({"not": ["a"]}), true),
        (json!({"exists": false}), true),
        (json!({"exists": true}), false),
        (json!({"prefix": ""}), false),
        (json!(null), false),
    ] {
        let config = json!({"rules": [{"attributes": {"subject": condition}, "to": ["eu"]}]});
        assert_eq!(
            !route(&config, TestEvent::new("x")).is_empty(),
            passes,
            "{config}"
        );
    }
}

fn problems(config: &Value) -> Vec<Problem> {
    RouterHarness::<ContentRouter>::new(config, &["eu"]).unwrap_err()
}

#[test]
fn undeclared_destinations_are_found_when_the_plugin_is_bound() {
    let found = problems(&json!({"rules": [{"to": ["eu", "uk"]}], "default": ["nowhere"]}));
    let pointers: Vec<&str> = found
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    assert_eq!(pointers, ["/default/0", "/rules/0/to/1"]);
    assert!(
        found[1].message.contains("\"uk\"") && found[1].message.contains("eu"),
        "{}",
        found[1].message
    );
}

#[test]
fn type_errors_have_their_place() {
    assert_eq!(
        problems(&json!({"rules": [{"to": "eu"}]}))[0].pointer,
        "/rules/0/to"
    );
    assert_eq!(
        problems(&json!({"rules": [], "mood": 1}))[0].pointer,
        "/mood"
    );
    assert_eq!(
        problems(&json!({"rules": [{"data": {"/a": {"prefx": "x"}}, "to": []}]}))[0].pointer,
        "/rules/0/data/~1a"
    );
}

#[test]
fn the_schema_is_json() {
    use millrace_plugin::Router as _;
    let schema: Value = serde_json::from_str(&ContentRouter::describe().config_schema).unwrap();
    assert_eq!(schema["required"], json!(["rules"]));
}
