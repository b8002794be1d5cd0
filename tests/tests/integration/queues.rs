//! Queues: leases, delays, retention, dead letters, peek, purge, long polls.

use std::time::{Duration, Instant};

use millrace_tests::Broker;
use serde_json::{Value, json};

use crate::scene::{
    counter, drain, eventually, queue, queue_with, receive, receive_with, send, settle,
};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_lease_that_ends_gives_the_message_back_and_its_receipt_is_worthless() {
    let broker = Broker::start();
    let client = broker.client();
    queue_with(&client, "q", &json!({"visibility_seconds": 1}));
    send(&client, "q", &json!("x"));
    let first = receive(&client, "q", 1);
    let mut second = Vec::new();
    eventually("the lease ends", SOON, || {
        second = receive(&client, "q", 1);
        !second.is_empty()
    });
    assert_eq!(second[0]["receive_count"], 2);
    assert_eq!(second[0]["sequence"], first[0]["sequence"]);
    let answer = settle(&client, "q", "ack", &first, json!({}))
        .with(200)
        .json();
    assert_eq!(answer["acked"], 0);
    assert_eq!(answer["failed"][0]["code"], "receipt_expired");
    assert_eq!(answer["failed"][0]["receipt"], first[0]["receipt"]);
    let answer = settle(&client, "q", "ack", &second, json!({}))
        .with(200)
        .json();
    assert_eq!(answer["acked"], 1);
}

#[test]
fn extend_keeps_a_lease_and_nack_ends_it() {
    let broker = Broker::start();
    let client = broker.client();
    queue_with(&client, "q", &json!({"visibility_seconds": 1}));
    send(&client, "q", &json!("x"));
    let leased = receive(&client, "q", 1);
    let answer = settle(
        &client,
        "q",
        "extend",
        &leased,
        json!({"visibility_seconds": 60}),
    );
    assert_eq!(answer.with(200).json()["extended"], 1);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(receive(&client, "q", 1).is_empty(), "extended");
    let answer = settle(&client, "q", "nack", &leased, json!({}));
    assert_eq!(answer.with(200).json()["nacked"], 1);
    let again = receive(&client, "q", 1);
    assert_eq!(again[0]["receive_count"], 2);
    let answer = settle(&client, "q", "nack", &again, json!({"delay_seconds": 1}));
    assert_eq!(answer.with(200).json()["nacked"], 1);
    assert!(receive(&client, "q", 1).is_empty(), "nacked with a delay");
    eventually("the delay ends", SOON, || {
        !receive(&client, "q", 1).is_empty()
    });
}

#[test]
fn delays_hold_messages_back() {
    let broker = Broker::start();
    let client = broker.client();
    queue_with(&client, "slow", &json!({"delay_seconds": 2}));
    queue(&client, "fast");
    send(&client, "slow", &json!("by the queue"));
    let headers = [
        ("content-type", "application/json"),
        ("millrace-delay-seconds", "2"),
    ];
    client
        .send(
            "POST",
            "/v1/queues/fast/messages",
            &headers,
            b"\"by the sender\"",
        )
        .expect(200);
    for name in ["slow", "fast"] {
        assert!(receive(&client, name, 1).is_empty(), "{name}");
    }
    for name in ["slow", "fast"] {
        eventually("the delay ends", SOON, || !drain(&client, name).is_empty());
    }
}

#[test]
fn a_message_received_too_often_becomes_a_dead_letter_and_can_be_redriven() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "dead");
    let dead_letter = json!({"queue": "dead", "max_receives": 2});
    queue_with(
        &client,
        "q",
        &json!({"dead_letter": dead_letter, "visibility_seconds": 60}),
    );
    send(&client, "q", &json!("poison"));
    for _ in 0..2 {
        let leased = receive(&client, "q", 1);
        settle(&client, "q", "nack", &leased, json!({})).expect(200);
    }
    eventually("it is a dead letter", SOON, || {
        counter(&client, "dead", "ready") == 1
    });
    assert!(receive(&client, "q", 1).is_empty());
    let dead = receive(&client, "dead", 1);
    assert_eq!(dead[0]["dead_letter_source"], "q");
    assert_eq!(dead[0]["event"]["data"], "poison");
    settle(&client, "dead", "nack", &dead, json!({})).expect(200);

    let moved = client
        .post("/v1/queues/dead/redrive", &json!({}))
        .with(200)
        .json();
    assert_eq!(moved["moved"], 1);
    assert_eq!(counter(&client, "dead", "ready"), 0);
    assert_eq!(drain(&client, "q"), [json!("poison")]);
}

#[test]
fn peek_shows_messages_without_leasing_or_counting() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    for number in 0..5 {
        send(&client, "q", &json!(number));
    }
    let leased = receive(&client, "q", 1);
    let page = |query: &str| {
        client
            .get(&format!("/v1/queues/q/messages?{query}"))
            .with(200)
            .json()
    };
    let data = |page: &Value| -> Vec<Value> {
        let items = page["items"].as_array().expect("items");
        items
            .iter()
            .map(|item| item["event"]["data"].clone())
            .collect()
    };
    assert_eq!(data(&page("state=ready")), [1, 2, 3, 4].map(Value::from));
    assert_eq!(data(&page("state=leased")), [json!(0)]);
    let first = page("state=ready&limit=2");
    assert_eq!(data(&first), [1, 2].map(Value::from));
    let after = first["next"]
        .as_str()
        .map_or_else(|| first["next"].to_string(), str::to_owned);
    assert_eq!(
        data(&page(&format!("state=ready&limit=2&after={after}"))),
        [3, 4].map(Value::from)
    );
    settle(&client, "q", "nack", &leased, json!({})).expect(200);
    assert_eq!(receive(&client, "q", 5).len(), 5, "peeking leased nothing");
}

