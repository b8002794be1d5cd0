//! Batches: a result an event; and requests that may be sent twice.

use millrace_tests::{Answer, Broker, Client};
use serde_json::{Value, json};

use crate::scene::{drain, queue, receive, subscribe, topic};

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": id})
}

fn post(client: &Client, path: &str, events: &Value, key: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/cloudevents-batch+json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    client.send("POST", path, &headers, events.to_string().as_bytes())
}

#[test]
fn a_bad_event_does_not_hurt_its_neighbours() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    subscribe(&client, "t", "s", &json!({"to": {"queue": "q"}}));
    let no_type = json!({"specversion": "1.0", "id": "2", "source": "/s"});
    let old = json!({"specversion": "0.3", "id": "3", "source": "/s", "type": "t"});
    let events = json!([event("1"), no_type, old, 17, event("5")]);
    let answer = post(&client, "/v1/topics/t/messages", &events, None)
        .with(200)
        .json();
    let results = answer["messages"].as_array().expect("results");
    assert_eq!(results.len(), 5, "{answer}");
    for (at, accepted) in [true, false, false, false, true].into_iter().enumerate() {
        let error = &results[at]["error"];
        assert_eq!(error.is_null(), accepted, "{at}: {answer}");
        assert!(accepted || error["code"].is_string(), "{answer}");
    }
    assert_eq!(results[0]["id"], "1");
    assert_eq!(results[4]["deliveries"], 1);
    assert_eq!(drain(&client, "q"), [json!("1"), json!("5")]);
}

#[test]
fn a_batch_with_nothing_right_in_it_is_refused() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let answer = post(
        &client,
        "/v1/queues/q/messages",
        &json!([{"id": "1"}, 2]),
        None,
    );
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(receive(&client, "q", 10).is_empty());
}

#[test]
fn a_batch_keeps_its_order_up_to_its_limit() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let ids: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let events = Value::from_iter(ids.iter().map(|id| event(id)));
    post(&client, "/v1/queues/q/messages", &events, None).expect(200);
    assert_eq!(drain(&client, "q"), ids);
    let events = Value::from_iter((0..1001).map(|number| event(&number.to_string())));
    post(&client, "/v1/queues/q/messages", &events, None).refused(413, "batch_too_large");
}

#[test]
fn a_request_sent_twice_with_one_key_counts_once() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    subscribe(&client, "t", "s", &json!({"to": {"queue": "q"}}));
    for path in ["/v1/topics/t/messages", "/v1/queues/q/messages"] {
        let events = json!([event("1"), event("2")]);
        let first = post(&client, path, &events, Some("k1")).with(200).json();
        let again = post(&client, path, &events, Some("k1")).with(200).json();
        assert_eq!(first, again, "{path}");
        assert_eq!(drain(&client, "q").len(), 2, "{path}");
        let other = post(&client, path, &json!([event("3")]), Some("k1"));
        other.refused(422, "idempotency_key_reused");
        post(&client, path, &events, Some("k2")).expect(200);
        assert_eq!(drain(&client, "q").len(), 2, "{path}");
    }
}

#[test]
fn settling_many_receipts_tells_which_failed() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    queue(&client, "other");
    let events = Value::from_iter((0..3).map(|number| event(&number.to_string())));
    post(&client, "/v1/queues/q/messages", &events, None).expect(200);
    let received = receive(&client, "q", 3);
    let receipt = |at: usize| received[at]["receipt"].clone();
    let forged = receipt(0)
        .as_str()
        .map(|text| format!("{}x", &text[..text.len() - 1]));
    let body = json!({"receipts": [receipt(0), "nonsense", forged, "", receipt(1)]});
    let answer = client.post("/v1/queues/q/ack", &body).with(200).json();
    assert_eq!(answer["acked"], 2, "{answer}");
    let failed = answer["failed"].as_array().expect("failures");
    assert_eq!(failed.len(), 3, "{answer}");
    for one in failed {
        let code = one["code"].as_str().expect("a code");
        assert!(
            ["receipt_invalid", "receipt_expired"].contains(&code),
            "{answer}"
        );
    }
    // A receipt of one queue is none of another.
    let body = json!({"receipts": [receipt(2)]});
    let answer = client.post("/v1/queues/other/ack", &body).with(200).json();
    assert_eq!(answer["failed"][0]["code"], "receipt_invalid", "{answer}");
    // Acked is acked.
    let body = json!({"receipts": [receipt(0)]});
    let answer = client.post("/v1/queues/q/ack", &body).with(200).json();
    assert_eq!(
        (&answer["acked"], answer["failed"].as_array().map(Vec::len)),
        (&json!(0), Some(1))
    );
}
