//! Events: the three modes of CloudEvents and plain bodies; what goes in comes out.

use millrace_tests::{Broker, Client};
use serde_json::{Value, json};

use crate::scene::{queue, receive, send};

const MESSAGES: &str = "/v1/queues/q/messages";

fn one_event(client: &Client) -> Value {
    let received = receive(client, "q", 1);
    let receipts = json!({"receipts": [received[0]["receipt"]]});
    client.post("/v1/queues/q/ack", &receipts).expect(200);
    received[0]["event"].clone()
}

#[test]
fn a_plain_body_becomes_an_event() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    send(&client, "q", &json!({"a": [1, 2]}));
    let event = one_event(&client);
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "millrace.message");
    assert_eq!(event["data"], json!({"a": [1, 2]}));
    for attribute in ["id", "source", "time"] {
        assert!(
            event[attribute]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{event}"
        );
    }
}

#[test]
fn text_and_bytes_come_out_as_they_went_in() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let post = |kind: &str, body: &[u8]| {
        client
            .send("POST", MESSAGES, &[("content-type", kind)], body)
            .expect(200);
        one_event(&client)
    };
    let event = post(
        "text/plain; charset=utf-8",
        "zwölf € \u{0}\r\n\"".as_bytes(),
    );
    assert_eq!(event["data"], "zwölf € \u{0}\r\n\"");
    let event = post("application/octet-stream", &[0, 159, 146, 150, 255]);
    assert_eq!(event["data_base64"], "AJ+Slv8=");
    assert!(event.get("data").is_none());
    // Not what its type says: kept as the bytes that it is.
    let event = post("text/plain", &[0xff, 0xfe]);
    assert_eq!(event["data_base64"], "//4=");
}

#[test]
fn numbers_and_order_of_json_data_are_kept_to_the_letter() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let data = r#"{"z":1.0,"a":12345678901234567890123,"e":1e400,"u":"\u00fc","d":{"b":1,"a":2}}"#;
    client
        .send(
            "POST",
            MESSAGES,
            &[("content-type", "application/json")],
            data.as_bytes(),
        )
        .expect(200);
    let answer = client.post("/v1/queues/q/receive", &json!({})).with(200);
    assert!(answer.text().contains(data), "{}", answer.text());
}

#[test]
fn binary_mode_decodes_its_headers() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "b%C3%BCcher %25"),
        ("CE-Source", "/shop"),
        ("ce-type", "t"),
        ("ce-subject", "\"quoted\""),
        ("ce-partitionkey", "k"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    client.send("POST", MESSAGES, &headers, b"1").expect(200);
    let event = one_event(&client);
    assert_eq!(event["id"], "bücher %");
    assert_eq!(event["source"], "/shop");
    assert_eq!(event["partitionkey"], "k");
    assert_eq!(event["data"], 1);
    assert_eq!(
        event["traceparent"], headers[7].1,
        "a sent traceparent is kept with the event"
    );
}

#[test]
fn structured_mode_keeps_what_it_does_not_know() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let sent = json!({
        "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": "2026-01-02T03:04:05.123456789+02:00",
        "dataschema": "https://example.com/s", "mine": "x", "flag": true, "number": -7, "data": null,
    });
    let headers = [(
        "content-type",
        "application/cloudevents+json; charset=UTF-8",
    )];
    client
        .send("POST", MESSAGES, &headers, sent.to_string().as_bytes())
        .expect(200);
    let event = one_event(&client);
    for (name, value) in sent.as_object().expect("an object") {
        assert_eq!(event[name], *value, "{name} of {event}");
    }
}

#[test]
fn every_answer_names_its_request_and_problems_are_documents() {
    let broker = Broker::start();
    let client = broker.client();
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/queues",
        "/v1/cluster",
        "/nowhere",
    ] {
        let answer = client.get(path);
        assert!(
            answer
                .header("x-request-id")
                .is_some_and(|id| !id.is_empty()),
            "{path}"
        );
        assert_eq!(
            answer.status,
            if path == "/nowhere" { 404 } else { 200 },
            "{path}"
        );
    }
    client.get("/nowhere").refused(404, "not_found");
    client
        .send("PATCH", "/v1/queues/q", &[], b"")
        .refused(405, "method_not_allowed");
    assert_eq!(
        client.get("/openapi.json").json()["openapi"]
            .as_str()
            .map(|version| &version[..3]),
        Some("3.1")
    );
    assert!(
        client
            .get("/metrics")
            .text()
            .lines()
            .any(|line| line.starts_with("# TYPE millrace_"))
    );
}
