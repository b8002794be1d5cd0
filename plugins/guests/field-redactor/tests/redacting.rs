//! The redactor as the broker runs it: configured from JSON, in batches.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use field_redactor::FieldRedactor;
use millrace_plugin::testing::{TestEvent, TransformHarness};
use millrace_plugin::{AttributeEdit, Failure, Output, Payload};
use serde_json::{Value, json};

fn redactor(config: &Value) -> TransformHarness<FieldRedactor> {
    TransformHarness::new(config, &["default"]).unwrap()
}

fn outputs(config: &Value, data: &str) -> Result<Vec<Output>, Failure> {
    redactor(config)
        .transform(&[TestEvent::new("x").body(data.as_bytes())])
        .remove(0)
}

/// The data after the rules, as text; `None` when it is the same.
fn redacted(rules: Value, data: &str) -> Option<String> {
    let mut outputs = outputs(&json!({"rules": rules}), data).unwrap();
    assert_eq!(outputs.len(), 1);
    match outputs.remove(0).payload {
        Payload::Same => None,
        Payload::Replaced(bytes) => Some(String::from_utf8(bytes).unwrap()),
    }
}

fn code(result: Result<Vec<Output>, Failure>) -> String {
    match result.unwrap_err() {
        Failure::Reject(reason) => reason.code,
        Failure::Retry(reason) => panic!("must not ask for a retry: {reason:?}"),
    }
}

#[test]
fn masks_a_field_and_keeps_order_and_bytes_of_the_rest() {
    let data = r#"{"z":1.10,"user":{"email":"a@b.c","age":12345678901234567890123,"n":"\u00e9"},"a":[1, 2]}"#;
    assert_eq!(
        redacted(json!([{"action": "mask", "paths": ["/user/email"]}]), data).unwrap(),
        r#"{"z":1.10,"user":{"email":"***","age":12345678901234567890123,"n":"\u00e9"},"a":[1, 2]}"#
    );
}