#[test]
fn purge_empties_a_queue() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    for number in 0..50 {
        send(&client, "q", &json!(number));
    }
    let leased = receive(&client, "q", 10);
    let purged = client
        .post("/v1/queues/q/purge", &json!({}))
        .with(200)
        .json();
    assert!(purged["purged"].as_u64() >= Some(40), "{purged}");
    assert!(receive(&client, "q", 10).is_empty());
    assert_eq!(counter(&client, "q", "ready"), 0);
    let answer = settle(&client, "q", "ack", &leased, json!({}))
        .with(200)
        .json();
    assert_eq!(
        answer["acked"]
            .as_u64()
            .map(|acked| acked + answer["failed"].as_array().map_or(0, Vec::len) as u64),
        Some(10)
    );
    send(&client, "q", &json!("after"));
    assert_eq!(drain(&client, "q"), [json!("after")]);
}

#[test]
fn retention_drops_what_is_too_old() {
    let broker = Broker::start();
    let client = broker.client();
    queue_with(&client, "short", &json!({"retention_seconds": 60}));
    queue(&client, "long");
    send(&client, "short", &json!("x"));
    send(&client, "long", &json!("x"));
    let began = Instant::now();
    eventually("it is dropped", Duration::from_secs(90), || {
        std::thread::sleep(Duration::from_millis(500));
        counter(&client, "short", "ready") == 0
    });
    assert!(
        began.elapsed() > Duration::from_secs(55),
        "too early: {:?}",
        began.elapsed()
    );
    assert_eq!(counter(&client, "long", "ready"), 1);
}

#[test]
fn a_long_poll_answers_at_the_first_message() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let began = Instant::now();
    let poll = client.clone();
    let poll = std::thread::spawn(move || {
        let received = receive_with(&poll, "q", &json!({"max": 10, "wait_seconds": 20}));
        (received, Instant::now())
    });
    std::thread::sleep(Duration::from_millis(500));
    let sent = Instant::now();
    send(&client, "q", &json!("wake up"));
    let (received, woken) = poll.join().expect("the poll is answered");
    assert_eq!(received.len(), 1);
    assert!(
        woken > sent && woken - sent < Duration::from_secs(2),
        "{:?}",
        woken - sent
    );
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_empty_long_poll_ends_with_nothing_after_its_wait() {
    let broker = Broker::start();
    let client = broker.client();
    queue_with(&client, "q", &json!({"wait_seconds": 1}));
    let began = Instant::now();
    assert!(receive(&client, "q", 1).is_empty());
    let waited = began.elapsed();
    assert!(
        (Duration::from_millis(900)..SOON).contains(&waited),
        "{waited:?}"
    );
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let broker = Broker::start();
    let client = broker.client();
    queue_with(&client, "q", &json!({"max_entries": 2}));
    send(&client, "q", &json!(1));
    send(&client, "q", &json!(2));
    let refused = client.post("/v1/queues/q/messages", &json!(3));
    assert!(refused.header("retry-after").is_some());
    refused.refused(429, "queue_full");
    assert_eq!(drain(&client, "q").len(), 2);
    send(&client, "q", &json!(3));
}

#[test]
fn a_queue_is_created_confirmed_updated_and_guarded_by_its_etag() {
    let broker = Broker::start();
    let client = broker.client();
    let created = client.put("/v1/queues/q", &json!({})).with(201);
    let etag = created.header("etag").expect("an etag").to_owned();
    let confirmed = client.put("/v1/queues/q", &json!({})).with(200);
    assert_eq!(
        confirmed.header("etag"),
        Some(etag.as_str()),
        "nothing changed"
    );
    let longer = json!({"visibility_seconds": 99}).to_string();
    let put = |etag: &str| {
        let headers = [("content-type", "application/json"), ("if-match", etag)];
        client.send("PUT", "/v1/queues/q", &headers, longer.as_bytes())
    };
    put("\"999999\"").refused(412, "precondition_failed");
    let updated = put(&etag).with(200);
    assert_ne!(updated.header("etag"), Some(etag.as_str()));
    put(&etag).refused(412, "precondition_failed");
    let shown = client.get("/v1/queues/q").with(200);
    assert_eq!(shown.header("etag"), updated.header("etag"));
    assert_eq!(find(&shown.json(), "visibility_seconds"), 99);
    client.delete("/v1/queues/q").expect(204);
    client.get("/v1/queues/q").refused(404, "queue_not_found");
}

fn find(shown: &Value, field: &str) -> Value {
    shown["config"]
        .get(field)
        .or_else(|| shown.get(field))
        .cloned()
        .unwrap_or_default()
}

#[test]
fn lists_are_paged_in_order() {
    let broker = Broker::start();
    let client = broker.client();
    for name in ["b2", "a1", "b1", "b3", "c1"] {
        queue(&client, name);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let page = client.get("/v1/queues?prefix=b&limit=2").with(200).json();
    assert_eq!(names(&page), ["b1", "b2"]);
    let next = page["next"].as_str().expect("there is more");
    let page = client
        .get(&format!("/v1/queues?prefix=b&limit=2&after={next}"))
        .with(200)
        .json();
    assert_eq!(names(&page), ["b3"]);
    assert!(page["next"].is_null());
    assert_eq!(names(&client.get("/v1/queues").with(200).json()).len(), 5);
}
