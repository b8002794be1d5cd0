//! Filters as subscribers write them, on events as producers send them. The cases are in `cases/`, one a line.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{Attribute, Data};

fn event(attributes: Value) -> Event {
    let mut event =
        json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.new"});
    let members = event.as_object_mut().unwrap();
    members.extend(attributes.as_object().unwrap().clone());
    Event::from_json(event.to_string().into()).unwrap()
}

fn compile(filter: &Value) -> Result<Filter, Vec<Problem>> {
    Filter::compile(&serde_json::from_value(filter.clone()).unwrap())
}

fn takes(filter: &Value, event: &Event) -> bool {
    let filter = compile(filter).unwrap_or_else(|problems| panic!("{filter}: {problems:?}"));
    filter.takes(event, || event.json_data())
}

/// The lines of a file of cases, without comments, cut into `N` columns.
fn cases<const N: usize>(file: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = file
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let columns: Vec<&str> = line.splitn(N, " | ").map(str::trim).collect();
        columns
            .try_into()
            .unwrap_or_else(|_| panic!("{N} columns expected: {line}"))
    })
}

#[test]
fn takes_what_the_cases_say() {
    for [expected, filter, members] in cases(include_str!("cases/takes.txt")) {
        let (filter, members) = (
            serde_json::from_str(filter).unwrap(),
            serde_json::from_str(members).unwrap(),
        );
        assert!(
            ["yes", "no"].contains(&expected),
            "{expected:?} is neither yes nor no"
        );
        assert_eq!(
            takes(&filter, &event(members)),
            expected == "yes",
            "{filter}"
        );
    }
}

#[test]
fn refuses_with_the_place_of_the_problem() {
    for [pointer, filter] in cases(include_str!("cases/refused.txt")) {
        let problems = compile(&serde_json::from_str(filter).unwrap()).unwrap_err();
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (&*problem.pointer, &*problem.code))
            .collect();
        assert_eq!(found, [(pointer, "invalid_filter")], "{filter}");
    }
}

#[test]
fn limits_are_kept() {
    let long = "x".repeat(limit::FILTER_TERM_BYTES_MAX);
    let longer = format!("{long}x");
    let most = vec!["x"; limit::FILTER_TERMS_MAX];
    let more = vec!["x"; limit::FILTER_TERMS_MAX + 1];
    let deep = (0..limit::FILTER_DEPTH_MAX).fold(json!([1]), |inner, _| json!({ "a": inner }));
    for fine in [
        json!({ "tags": [long] }),
        json!({ "keys": most }),
        json!({ "match": { "a": most } }),
        json!({ "match": deep, "scope": "data" }),
    ] {
        assert!(compile(&fine).is_ok(), "{fine}");
    }
    let deepest = format!("/filter/match{}", "/a".repeat(limit::FILTER_DEPTH_MAX));
    for (filter, pointer, code) in [
        (
            json!({ "tags": [longer] }),
            "/filter/tags/0",
            "invalid_filter",
        ),
        (
            json!({ "keys": [longer] }),
            "/filter/keys/0",
            "invalid_filter",
        ),
        (json!({ "tags": [] }), "/filter/tags", "out_of_range"),
        (json!({ "keys": more }), "/filter/keys", "out_of_range"),
        (
            json!({ "match": { "a": more } }),
            "/filter/match",
            "out_of_range",
        ),
        (
            json!({ "match": { "a": [{ "anything-but": more }] } }),
            "/filter/match",
            "out_of_range",
        ),
        (
            json!({ "match": { "a": deep }, "scope": "data" }),
            deepest.as_str(),
            "out_of_range",
        ),
    ] {
        let problems = compile(&filter).unwrap_err();
        assert_eq!((&*problems[0].pointer, &*problems[0].code), (pointer, code));
    }
}

#[test]
fn unknown_fields_and_scopes_are_refused() {
    for bad in [
        json!({"tags": ["a"], "tag": 1}),
        json!({"match": {"a": [1]}, "scope": "body"}),
    ] {
        assert!(serde_json::from_value::<FilterConfig>(bad).is_err());
    }
}

