//! Events that are none, or are too large: each kind gets its status and code, nothing is stored, nothing breaks, and the
//! next request is served.

use millrace_tests::raw;
use serde_json::json;

use crate::door::{BATCH, Door, JSON, SEND, STRUCTURED};
use crate::scene::{receive, shipped, subscribe, upload};

#[test]
fn malformed_json() {
    let door = Door::open();
    for body in [
        "",
        "{",
        "{\"a\":1}}",
        "nul",
        "\u{feff}{}",
        "{\"a\":\"\u{1}\"}",
    ] {
        door.refuses_post(STRUCTURED, body.as_bytes(), 400, "malformed_json");
    }
    for body in ["", "[", "[1,]", "[{}", "[]]", "{\"id\":\"1\"}"] {
        door.refuses_post(BATCH, body.as_bytes(), 400, "malformed_json");
    }
    let deep = "[".repeat(100_000);
    door.refuses_post(STRUCTURED, deep.as_bytes(), 400, "invalid_data");
    for body in [&[0xff, 0xfe, 0x00][..], b"{\"id\": \"\xc3\x28\"}"] {
        door.refuses_post(STRUCTURED, body, 400, "malformed_json");
        door.refuses_post(BATCH, body, 400, "malformed_json");
    }
    let headers = [("content-type", JSON)];
    for body in [deep.as_bytes(), &[0xff, 0xfe, 0x00], b"{"] {
        for path in ["/v1/queues/x", "/v1/topics/x"] {
            let answer = door.client.send("PUT", path, &headers, body);
            answer.refused(400, "malformed_json");
        }
        let answer = door
            .client
            .send("POST", "/v1/queues/q/receive", &headers, body);
        answer.refused(400, "malformed_json");
    }
}

#[test]
fn a_plain_body_that_is_not_the_json_it_says_is_kept_as_it_is() {
    let door = Door::open();
    let headers = [("content-type", JSON)];
    door.client
        .send("POST", SEND, &headers, b"{\"a\":")
        .expect(200);
    let received = receive(&door.client, "q", 1);
    assert_eq!(received[0]["event"]["data_base64"], "eyJhIjo=");
}

#[test]
fn deeply_nested_data_breaks_neither_filter_nor_schema_nor_plugin() {
    let door = Door::open();
    let client = &door.client;
    client
        .put("/v1/topics/strict", &json!({"schema": {"type": "array"}}))
        .expect(201);
    let filter = json!({"match": {"a": [1]}, "scope": "data"});
    subscribe(
        client,
        "t",
        "filter",
        &json!({"filter": filter, "to": {"queue": "q"}}),
    );
    upload(client, "router", &shipped("content-router")).expect(201);
    let rules = json!([{"data": {"/0": 1}, "to": ["q"]}]);
    let plugin = json!({"name": "router", "version": "1.0.0", "config": {"rules": rules}});
    let to = json!({"destinations": {"q": {"queue": "q"}}});
    subscribe(client, "t", "plugin", &json!({"plugin": plugin, "to": to}));
    let deep = ["[".repeat(200_000), "]".repeat(200_000)].concat();
    for topic in ["t", "strict"] {
        let path = format!("/v1/topics/{topic}/messages");
        let answer = client.send("POST", &path, &[("content-type", JSON)], deep.as_bytes());
        assert!(
            [200, 422].contains(&answer.status),
            "{topic}: {}",
            answer.text()
        );
    }
    client.get("/readyz").expect(200);
}

#[test]
fn wrong_cloudevents() {
    let door = Door::open();
    let right = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for attribute in ["specversion", "id", "source", "type"] {
        let mut without = right.clone();
        without
            .as_object_mut()
            .expect("an object")
            .remove(attribute);
        let text = without.to_string();
        door.refuses_post(STRUCTURED, text.as_bytes(), 400, "missing_attribute");
    }
    let cases = [
        ("specversion", json!("0.3"), "unsupported_specversion"),
        ("specversion", json!("2.0"), "unsupported_specversion"),
        ("specversion", json!(1), "invalid_attribute"),
        ("id", json!(""), "missing_attribute"),
        ("id", json!(7), "invalid_attribute"),
        ("source", json!(""), "missing_attribute"),
        ("type", json!(null), "missing_attribute"),
        ("time", json!("yesterday"), "invalid_attribute"),
        ("time", json!("2026-13-01T00:00:00Z"), "invalid_attribute"),
        ("data_base64", json!("not base64!"), "invalid_data"),
        ("data_base64", json!(1), "invalid_data"),
        ("BadName", json!("x"), "invalid_attribute"),
        ("bad-name", json!("x"), "invalid_attribute"),
        ("nested", json!({"a": 1}), "invalid_attribute"),
        ("fraction", json!(1.5), "invalid_attribute"),
        ("large", json!("x".repeat(17 * 1024)), "attribute_too_large"),
    ];
    for (attribute, value, code) in cases {
        let mut other = right.clone();
        other[attribute] = value;
        door.refuses_post(STRUCTURED, other.to_string().as_bytes(), 400, code);
    }
    let mut both = right.clone();
    both["data"] = json!(1);
    both["data_base64"] = json!("AA==");
    door.refuses_post(
        STRUCTURED,
        both.to_string().as_bytes(),
        400,
        "conflicting_data",
    );
    let twice = r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#;
    door.refuses_post(STRUCTURED, twice.as_bytes(), 400, "duplicate_attribute");
    for other in ["[]", "\"x\"", "null"] {
        door.refuses_post(STRUCTURED, other.as_bytes(), 400, "invalid_event");
    }
    door.refuses_post(BATCH, b"[]", 400, "empty_batch");
}

