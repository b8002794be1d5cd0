//! What events are read from, what is wrong with others, and what they are stored as.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<Event, Vec<crate::Problem>> {
    Event::from_json(Bytes::copy_from_slice(text.as_bytes()))
}

/// A complete event with `extra` members; a null in `extra` takes the member away.
fn with(extra: Value) -> String {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    let members = event.as_object_mut().unwrap();
    for (name, value) in extra.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    event.to_string()
}

#[test]
fn every_attribute_is_read() {
    let text = with(json!({
        "subject": "s ü", "time": "2018-04-05T17:31:00Z", "datacontenttype": "application/json",
        "dataschema": "https://example.com/x", "tags": "a,b", "count": -7, "flag": true, "data": {"a": [1]}
    }));
    let event = read(&text).unwrap();
    let names = [
        "id",
        "source",
        "type",
        "specversion",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "tags",
        "count",
        "flag",
    ];
    let values: Vec<_> = names
        .iter()
        .map(|name| event.attribute(name).unwrap())
        .collect();
    let expected = [
        "1",
        "/s",
        "t",
        "1.0",
        "s ü",
        "2018-04-05T17:31:00Z",
        "application/json",
        "https://example.com/x",
        "a,b",
        "-7",
        "true",
    ];
    assert_eq!(values, expected);
    assert_eq!(event.extension("count"), Some(&Attribute::Integer(-7)));
    assert_eq!(event.attribute("nothing"), None);
    assert_eq!(event.json_data(), Some(json!({"a": [1]})));
}

#[test]
fn data_is_json_text_or_bytes() {
    let cases = [
        (json!({}), Data::None),
        (json!({"data": {"b": 1}}), Data::Json("{\"b\":1}".into())),
        (json!({"data": "x"}), Data::Json("\"x\"".into())),
        (
            json!({"data": "x", "datacontenttype": "a/b+json"}),
            Data::Json("\"x\"".into()),
        ),
        (
            json!({"data": "x", "datacontenttype": "text/plain"}),
            Data::Text("x".into()),
        ),
        (
            json!({"data": "a\nü", "datacontenttype": "text/plain"}),
            Data::Text("a\nü".into()),
        ),
        (
            json!({"data": "", "datacontenttype": "text/plain"}),
            Data::Text("".into()),
        ),
        (
            json!({"data": 5, "datacontenttype": "text/plain"}),
            Data::Json("5".into()),
        ),
        (
            json!({"data_base64": "/w=="}),
            Data::Binary(vec![255].into()),
        ),
    ];
    for (extra, expected) in cases {
        let event = read(&with(extra.clone())).unwrap();
        assert_eq!(
            format!("{:?}", event.data),
            format!("{expected:?}"),
            "{extra}"
        );
    }
}

#[test]
fn a_null_is_as_good_as_nothing() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":null,"ext":null,
        "data":null,"data_base64":"AA=="}"#;
    let event = read(text).unwrap();
    assert_eq!((event.subject, event.extensions.len()), (None, 0));
    assert!(matches!(event.data, Data::Binary(bytes) if bytes == [0][..]));
    let event = read(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":null,"data_base64":null}"#,
    );
    assert!(matches!(event.unwrap().data, Data::Json(bytes) if bytes == "null"));
}

#[test]
fn problems_are_named_with_their_place() {
    let lines = include_str!("cases/refused.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (expected, text) = line.split_once(" | ").unwrap();
        let problems = read(text).unwrap_err();
        let found = problems
            .iter()
            .map(|problem| format!("{:?} {}", problem.pointer, problem.code));
        assert_eq!(found.collect::<Vec<_>>(), [expected], "{text}");
    }
    assert_eq!(read("").unwrap_err()[0].code, "malformed_json");
}

#[test]
fn several_problems_are_told_at_once() {
    let problems = read(r#"{"id":"","time":"x","E":1}"#).unwrap_err();
    let mut pointers: Vec<_> = problems.iter().map(|problem| &*problem.pointer).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["/E", "/id", "/source", "/specversion", "/time", "/type"]
    );
}

