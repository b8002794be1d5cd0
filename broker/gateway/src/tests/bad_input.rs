//! Bad input, as a table: what is sent, and the status and code that it gets. After all of it the next
//! request is served as if nothing had been.

use serde_json::json;

use super::rig::{BATCH, Door, EVENT, JSON};

type Headers = &'static [(&'static str, &'static str)];

const TOPIC: &str = "/v1/topics/orders/messages";
const QUEUE: &str = "/v1/queues/work/messages";
const RECEIVE: &str = "/v1/queues/work/receive";
const ACK: &str = "/v1/queues/work/ack";
const SUBSCRIPTION: &str = "/v1/topics/orders/subscriptions/x";
const VERSION: &str = "/v1/plugins/p/versions/1";

const NONE: Headers = &[];
const FORM: Headers = &[("content-type", "application/x-www-form-urlencoded")];

/// Method, path, headers, body, status, code.
type Case = (
    &'static str,
    &'static str,
    Headers,
    &'static [u8],
    u16,
    &'static str,
);

#[rustfmt::skip]
const EVENTS: &[Case] = &[
    ("POST", TOPIC, EVENT, b"", 400, "malformed_json"),
    ("POST", TOPIC, EVENT, b"{", 400, "malformed_json"),
    ("POST", TOPIC, EVENT, b"\xff\xfe", 400, "malformed_json"),
    ("POST", TOPIC, EVENT, b"[]", 400, "invalid_event"),
    ("POST", TOPIC, EVENT, b"{}", 400, "missing_attribute"),
    ("POST", TOPIC, EVENT, br#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, 400, "unsupported_specversion"),
    ("POST", TOPIC, EVENT, br#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, 400, "missing_attribute"),
    ("POST", TOPIC, EVENT, br#"{"specversion":"1.0","id":"1","source":"s","type":"t","Bad-Name":1}"#, 400, "invalid_attribute"),
    ("POST", TOPIC, EVENT, br#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}"#, 400, "invalid_attribute"),
    ("POST", TOPIC, EVENT, br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"!"}"#, 400, "invalid_data"),
    ("POST", QUEUE, EVENT, b"{}", 400, "missing_attribute"),
    ("POST", TOPIC, BATCH, b"", 400, "malformed_json"),
    ("POST", TOPIC, BATCH, b"{}", 400, "malformed_json"),
    ("POST", TOPIC, BATCH, b"[", 400, "malformed_json"),
    ("POST", TOPIC, BATCH, b"[] []", 400, "malformed_json"),
    ("POST", TOPIC, BATCH, b"[]", 400, "empty_batch"),
    ("POST", TOPIC, BATCH, b"[1,2]", 400, "invalid_event"),
    ("POST", TOPIC, &[("content-type", "application/cloudevents+xml")], b"<x/>", 415, "unsupported_media_type"),
    ("POST", TOPIC, &[("content-type", "application/CloudEvents-batch+avro")], b"", 415, "unsupported_media_type"),
    ("POST", TOPIC, &[("content-encoding", "gzip")], b"x", 415, "unsupported_encoding"),
    ("POST", TOPIC, &[("idempotency-key", "")], b"x", 400, "invalid_header"),
    ("POST", TOPIC, &[("millrace-delay-seconds", "-1")], b"x", 400, "invalid_header"),
    ("POST", TOPIC, &[("millrace-delay-seconds", "99999999999999999999")], b"x", 400, "invalid_header"),
    ("POST", "/v1/topics/none/messages", NONE, b"x", 404, "topic_not_found"),
    ("POST", "/v1/queues/none/messages", NONE, b"x", 404, "queue_not_found"),
    ("POST", "/v1/topics/%20/messages", NONE, b"x", 400, "invalid_name"),
    ("POST", "/v1/topics/%ff/messages", NONE, b"x", 400, "invalid_name"),
    ("POST", "/v1/topics/orders/messages?explain=maybe", NONE, b"x", 400, "invalid_parameter"),
    ("POST", "/v1/topics/orders/messages?explian=true", NONE, b"x", 400, "unknown_parameter"),
];

#[rustfmt::skip]
const CONFIGURATIONS: &[Case] = &[
    ("PUT", "/v1/queues/1bad", JSON, b"{}", 400, "invalid_name"),
    ("PUT", "/v1/queues/q", JSON, b"{", 400, "malformed_json"),
    ("PUT", "/v1/queues/q", JSON, b"\xff", 400, "malformed_json"),
    ("PUT", "/v1/queues/q", JSON, b"[]", 400, "invalid_value"),
    ("PUT", "/v1/queues/q", FORM, b"{}", 415, "unsupported_media_type"),
    ("PUT", "/v1/queues/q", JSON, br#"{"colour":1}"#, 400, "unknown_field"),
    ("PUT", "/v1/queues/q", JSON, br#"{"visibility_seconds":"x"}"#, 400, "invalid_value"),
    ("PUT", "/v1/queues/q", JSON, br#"{"visibility_seconds":43201}"#, 422, "out_of_range"),
    ("PUT", "/v1/queues/q", JSON, br#"{"fifo":true}"#, 422, "unsupported_value"),
    ("PUT", "/v1/queues/q", JSON, br#"{"dead_letter":{"queue":"none","max_receives":3}}"#, 404, "queue_not_found"),
    ("PUT", "/v1/queues/q", JSON, br#"{"dead_letter":{"queue":"!","max_receives":3}}"#, 400, "invalid_value"),
    ("PUT", "/v1/topics/t", JSON, br#"{"retention_seconds":5}"#, 422, "unsupported_value"),
    ("PUT", "/v1/topics/t", JSON, br#"{"admission":{}}"#, 400, "unknown_field"),
    ("PUT", "/v1/topics/t", JSON, br#"{"schema":{"type":"objct"}}"#, 422, "invalid_schema"),
    ("PUT", "/v1/topics/t", JSON, br#"{"schema":{"$ref":"http://example.com/x"}}"#, 422, "invalid_schema"),
    ("PUT", "/v1/topics/t", JSON, br#"{"schema":{"pattern":"(?=x)"}}"#, 422, "invalid_schema"),
    ("PUT", "/v1/topics/t", JSON, br#"{"schema_mode":"shrug"}"#, 400, "unsupported_value"),
    ("PUT", SUBSCRIPTION, JSON, b"{}", 400, "missing_field"),
    ("PUT", SUBSCRIPTION, NONE, b"", 400, "missing_field"),
    ("PUT", SUBSCRIPTION, JSON, br#"{"to":{"push":{"url":"https://x"}}}"#, 400, "unsupported_value"),
    ("PUT", SUBSCRIPTION, JSON, br#"{"to":{"queue":"none"}}"#, 404, "queue_not_found"),
    ("PUT", SUBSCRIPTION, JSON, br#"{"to":{"queue":"work"},"start":"now"}"#, 400, "unknown_field"),
    ("PUT", SUBSCRIPTION, JSON, br#"{"to":{"destinations":{}}}"#, 422, "out_of_range"),
    ("PUT", "/v1/topics/none/subscriptions/x", JSON, br#"{"to":{"queue":"work"}}"#, 404, "topic_not_found"),
    ("GET", "/v1/queues?limit=0", NONE, b"", 400, "invalid_parameter"),
    ("GET", "/v1/queues?limit=1&limit=2", NONE, b"", 400, "invalid_parameter"),
    ("GET", "/v1/queues?after=%ff", NONE, b"", 400, "invalid_parameter"),
];

#[rustfmt::skip]
const VERBS: &[Case] = &[
    ("POST", RECEIVE, JSON, br#"{"max":0}"#, 422, "out_of_range"),
    ("POST", RECEIVE, JSON, br#"{"max":-1}"#, 400, "invalid_value"),
    ("POST", RECEIVE, JSON, br#"{"wait_seconds":31}"#, 422, "out_of_range"),
    ("POST", RECEIVE, JSON, br#"{"visibility_seconds":99999}"#, 422, "out_of_range"),
    ("POST", RECEIVE, JSON, br#"{"maximum":1}"#, 400, "unknown_field"),
    ("POST", "/v1/queues/none/receive", NONE, b"", 404, "queue_not_found"),
    ("POST", ACK, JSON, b"", 400, "missing_field"),
    ("POST", ACK, JSON, b"null", 400, "invalid_value"),
    ("POST", ACK, JSON, br#"{"receipts":[1]}"#, 400, "invalid_value"),
    ("POST", ACK, JSON, br#"{"receipts":["x"],"x":1}"#, 400, "unknown_field"),
    ("POST", "/v1/queues/work/extend", JSON, br#"{"receipts":[]}"#, 400, "missing_field"),
    ("POST", "/v1/queues/work/nack", JSON, br#"{"receipts":[],"delay_seconds":99999999999}"#, 422, "out_of_range"),
    ("POST", "/v1/queues/work/redrive", JSON, br#"{"max":1001}"#, 422, "out_of_range"),
    ("POST", "/v1/queues/work/purge", JSON, br#"{"really":true}"#, 400, "unknown_field"),
    ("GET", "/v1/queues/work/messages?state=gone", NONE, b"", 400, "invalid_parameter"),
    ("GET", "/v1/queues/work/messages?after=x", NONE, b"", 400, "invalid_parameter"),
    ("PUT", VERSION, NONE, b"", 422, "invalid_component"),
    ("PUT", VERSION, NONE, b"\0asm\x01\0\0\0", 422, "invalid_component"),
    ("PUT", VERSION, JSON, b"{}", 415, "unsupported_media_type"),
    ("PUT", "/v1/plugins/p/versions/a%20b", NONE, b"", 400, "invalid_version"),
    ("POST", "/v1/plugins/check", NONE, b"junk", 422, "invalid_component"),
    ("GET", "/v1/plugins/p/versions/1", NONE, b"", 404, "plugin_not_found"),
    ("GET", "/nothing", NONE, b"", 404, "not_found"),
    ("GET", "/v1/topics/a/b/c/d", NONE, b"", 404, "not_found"),
    ("PATCH", "/v1/topics/orders", NONE, b"", 405, "method_not_allowed"),
    ("GET", RECEIVE, NONE, b"", 405, "method_not_allowed"),
];

#[tokio::test]
async fn bad_input_gets_its_status_and_code_and_the_next_request_is_served() {
    let door = Door::new().with_orders().await;
    for (method, path, headers, body, status, code) in [EVENTS, CONFIGURATIONS, VERBS].concat() {
        let answer = door.call(method, path, headers, body).await;
        let text = String::from_utf8_lossy(body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path} {text}: {answer:?}"
        );
        if status == 405 {
            assert!(!answer.header("allow").is_empty(), "405 names the methods");
        }
    }
    assert!(
        door.receive().await.is_empty(),
        "nothing of it was accepted"
    );
    door.call("POST", TOPIC, NONE, "good").await.expect(200);
    assert_eq!(door.receive().await.len(), 1);
}

#[tokio::test]
async fn wrong_headers_of_the_binary_mode_are_named() {
    let door = Door::new().with_orders().await;
    let good = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "t"),
    ];
    for (name, value, code) in [
        ("ce-specversion", "0.3", "unsupported_specversion"),
        ("ce-id", "", "missing_attribute"),
        ("ce-id", "%", "invalid_attribute"),
        ("ce-source", "a b", "invalid_attribute"),
        ("ce-type", "%zz", "invalid_attribute"),
        ("ce-subject", "%ff", "invalid_attribute"),
        ("ce-subject", "%00", "invalid_attribute"),
        ("ce-time", "yesterday", "invalid_attribute"),
        ("ce-my-ext", "1", "invalid_attribute"),
        ("ce-data", "1", "invalid_attribute"),
        ("ce-datacontenttype", "text/plain", "invalid_attribute"),
        ("content-type", "nonsense", "invalid_attribute"),
    ] {
        let mut headers: Vec<_> = good
            .into_iter()
            .filter(|(other, _)| *other != name)
            .collect();
        headers.push((name, value));
        let answer = door.call("POST", TOPIC, &headers, "x").await.expect(400);
        assert_eq!(
            (answer.code().as_str(), &answer.json()["pointer"]),
            (code, &json!(name)),
            "{name}: {value}"
        );
    }
    for (name, _) in good {
        let headers: Vec<_> = good
            .into_iter()
            .filter(|(other, _)| *other != name)
            .collect();
        let answer = door.call("POST", TOPIC, &headers, "x").await.expect(400);
        assert_eq!(
            (answer.code().as_str(), &answer.json()["pointer"]),
            ("missing_attribute", &json!(name))
        );
    }
    let mut twice = good.to_vec();
    twice.push(("ce-id", "2"));
    let answer = door.call("POST", TOPIC, &twice, "x").await.expect(400);
    assert_eq!(answer.code(), "duplicate_attribute");
    let names: Vec<_> = (0..65).map(|at| format!("ce-x{at}")).collect();
    let mut many = good.to_vec();
    many.extend(names.iter().map(|name| (name.as_str(), "1")));
    let answer = door.call("POST", TOPIC, &many, "x").await.expect(400);
    assert_eq!(answer.code(), "too_many_attributes");
}

#[tokio::test]
async fn unknown_fields_are_pointed_at() {
    let door = Door::new().with_orders().await;
    let body = json!({"to": {"queue": "work"}, "filter": {"tags": ["a"], "x/y~z": 1}});
    let answer = door.put(SUBSCRIPTION, &body).await.expect(400);
    assert_eq!(
        (answer.code().as_str(), &answer.json()["pointer"]),
        ("unknown_field", &json!("/filter/x~1y~0z"))
    );
    let body = json!({"to": {"destinations": {"eu": {"queue": "work"}, "us": {"quoue": "work"}}}});
    let answer = door.put(SUBSCRIPTION, &body).await.expect(400);
    assert_eq!(answer.code(), "unsupported_value");
    assert!(
        answer.json()["pointer"]
            .as_str()
            .is_some_and(|at| at.starts_with("/to/destinations/us"))
    );
}