#[test]
fn data_is_asked_for_only_when_needed() {
    let filter = compile(&json!({"tags": ["a"]})).unwrap();
    assert!(!filter.needs_data());
    assert!(!filter.takes(&event(json!({})), || panic!("tags do not need the data")));
    assert!(
        compile(&json!({"match": {"a": [1]}, "scope": "data"}))
            .unwrap()
            .needs_data()
    );
    assert!(
        !compile(&json!({"match": {"a": [1]}, "scope": "attributes"}))
            .unwrap()
            .needs_data()
    );
}

#[test]
fn problems_are_limited_in_number() {
    let policy = Value::Object(
        (0..1_000)
            .map(|at| (format!("a{at}"), json!("x")))
            .collect(),
    );
    assert_eq!(
        compile(&json!({ "match": policy })).unwrap_err().len(),
        limit::PROBLEMS_MAX
    );
}

#[test]
fn a_key_longer_than_amqp_allows_matches_nothing() {
    let long = "x".repeat(limit::FILTER_TERM_BYTES_MAX + 1);
    let extensions = vec![("routingkey".to_owned(), Attribute::Text(long))];
    let event = Event {
        extensions,
        ..Event::default()
    };
    assert!(!takes(&json!({"keys": ["#"]}), &event));
    assert!(
        event
            .problems()
            .iter()
            .any(|problem| problem.pointer == "/routingkey")
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = proptest::sample::select(vec![
        "a",
        "type",
        "$or",
        "prefix",
        "numeric",
        "anything-but",
        "exists",
        "cidr",
        "equals-ignore-case",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(vec!["", "=", "<", "a", "::/0", "1.2.3.4/5"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((names.clone(), inner), 0..4).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_policy_and_no_data_make_it_panic(policy in any_json(), body in any_json(), scope: bool) {
        let scope = if scope { Scope::Data } else { Scope::Attributes };
        let config = FilterConfig { policy: Some(policy), scope: Some(scope), ..FilterConfig::default() };
        let event = Event { data: Data::Json(body.to_string().into()), ..event(json!({})) };
        match Filter::compile(&config) {
            Ok(filter) => { filter.takes(&event, || Some(body)); }
            Err(problems) => prop_assert!((1..=limit::PROBLEMS_MAX).contains(&problems.len())),
        }
    }

    #[test]
    fn every_value_of_data_matches_itself_and_not_anything_but_itself(text in ".{0,9}", number: i64, real: f64) {
        for value in [json!(text), json!(number), json!(real)] {
            prop_assume!(!value.is_null());
            let event = event(json!({"data": {"v": value}}));
            let exact = json!({"match": {"v": [value]}, "scope": "data"});
            let other = json!({"match": {"v": [{"anything-but": value}]}, "scope": "data"});
            prop_assert!(takes(&exact, &event) && !takes(&other, &event));
        }
    }
}

/// `cargo test --release -p millrace-model --lib -- --ignored --nocapture speed`
#[test]
#[ignore = "a figure for people, not a check"]
fn speed_of_asking_filters() {
    let body: Vec<_> = (0..30)
        .map(|at| json!({"sku": format!("item-{at}"), "n": at}))
        .collect();
    let event =
        event(json!({"tags": "a, b", "routingkey": "order.new.eu", "data": {"items": body}}));
    let data = event.json_data();
    for filter in [
        json!({"tags": ["b", "c"]}),
        json!({"keys": ["audit.#", "order.*.eu"]}),
        json!({"match": {"type": [{"prefix": "order."}], "source": ["/shop"]}}),
        json!({"match": {"items": {"sku": ["item-29"]}}, "scope": "data"}),
    ] {
        let compiled = compile(&filter).unwrap();
        let rounds = 1_000_000;
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(
                compiled.takes_parsed(std::hint::black_box(&event), data.as_ref()),
            );
        }
        println!("{} ns: {filter}", start.elapsed().as_nanos() / rounds);
    }
}