#[test]
fn wrong_cloudevents_headers() {
    let door = Door::open();
    let right = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("Content-Length", "1"),
        ("Content-Type", JSON),
    ];
    for left_out in 0..4 {
        let mut headers = right.to_vec();
        let (name, _) = headers.remove(left_out);
        let request = raw::request("POST", SEND, &headers, b"1");
        door.refuses(&format!("no {name}"), &request, 400, "missing_attribute");
    }
    let cases = [
        ("ce-specversion", "0.3", "unsupported_specversion"),
        ("ce-id", "%", "invalid_attribute"),
        ("ce-id", "%zz", "invalid_attribute"),
        ("ce-id", "%C3", "invalid_attribute"),
        ("ce-id", "%FF%FE", "invalid_attribute"),
        ("ce-id", "", "missing_attribute"),
        ("ce-subject", "50% off", "invalid_attribute"),
        ("ce-subject", "\"open", "invalid_attribute"),
        ("ce-time", "noon", "invalid_attribute"),
        ("ce-bad_name", "x", "invalid_attribute"),
        ("ce-data", "x", "invalid_attribute"),
    ];
    for (name, value, code) in cases {
        let mut headers = right.to_vec();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
        let request = raw::request("POST", SEND, &headers, b"1");
        door.refuses(&format!("{name}: {value}"), &request, 400, code);
    }
    let twice = [&right[..], &[("ce-id", "2")]].concat();
    let request = raw::request("POST", SEND, &twice, b"1");
    door.refuses("two ids", &request, 400, "duplicate_attribute");
    let control = [&right[..], &[("ce-subject", "\u{1}")]].concat();
    assert_eq!(
        door.raw(&raw::request("POST", SEND, &control, b"1")).status,
        400
    );
}

#[test]
fn bodies_that_are_too_large() {
    let door = Door::open();
    let body = vec![b'x'; 5 * 1024 * 1024];
    let kind = ("Content-Type", "application/octet-stream");
    let length = body.len().to_string();
    let with_length = raw::request("POST", SEND, &[kind, ("Content-Length", &length)], &body);
    door.refuses("5 MiB", &with_length, 413, "message_too_large");
    let chunks = raw::chunked(&body);
    let headers = [kind, ("Transfer-Encoding", "chunked")];
    let without_length = raw::request("POST", SEND, &headers, &chunks);
    door.refuses("5 MiB in chunks", &without_length, 413, "message_too_large");
    let event = &body[..1024 * 1024 + 1];
    let chunks = raw::chunked(event);
    let request = raw::request("POST", SEND, &headers, &chunks);
    door.refuses("1 byte over", &request, 413, "message_too_large");
    let headers = [("Content-Type", BATCH), ("Transfer-Encoding", "chunked")];
    let chunks = raw::chunked(&body);
    let request = raw::request("POST", SEND, &headers, &chunks);
    door.refuses("a batch of 5 MiB", &request, 413, "batch_too_large");
    // An announcement alone: nothing of it needs to be read.
    let announced = raw::request(
        "POST",
        SEND,
        &[kind, ("Content-Length", "99999999999999")],
        b"",
    );
    door.refuses("100 TB announced", &announced, 413, "message_too_large");
}

#[test]
fn an_event_just_below_the_limit_is_taken() {
    let door = Door::open();
    // The attributes count as well.
    let body = vec![b'x'; 1024 * 1024 - 512];
    let headers = [("content-type", "text/plain")];
    door.client.send("POST", SEND, &headers, &body).expect(200);
    let received = receive(&door.client, "q", 1);
    assert_eq!(
        received[0]["event"]["data"].as_str().map(str::len),
        Some(body.len())
    );
}

#[test]
fn an_empty_body_is_an_event_without_data() {
    let door = Door::open();
    door.client
        .send("POST", SEND, &[("content-type", "text/plain")], b"")
        .expect(200);
    let received = receive(&door.client, "q", 1);
    let event = &received[0]["event"];
    assert!(event["data"].is_null() || event["data"] == "", "{event}");
}

#[test]
fn an_event_with_too_many_extensions_is_refused() {
    let door = Door::open();
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for number in 0..65 {
        event[format!("e{number}")] = json!("x");
    }
    door.refuses_post(
        STRUCTURED,
        event.to_string().as_bytes(),
        400,
        "too_many_attributes",
    );
}