#[test]
fn attributes_are_limited_in_size() {
    let longest = "x".repeat(crate::limit::ATTRIBUTE_BYTES_MAX);
    for name in ["id", "subject", "ext"] {
        assert!(read(&with(json!({ name: longest }))).is_ok());
        let problems = read(&with(json!({ name: format!("{longest}x") }))).unwrap_err();
        assert_eq!(
            (&*problems[0].code, problems.len()),
            ("attribute_too_large", 1)
        );
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_malformed() {
    let problems = Event::from_json(Bytes::from_static(b"{\"id\":\"\xff\"}")).unwrap_err();
    assert_eq!(problems[0].code, "malformed_json");
}

#[test]
fn extensions_are_limited_in_number_and_name() {
    let most = crate::limit::EXTENSIONS_MAX;
    let many = |count: usize| {
        Value::Object(
            (0..count)
                .map(|at| (format!("e{at}"), json!("x")))
                .collect(),
        )
    };
    assert_eq!(read(&with(many(most))).unwrap().extensions.len(), most);
    assert_eq!(
        read(&with(many(most + 1))).unwrap_err()[0].code,
        "too_many_attributes"
    );
    let longest = "e".repeat(crate::limit::EXTENSION_NAME_BYTES_MAX);
    assert!(read(&with(json!({ longest.clone(): "x" }))).is_ok());
    assert!(read(&with(json!({ format!("{longest}e"): "x" }))).is_err());
}

#[test]
fn problems_are_limited_in_number() {
    let bad = (0..10_000).map(|at| (format!("E{at}"), json!([])));
    assert_eq!(
        read(&with(Value::Object(bad.collect()))).unwrap_err().len(),
        32
    );
}

#[test]
fn an_event_is_stored_as_it_came() {
    let text = "\n{ \"type\": \"t\", \"id\":\"\\u0031\", \"source\":\"/s\",\"specversion\":\"1.0\", \"data\" : {\"a\" : 1.0e0 } }\n";
    let event = read(text).unwrap();
    assert_eq!(event.id, "1");
    assert_eq!(event.stored(), text.trim());
    assert!(matches!(event.data, Data::Json(bytes) if bytes == "{\"a\" : 1.0e0 }"));
}

#[test]
fn an_event_without_text_is_stored_member_by_member() {
    let event = Event {
        id: "1".into(),
        source: "/s".into(),
        kind: "t".into(),
        subject: Some("a \"b\"".into()),
        content_type: Some("application/json".into()),
        extensions: vec![
            ("n".into(), Attribute::Integer(3)),
            ("f".into(), Attribute::Boolean(false)),
        ],
        data: Data::Json("{\"x\": 1.50}".into()),
        ..Event::default()
    };
    let expected = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a \"b\"","datacontenttype":"application/json","n":3,"f":false,"data":{"x": 1.50}}"#;
    assert_eq!(event.stored(), expected);
    assert!(event.problems().is_empty());
}

#[test]
fn an_extension_cannot_take_an_attributes_name() {
    for name in ["id", "data", "specversion", "data_base64", "Tags", ""] {
        let extensions = vec![(name.to_owned(), Attribute::Boolean(true))];
        let event = Event {
            extensions,
            ..read(&with(json!({}))).unwrap()
        };
        assert_eq!(event.problems().len(), 1, "{name:?}");
    }
}

fn an_attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<bool>().prop_map(Attribute::Boolean),
        any::<i32>().prop_map(Attribute::Integer),
        "[ -~ü☂]{0,20}".prop_map(Attribute::Text),
    ]
}

fn some_data() -> impl Strategy<Value = (Option<String>, Data)> {
    prop_oneof![
        Just((None, Data::None)),
        "\\PC{0,30}".prop_map(|text| (None, Data::Json(json!({ "a": text }).to_string().into()))),
        any::<String>().prop_map(|text| (Some("text/plain".into()), Data::Text(text.into()))),
        any::<Vec<u8>>().prop_map(|bytes| (None, Data::Binary(bytes.into()))),
    ]
}

proptest! {
    #[test]
    fn what_is_stored_reads_back(
        id in "[!-~ü]{1,20}", extensions in proptest::collection::btree_map("x[a-z0-9]{1,9}", an_attribute(), 0..5),
        (content_type, data) in some_data(),
    ) {
        let event = Event {
            id, source: "/s".into(), kind: "t".into(), content_type, data,
            extensions: extensions.into_iter().collect(), ..Event::default()
        };
        let mut back = Event::from_json(event.stored()).unwrap();
        prop_assert_eq!(back.text.take(), Some(event.stored()));
        prop_assert_eq!(format!("{back:?}"), format!("{event:?}"));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[{}\\[\\]\",:a-z0-9\\\\ ]{0,60}") {
        let _ = Event::from_json(bytes.into());
        let _ = Event::from_json(text.into());
    }
}

/// `cargo test --release -p millrace-model -- --ignored --nocapture speed`
#[test]
#[ignore = "a figure for people, not a check"]
fn speed_of_reading_an_event_of_one_kibibyte() {
    let body: Vec<_> = (0..30)
        .map(|at| json!({"sku": format!("item-{at}"), "n": at}))
        .collect();
    let text = with(json!({
        "time": "2018-04-05T17:31:00Z", "datacontenttype": "application/json", "tags": "a,b", "data": {"items": body}
    }));
    let text = Bytes::from(text);
    let rounds = 200_000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(Event::from_json(text.clone()).unwrap());
    }
    let each = start.elapsed().as_nanos() / rounds;
    println!("{} bytes: {each} ns", text.len());
}
