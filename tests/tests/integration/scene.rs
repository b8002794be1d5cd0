//! What most tests begin with: topics, queues, subscriptions and events of the plainest kind.

use std::time::{Duration, Instant};

use millrace_tests::{Answer, Client, repository};
use serde_json::{Value, json};

/// Creates a queue with the defaults.
#[track_caller]
pub(crate) fn queue(client: &Client, name: &str) {
    queue_with(client, name, &json!({}));
}

/// Creates a queue.
#[track_caller]
pub(crate) fn queue_with(client: &Client, name: &str, config: &Value) {
    client
        .put(&format!("/v1/queues/{name}"), config)
        .expect(201);
}

/// Creates a topic with the defaults.
#[track_caller]
pub(crate) fn topic(client: &Client, name: &str) {
    client
        .put(&format!("/v1/topics/{name}"), &json!({}))
        .expect(201);
}

/// Creates a subscription.
#[track_caller]
pub(crate) fn subscribe(client: &Client, topic: &str, name: &str, config: &Value) {
    let path = format!("/v1/topics/{topic}/subscriptions/{name}");
    client.put(&path, config).expect(201);
}

/// Publishes a plain JSON body; the broker makes an event of it.
#[track_caller]
pub(crate) fn publish(client: &Client, topic: &str, data: &Value) -> Value {
    let answer = client.post(&format!("/v1/topics/{topic}/messages"), data);
    answer.with(200).json()["messages"][0].clone()
}

/// Sends a plain JSON body straight to a queue.
#[track_caller]
pub(crate) fn send(client: &Client, queue: &str, data: &Value) -> Value {
    let answer = client.post(&format!("/v1/queues/{queue}/messages"), data);
    answer.with(200).json()["messages"][0].clone()
}

/// Receives what is there, at once.
#[track_caller]
pub(crate) fn receive(client: &Client, queue: &str, max: u32) -> Vec<Value> {
    receive_with(client, queue, &json!({ "max": max }))
}

/// Receives.
#[track_caller]
pub(crate) fn receive_with(client: &Client, queue: &str, request: &Value) -> Vec<Value> {
    let answer = client.post(&format!("/v1/queues/{queue}/receive"), request);
    let answer = answer.with(200).json();
    answer["messages"].as_array().expect("a list").clone()
}

/// Receives everything that is there and acks it; gives the data of the events.
#[track_caller]
pub(crate) fn drain(client: &Client, queue: &str) -> Vec<Value> {
    let messages = receive(client, queue, 1000);
    if !messages.is_empty() {
        let answer = settle(client, queue, "ack", &messages, json!({}))
            .with(200)
            .json();
        assert_eq!(answer["acked"], messages.len(), "{answer}");
    }
    messages
        .into_iter()
        .map(|message| message["event"]["data"].clone())
        .collect()
}

/// ack, nack or extend of received messages, with more fields.
#[track_caller]
pub(crate) fn settle(
    client: &Client,
    queue: &str,
    verb: &str,
    messages: &[Value],
    mut fields: Value,
) -> Answer {
    let receipts: Vec<&Value> = messages.iter().map(|message| &message["receipt"]).collect();
    fields["receipts"] = json!(receipts);
    client.post(&format!("/v1/queues/{queue}/{verb}"), &fields)
}

/// A counter of a queue.
#[track_caller]
pub(crate) fn counter(client: &Client, queue: &str, name: &str) -> u64 {
    let shown = client.get(&format!("/v1/queues/{queue}")).with(200).json();
    let value = shown["counters"].get(name).or_else(|| shown.get(name));
    value
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {name} in {shown}"))
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, most: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < most, "not within {most:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A plugin that ships with the broker, as `plugins/build` made it.
pub(crate) fn shipped(name: &str) -> Vec<u8> {
    let path = repository().join(format!("plugins/guests/dist/{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run plugins/build", path.display()))
}

/// Uploads a component as NAME 1.0.0.
#[track_caller]
pub(crate) fn upload(client: &Client, name: &str, component: &[u8]) -> Answer {
    upload_version(client, name, "1.0.0", component)
}

/// Uploads a component.
#[track_caller]
pub(crate) fn upload_version(
    client: &Client,
    name: &str,
    version: &str,
    component: &[u8],
) -> Answer {
    let path = format!("/v1/plugins/{name}/versions/{version}");
    client.send(
        "PUT",
        &path,
        &[("content-type", "application/wasm")],
        component,
    )
}