#[test]
fn the_mask_can_be_any_json() {
    let rules = json!([{"action": "mask", "paths": ["/a"], "with": null}, {"action": "mask", "paths": ["/b"], "with": {"x": 0}}]);
    assert_eq!(
        redacted(rules, r#"{"a":"s","b":[1]}"#).unwrap(),
        r#"{"a":null,"b":{"x":0}}"#
    );
}

#[test]
fn removes_members_and_elements() {
    let rules = json!([{"action": "remove", "paths": ["/a", "/list/1", "/all/*"]}]);
    assert_eq!(
        redacted(rules, r#"{"a":1,"b":2,"list":[0,1,2],"all":{"x":1}}"#).unwrap(),
        r#"{"b":2,"list":[0,2],"all":{}}"#
    );
}

#[test]
fn renames_in_place_and_redacts_below_the_old_name() {
    let rules = json!([
        {"action": "rename", "paths": ["/user"], "to": "person"},
        {"action": "mask", "paths": ["/user/mail"]},
    ]);
    assert_eq!(
        redacted(rules, r#"{"a":0,"user":{"mail":"m","x":1},"b":1}"#).unwrap(),
        r#"{"a":0,"person":{"mail":"***","x":1},"b":1}"#
    );
}

#[test]
fn a_rename_onto_a_name_that_is_taken_fails_the_event() {
    let config = json!({"rules": [{"action": "rename", "paths": ["/a"], "to": "b"}]});
    assert_eq!(code(outputs(&config, r#"{"a":1,"b":2}"#)), "name_taken");
}

#[test]
fn stars_match_one_segment_and_double_stars_any_number() {
    let data =
        r#"{"email":"0","p":{"email":"1"},"q":[{"email":"2"},{"r":{"email":"3","name":"n"}}]}"#;
    assert_eq!(
        redacted(json!([{"action": "mask", "paths": ["/*/email"]}]), data).unwrap(),
        r#"{"email":"0","p":{"email":"***"},"q":[{"email":"2"},{"r":{"email":"3","name":"n"}}]}"#
    );
    assert_eq!(
        redacted(json!([{"action": "mask", "paths": ["/**/email"]}]), data).unwrap(),
        r#"{"email":"***","p":{"email":"***"},"q":[{"email":"***"},{"r":{"email":"***","name":"n"}}]}"#
    );
    assert_eq!(
        redacted(json!([{"action": "remove", "paths": ["/q/**/name"]}]), data).unwrap(),
        r#"{"email":"0","p":{"email":"1"},"q":[{"email":"2"},{"r":{"email":"3"}}]}"#
    );
}

#[test]
fn every_double_of_a_key_is_redacted_and_escaped_keys_are_seen() {
    let rules = json!([{"action": "mask", "paths": ["/email", "/a~1b~0"]}]);
    assert_eq!(
        redacted(rules, r#"{"email":"1","em\u0061il":"2","a\/b~":3}"#).unwrap(),
        r#"{"email":"***","email":"***","a/b~":"***"}"#
    );
}

#[test]
fn the_first_rule_that_masks_or_removes_counts() {
    let rules = json!([{"action": "mask", "paths": ["/**/id"], "with": 0}, {"action": "remove", "paths": ["/a/id"]}]);
    assert_eq!(
        redacted(rules, r#"{"a":{"id":7}}"#).unwrap(),
        r#"{"a":{"id":0}}"#
    );
}

#[test]
fn what_no_rule_touches_is_handed_on_as_it_is() {
    let rules = json!([{"action": "mask", "paths": ["/user/email"]}]);
    for data in [r#"{ "user" : { } }"#, "[]", "7", "\"text\"", "null"] {
        assert_eq!(redacted(rules.clone(), data), None, "{data}");
    }
}

#[test]
fn data_that_is_not_json_fails_unless_told_otherwise() {
    let rules = json!([{"action": "mask", "paths": ["/a"]}]);
    assert_eq!(
        code(outputs(&json!({"rules": rules}), "a=1&b=2")),
        "not_json"
    );
    assert_eq!(
        outputs(&json!({"rules": rules, "not_json": "pass"}), "a=1&b=2"),
        Ok(vec![Output::same()])
    );
}

#[test]
fn an_event_without_data_has_nothing_to_redact() {
    let config = json!({"rules": [{"action": "mask", "paths": ["/a"]}]});
    assert_eq!(
        redactor(&config).transform(&[TestEvent::new("x")]),
        [Ok(vec![Output::same()])]
    );
}

#[test]
fn nesting_without_end_fails_the_event_and_not_the_plugin() {
    let config = json!({"rules": [{"action": "mask", "paths": ["/**/a"]}]});
    assert_eq!(
        code(outputs(
            &config,
            &("[".repeat(100_000) + &"]".repeat(100_000))
        )),
        "too_deep"
    );
}

#[test]
fn removes_attributes_that_are_there() {
    let config = json!({"remove_attributes": ["subject", "clientip"]});
    let outputs = redactor(&config)
        .transform(&[TestEvent::new("x").attribute("clientip", "1.2.3.4")])
        .remove(0)
        .unwrap();
    assert_eq!(
        outputs[0].attributes,
        [AttributeEdit {
            name: "clientip".into(),
            value: None
        }]
    );
    assert_eq!(outputs[0].payload, Payload::Same);
    assert!(
        !redactor(&config).wishes().body,
        "no rule looks into the data"
    );
}

#[test]
fn bad_configurations_have_their_places() {
    let config = json!({
        "rules": [
            {"action": "mask", "paths": ["/ok", "no-slash"]},
            {"action": "rename", "paths": ["/a/*"], "to": "b"},
            {"action": "remove", "paths": ["/a/**"]},
        ],
        "remove_attributes": ["subject", "id"],
    });
    let found = TransformHarness::<FieldRedactor>::new(&config, &["default"]).unwrap_err();
    let pointers: Vec<&str> = found
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        [
            "/remove_attributes/1",
            "/rules/0/paths/1",
            "/rules/1/paths/0",
            "/rules/2/paths/0"
        ]
    );
}

#[test]
fn the_schema_is_json() {
    use millrace_plugin::Transform as _;
    let schema: Value = serde_json::from_str(&FieldRedactor::describe().config_schema).unwrap();
    assert_eq!(schema["type"], "object");
}
