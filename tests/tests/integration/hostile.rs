//! A plugin that misbehaves while events wait: each event is parked alone, with the reason, and nobody else waits.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millrace_tests::{Answer, Broker, Client, repository};
use serde_json::json;

use crate::scene::{drain, publish, queue, shipped, subscribe, topic, upload};

/// Longest publish to another topic while plugins loop.
const CALM_MAX: Duration = Duration::from_secs(1);

/// A router plugin that does what the first letter of an event's type says: see its text.
fn moody() -> Vec<u8> {
    let folder = repository().join("plugins/host/tests/host/fixtures");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a fixture");
    let text = read("shell.wat").replace("{{core module}}", &read("moody.wat"));
    wat::parse_str(text).expect("right text")
}

fn set_up(client: &Client) {
    topic(client, "stuck");
    queue(client, "q");
    upload(client, "moody", &moody()).expect(201);
    let plugin = json!({"name": "moody", "version": "1.0.0"});
    let to = json!({"destinations": {"good": {"queue": "q"}}});
    subscribe(client, "stuck", "s", &json!({"plugin": plugin, "to": to}));
}

fn publish_kinds(client: &Client, kinds: &[&str]) -> Answer {
    let events = kinds.iter().enumerate().map(|(at, kind)| {
        json!({"specversion": "1.0", "id": at.to_string(), "source": "/s", "type": kind, "data": kind})
    });
    let body = serde_json::Value::from_iter(events).to_string();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    client.send(
        "POST",
        "/v1/topics/stuck/messages",
        &headers,
        body.as_bytes(),
    )
}

#[test]
fn each_misbehaviour_parks_its_event_alone_with_the_reason() {
    let broker = Broker::start();
    let client = broker.client();
    set_up(&client);
    let kinds = [
        ("a", None),
        ("trap", Some("plugin_trap")),
        ("loop", Some("plugin_timeout")),
        ("b", None),
        ("grow", Some("plugin_out_of_memory")),
        ("huge", Some("plugin_output_too_large")),
        ("wrong", Some("plugin_contract")),
        ("unknown", Some("unknown_destination")),
        ("c", None),
    ];
    let names = kinds.map(|(kind, _)| kind);
    let answer = publish_kinds(&client, &names).with(200).json();
    for (result, (kind, code)) in answer["messages"]
        .as_array()
        .expect("results")
        .iter()
        .zip(kinds)
    {
        assert_eq!(
            result["deliveries"],
            u64::from(code.is_none()),
            "{kind}: {answer}"
        );
    }
    assert_eq!(drain(&client, "q"), [json!("a"), json!("b"), json!("c")]);
    let parked = client
        .get("/v1/topics/stuck/subscriptions/s/parked")
        .with(200)
        .json();
    let parked = parked["items"].as_array().expect("items");
    let found: Vec<(&str, Option<&str>)> = parked
        .iter()
        .map(|item| {
            (
                item["event"]["type"].as_str().expect("a type"),
                item["code"].as_str(),
            )
        })
        .collect();
    let wanted = kinds.into_iter().filter(|(_, code)| code.is_some());
    assert_eq!(found, wanted.collect::<Vec<_>>());
}

#[test]
fn a_plugin_that_never_returns_delays_nobody_elses_topic() {
    let broker = Broker::start();
    let client = broker.client();
    set_up(&client);
    topic(&client, "calm");
    queue(&client, "calm");
    upload(&client, "content-router", &shipped("content-router")).expect(201);
    let config = json!({"rules": [{"to": ["calm"]}]});
    let plugin = json!({"name": "content-router", "version": "1.0.0", "config": config});
    let to = json!({"destinations": {"calm": {"queue": "calm"}}});
    subscribe(&client, "calm", "s", &json!({"plugin": plugin, "to": to}));
    publish(&client, "calm", &json!("warm"));

    let going = AtomicBool::new(true);
    let (looped, slowest) = std::thread::scope(|scope| {
        let loopers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| publish_loops(&broker.client(), &going)))
            .collect();
        let slowest = slowest_publish(&client, Duration::from_secs(5));
        going.store(false, Ordering::Relaxed);
        let looped: usize = loopers
            .into_iter()
            .map(|looper| looper.join().expect("right answers"))
            .sum();
        (looped, slowest)
    });
    assert!(looped > 0, "the plugin did loop");
    assert!(
        slowest < CALM_MAX,
        "a publish to another topic took {slowest:?}"
    );
}

/// Publishes events that the plugin loops on. Being told to come back later is right, waiting for ever is not.
fn publish_loops(client: &Client, going: &AtomicBool) -> usize {
    let mut parked = 0;
    while going.load(Ordering::Relaxed) {
        let answer = publish_kinds(client, &["loop"]);
        assert!([200, 429].contains(&answer.status), "{}", answer.text());
        parked += usize::from(answer.status == 200);
    }
    parked
}

fn slowest_publish(client: &Client, time: Duration) -> Duration {
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < time {
        let sent = Instant::now();
        assert_eq!(publish(client, "calm", &json!("x"))["deliveries"], 1);
        slowest = slowest.max(sent.elapsed());
    }
    slowest
}
