//! Events come in any form, and come out as they went in.

use std::pin::pin;

use serde_json::{Value, json};

use super::rig::{BATCH, Door, EVENT};

const TOPIC: &str = "/v1/topics/orders/messages";

const BINARY: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "e-1"),
    ("ce-source", "/shop"),
    ("ce-type", "order.created"),
    ("content-type", "application/json"),
];

async fn published(headers: &[(&str, &str)], body: &'static [u8]) -> Value {
    let door = Door::new().with_orders().await;
    let answer = door
        .call("POST", TOPIC, headers, body)
        .await
        .expect(200)
        .json();
    assert_eq!(answer["messages"][0]["deliveries"], 1, "{answer}");
    let mut messages = door.receive().await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["event"]["id"], answer["messages"][0]["id"]);
    messages.remove(0)["event"].take()
}

#[tokio::test]
async fn binary_mode_takes_attributes_from_headers_and_data_from_the_body() {
    let mut headers = BINARY.to_vec();
    headers.extend([
        ("ce-subject", "caf%C3%A9"),
        ("ce-time", "2026-01-31T12:00:00Z"),
        ("ce-tags", "a,b"),
    ]);
    let event = published(&headers, br#"{"total": 1.50, "n":[1]}"#).await;
    let want = json!({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.created",
        "subject": "café", "time": "2026-01-31T12:00:00Z", "datacontenttype": "application/json",
        "tags": "a,b", "data": {"total": 1.50, "n": [1]}});
    assert_eq!(event, want);
}

#[tokio::test]
async fn data_is_json_text_or_bytes_by_its_media_type_and_its_content() {
    let cases: [(&str, &[u8], &str, Value); 9] = [
        ("application/json", b"{\"a\": 1}", "data", json!({"a": 1})),
        (
            "application/vnd.x+json; charset=utf-8",
            b"[1]",
            "data",
            json!([1]),
        ),
        ("application/json", b"null", "data", Value::Null),
        (
            "application/json",
            b"{broken",
            "data_base64",
            json!("e2Jyb2tlbg=="),
        ),
        (
            "text/plain",
            "d\u{e9}j\u{e0} \"vu\"".as_bytes(),
            "data",
            json!("déjà \"vu\""),
        ),
        (
            "text/plain; charset=iso-8859-1",
            b"abc",
            "data_base64",
            json!("YWJj"),
        ),
        ("text/plain", b"\xff\xfe", "data_base64", json!("//4=")),
        ("image/png", b"\x89PNG", "data_base64", json!("iVBORw==")),
        ("application/json", b"", "absent", Value::Null),
    ];
    for (media_type, body, member, want) in cases {
        let mut headers = BINARY.to_vec();
        headers[4].1 = media_type;
        let event = published(&headers, body).await;
        let found: Vec<_> = ["data", "data_base64"]
            .into_iter()
            .filter(|name| event.get(*name).is_some())
            .collect();
        assert_eq!(
            found.first().copied().unwrap_or("absent"),
            member,
            "{media_type}: {event}"
        );
        assert_eq!(
            event.get(member).unwrap_or(&Value::Null),
            &want,
            "{media_type}"
        );
        assert_eq!(event["datacontenttype"], media_type);
    }
}

#[tokio::test]
async fn structured_events_come_out_byte_for_byte() {
    let text = br#"{ "id":"1", "specversion" : "1.0","type":"t","source":"s", "data": {"z":1.0e2,"a":"\u00e9"} }"#;
    let door = Door::new().with_orders().await;
    door.call("POST", TOPIC, EVENT, text.as_slice())
        .await
        .expect(200);
    let answer = door
        .post("/v1/queues/work/receive", &json!({}))
        .await
        .expect(200);
    let body = std::str::from_utf8(&answer.body).expect("UTF-8");
    assert!(
        body.contains(std::str::from_utf8(text).expect("UTF-8")),
        "{body}"
    );
}

#[tokio::test]
async fn a_plain_body_gets_id_source_type_and_time() {
    let event = published(&[("content-type", "text/plain")], b"hello").await;
    assert_eq!(event["type"], "millrace.message");
    assert_eq!(event["source"], "/topics/orders");
    assert_eq!(event["time"], "2025-11-13T02:13:20.000Z");
    assert_eq!(event["data"], "hello");
    assert_eq!(event["id"].as_str().expect("an id").len(), 36);
    let unknown = published(&[], b"\x00\x01").await;
    assert_eq!(unknown["datacontenttype"], "application/octet-stream");
    assert_eq!(unknown["data_base64"], "AAE=");
    let nothing = published(&[], b"").await;
    assert!(nothing.get("data").is_none() && nothing.get("data_base64").is_none());
}

#[tokio::test]
async fn the_requests_trace_is_handed_on_unless_the_event_has_one() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = ("traceparent", trace);
    let mut headers = EVENT.to_vec();
    headers.push(sent);
    let own: &[u8] =
        br#"{"specversion":"1.0","id":"1","source":"s","type":"t","traceparent":"mine"}"#;
    let none: &[u8] =
        br#"{"specversion":"1.0","id":"1","source":"s","type":"t","traceparent":null}"#;
    let plain: &[u8] = br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":[ 1 ]}"#;
    for (text, want) in [(own, "mine"), (none, trace), (plain, trace)] {
        assert_eq!(published(&headers, text).await["traceparent"], want);
    }
    assert_eq!(published(&[sent], b"x").await["traceparent"], trace);
    assert!(
        published(&[("traceparent", "00-zz")], b"x")
            .await
            .get("traceparent")
            .is_none()
    );
}

