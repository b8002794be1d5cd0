//! What happens to an event that a plugin fails on: park, skip or reject; and parked events come back.

use millrace_tests::{Broker, Client};
use serde_json::{Value, json};

use crate::scene::{counter, drain, publish, queue, shipped, subscribe, topic, upload};

/// A subscription whose plugin fails on data that is not JSON.
fn redacting(policy: &str) -> Value {
    let rules = json!([{"action": "mask", "paths": ["/card"]}]);
    let plugin = json!({"name": "redactor", "version": "1.0.0", "config": {"rules": rules}});
    json!({"plugin": plugin, "to": {"queue": "q"}, "on_failure": policy})
}

fn set_up(client: &Client, policy: &str) {
    topic(client, "t");
    queue(client, "q");
    upload(client, "redactor", &shipped("field-redactor")).expect(201);
    subscribe(client, "t", "s", &redacting(policy));
}

fn publish_text(client: &Client, query: &str) -> millrace_tests::Answer {
    let path = format!("/v1/topics/t/messages{query}");
    client.send("POST", &path, &[("content-type", "text/plain")], b"no JSON")
}

const PARKED: &str = "/v1/topics/t/subscriptions/s/parked";

#[test]
fn a_parked_event_waits_and_is_redriven_through_the_mended_subscription() {
    let broker = Broker::start();
    let client = broker.client();
    set_up(&client, "park");
    let answer = publish_text(&client, "?explain=true").with(200).json();
    let explained = &answer["messages"][0]["subscriptions"][0];
    assert_eq!(explained["outcome"], "parked", "{answer}");
    assert_eq!(answer["messages"][0]["deliveries"], 0);
    publish(&client, "t", &json!({"card": 1}));
    assert_eq!(
        drain(&client, "q"),
        [json!({"card": "***"})],
        "the others go on"
    );

    let parked = client.get(PARKED).with(200).json();
    let items = parked["items"].as_array().expect("items");
    assert_eq!(items.len(), 1, "{parked}");
    assert_eq!(items[0]["plugin"], "redactor@1.0.0");
    assert_eq!(items[0]["event"]["data"], "no JSON");
    assert!(items[0]["code"].is_string(), "{parked}");

    // Nothing was mended: it is parked again, and still there once.
    let answer = client
        .post(&format!("{PARKED}/redrive"), &json!({}))
        .with(200)
        .json();
    assert_eq!(
        (&answer["redriven"], &answer["parked"]),
        (&json!(0), &json!(1)),
        "{answer}"
    );
    let mut mended = redacting("park");
    mended["plugin"]["config"]["not_json"] = json!("pass");
    client
        .put("/v1/topics/t/subscriptions/s", &mended)
        .expect(200);
    let answer = client
        .post(&format!("{PARKED}/redrive"), &json!({}))
        .with(200)
        .json();
    assert_eq!(answer["redriven"], 1, "{answer}");
    assert_eq!(drain(&client, "q"), [json!("no JSON")]);
    assert_eq!(client.get(PARKED).with(200).json()["items"], json!([]));
}

#[test]
fn skip_drops_the_event_and_says_so() {
    let broker = Broker::start();
    let client = broker.client();
    set_up(&client, "skip");
    let answer = publish_text(&client, "?explain=true").with(200).json();
    let explained = &answer["messages"][0]["subscriptions"][0];
    assert_eq!(explained["outcome"], "dropped", "{answer}");
    assert!(explained["reason"].is_string(), "{answer}");
    assert_eq!(counter(&client, "q", "ready"), 0);
    assert_eq!(client.get(PARKED).with(200).json()["items"], json!([]));
}

#[test]
fn reject_refuses_the_publish_and_nothing_is_delivered_anywhere() {
    let broker = Broker::start();
    let client = broker.client();
    set_up(&client, "reject");
    queue(&client, "other");
    subscribe(
        &client,
        "t",
        "a-neighbour",
        &json!({"to": {"queue": "other"}}),
    );
    publish_text(&client, "").refused(422, "rejected_by_plugin");
    assert_eq!(counter(&client, "other", "ready"), 0);
    publish(&client, "t", &json!({}));
    assert_eq!(counter(&client, "other", "ready"), 1);
}

#[test]
fn a_paused_subscription_parks_and_delivers_later() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    let subscription = |paused: bool| json!({"to": {"queue": "q"}, "paused": paused});
    subscribe(&client, "t", "s", &subscription(true));
    publish(&client, "t", &json!("later"));
    assert_eq!(counter(&client, "q", "ready"), 0);
    client
        .put("/v1/topics/t/subscriptions/s", &subscription(false))
        .expect(200);
    let answer = client
        .post(&format!("{PARKED}/redrive"), &json!({}))
        .with(200)
        .json();
    assert_eq!(answer["redriven"], 1, "{answer}");
    assert_eq!(drain(&client, "q"), [json!("later")]);
}