#[tokio::test]
async fn a_batch_has_one_result_an_event_in_order() {
    let door = Door::new().with_orders().await;
    let good = |id: &str| json!({"specversion": "1.0", "id": id, "source": "s", "type": "t"});
    let batch = json!([good("a"), {"specversion": "1.0"}, good("b"), 7]).to_string();
    let answer = door
        .call("POST", TOPIC, BATCH, batch)
        .await
        .expect(200)
        .json();
    let results = answer["messages"].as_array().expect("results");
    assert_eq!(results.len(), 4);
    assert_eq!(
        (&results[0]["id"], &results[2]["id"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(results[1]["error"]["code"], "missing_attribute");
    assert_eq!(results[3]["error"]["code"], "invalid_event");
    assert_eq!(door.receive().await.len(), 2);

    let bad = json!([{"specversion": "0.3", "id": "x", "source": "s", "type": "t"}, 7]).to_string();
    let refused = door
        .call("POST", TOPIC, BATCH, bad)
        .await
        .expect(400)
        .json();
    assert_eq!(refused["code"], "unsupported_specversion");
    assert_eq!(refused["messages"][1]["error"]["code"], "invalid_event");
}

#[tokio::test]
async fn an_idempotency_key_is_accepted_once() {
    let door = Door::new().with_orders().await;
    let key = [("idempotency-key", "k-1"), ("content-type", "text/plain")];
    for path in [TOPIC, "/v1/queues/work/messages"] {
        let first = door
            .call("POST", path, &key, "one")
            .await
            .expect(200)
            .json();
        let again = door
            .call("POST", path, &key, "one")
            .await
            .expect(200)
            .json();
        assert_eq!(first, again, "a retry gets the first answer");
        let other = door.call("POST", path, &key, "two").await.expect(422);
        assert_eq!(other.code(), "idempotency_key_reused");
        assert_eq!(door.receive().await.len(), 1);
    }
}

#[tokio::test]
async fn a_delay_keeps_messages_away() {
    let door = Door::new().with_orders().await;
    door.call("POST", TOPIC, &[("millrace-delay-seconds", "60")], "late")
        .await
        .expect(200);
    assert!(door.receive().await.is_empty());
    let peeked = door
        .get("/v1/queues/work/messages?state=delayed")
        .await
        .expect(200)
        .json();
    assert_eq!(peeked["items"][0]["state"], "delayed");
    door.pass(60_000);
    assert_eq!(door.receive().await.len(), 1);
}

#[tokio::test]
async fn a_schema_is_checked_with_pointers_or_only_warned_of() {
    let door = Door::new().with_orders().await;
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let topic = json!({"schema": schema});
    door.put("/v1/topics/orders", &topic).await.expect(200);
    let refused = door
        .call("POST", TOPIC, &BINARY, "{\"n\":\"x\"}")
        .await
        .expect(422);
    assert_eq!(refused.code(), "schema_violation");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/data/n");
    let not_json = door.call("POST", TOPIC, &[], "text").await.expect(422);
    assert_eq!(not_json.json()["pointer"], "/data");
    door.call("POST", TOPIC, &BINARY, "{\"n\":1}")
        .await
        .expect(200);
    let lax = json!({"schema": topic["schema"], "schema_mode": "warn"});
    door.put("/v1/topics/orders", &lax).await.expect(200);
    door.call("POST", TOPIC, &BINARY, "{}").await.expect(200);
    let metrics = door.get("/metrics").await.expect(200);
    let text = std::str::from_utf8(&metrics.body).expect("UTF-8");
    assert!(text.contains("\nmillrace_events_warned_total 1\n"));
    assert_eq!(door.receive().await.len(), 2);
}

/// How many other requests the one thread of this test answers while it publishes numbers of so many bytes under a schema.
async fn answered_beside(door: &Door, bytes: usize) -> usize {
    let numbers = format!("[{}1]", "1,".repeat(bytes / 2));
    let mut publish = pin!(door.call("POST", TOPIC, &BINARY, numbers));
    let mut answered = 0;
    loop {
        tokio::select! {
            biased;
            answer = &mut publish => {
                answer.expect(200);
                return answered;
            }
            other = door.get("/livez") => {
                other.expect(200);
                answered += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_check_that_takes_long_delays_nobody_and_a_short_one_is_made_at_once() {
    let door = Door::new().with_orders().await;
    let schema = json!({"type": "array", "items": {"type": "integer", "minimum": 0}});
    let topic = json!({ "schema": schema });
    door.put("/v1/topics/orders", &topic).await.expect(200);
    // Compiles the schema.
    answered_beside(&door, 2).await;
    assert_eq!(answered_beside(&door, 1_000).await, 0);
    let answered = answered_beside(&door, 1_000_000).await;
    assert!(answered > 0, "nobody else was answered meanwhile");
}

#[tokio::test]
async fn text_that_would_burst_when_escaped_goes_through_as_bytes() {
    let door = Door::new().with_orders().await;
    let text = "\u{1}".repeat(1_000_000);
    door.call("POST", TOPIC, &[("content-type", "text/plain")], text)
        .await
        .expect(200);
    let received = door.receive().await;
    let data = received[0]["event"]["data_base64"]
        .as_str()
        .expect("base64");
    assert_eq!(data.len(), 1_333_336);
}

#[tokio::test]
async fn explain_tells_what_each_subscription_did() {
    let door = Door::new().with_orders().await;
    let filtered = json!({"filter": {"tags": ["eu"]}, "to": {"queue": "work"}});
    door.put("/v1/topics/orders/subscriptions/eu", &filtered)
        .await
        .expect(201);
    let path = format!("{TOPIC}?explain=true");
    let answer = door.call("POST", &path, &[], "x").await.expect(200).json();
    let want = json!([
        {"name": "all", "outcome": "delivered", "to": ["work"]},
        {"name": "eu", "outcome": "filtered", "to": []},
    ]);
    assert_eq!(answer["messages"][0]["subscriptions"], want);
}

#[tokio::test]
async fn a_stale_plan_is_made_again_and_at_last_given_up() {
    let door = Door::new().with_orders().await;
    door.ledger.make_stale(3);
    door.call("POST", TOPIC, &[], "x").await.expect(200);
    door.ledger.make_stale(100);
    let given_up = door.call("POST", TOPIC, &[], "x").await.expect(503);
    assert_eq!(
        (given_up.code().as_str(), given_up.header("retry-after")),
        ("not_ready", "1")
    );
}
