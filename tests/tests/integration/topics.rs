//! Topics and subscriptions: filters, chains, schemas, guards.

use millrace_tests::{Broker, Client};
use serde_json::{Value, json};

use crate::scene::{drain, publish, queue, subscribe, topic};

/// Publishes a CloudEvent with these attributes besides the required ones.
fn publish_event(client: &Client, topic: &str, attributes: &Value) -> u64 {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for (name, value) in attributes.as_object().expect("an object") {
        event[name] = value.clone();
    }
    let headers = [("content-type", "application/cloudevents+json")];
    let path = format!("/v1/topics/{topic}/messages");
    let answer = client.send("POST", &path, &headers, event.to_string().as_bytes());
    let answer = answer.with(200).json();
    answer["messages"][0]["deliveries"]
        .as_u64()
        .expect("a count")
}

#[test]
fn filters_take_what_they_say() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    let filters = json!({
        "tags": {"tags": ["a", "b"]},
        "keys": {"keys": ["order.*.eu", "audit.#"]},
        "attributes": {"match": {"type": [{"prefix": "com."}], "level": [{"numeric": [">=", 3]}]}},
        "data": {"match": {"region": ["eu"], "total": [{"numeric": [">", 100]}]}, "scope": "data"},
    });
    for (name, filter) in filters.as_object().expect("an object") {
        subscribe(
            &client,
            "t",
            name,
            &json!({"filter": filter, "to": {"queue": "q"}}),
        );
    }
    let cases = [
        (json!({}), 0),
        (json!({"tags": "c,b"}), 1),
        (json!({"tags": "c"}), 0),
        (json!({"routingkey": "order.new.eu"}), 1),
        (json!({"routingkey": "order.new.old.eu"}), 0),
        (json!({"routingkey": "audit"}), 1),
        (json!({"routingkey": "audit.a.b.c"}), 1),
        (json!({"type": "com.x", "level": 3}), 1),
        (json!({"type": "com.x", "level": 2}), 0),
        (json!({"type": "org.x", "level": 3}), 0),
        (json!({"data": {"region": "eu", "total": 101}}), 1),
        (json!({"data": {"region": "eu", "total": 100}}), 0),
        (
            json!({"tags": "a", "routingkey": "audit.x", "data": {"region": "eu", "total": 1e3}}),
            3,
        ),
    ];
    for (attributes, deliveries) in cases {
        let got = publish_event(&client, "t", &attributes);
        assert_eq!(got, deliveries, "{attributes}");
    }
}

#[test]
fn topics_chain_to_eight_hops_and_no_further_and_never_in_a_circle() {
    let broker = Broker::start();
    let client = broker.client();
    queue(&client, "end");
    for number in 0..=9 {
        topic(&client, &format!("t{number}"));
    }
    let forward = |from: u32, to: u32| {
        let path = format!("/v1/topics/t{from}/subscriptions/on");
        client.put(&path, &json!({"to": {"topic": format!("t{to}")}}))
    };
    let mut longest = 0;
    for number in 0..9 {
        let answer = forward(number, number + 1);
        if answer.status != 201 {
            answer.refused(422, "too_many_hops");
            break;
        }
        longest = number + 1;
    }
    assert!(
        (7..=8).contains(&longest),
        "the longest chain had {longest} links"
    );
    subscribe(
        &client,
        &format!("t{longest}"),
        "end",
        &json!({"to": {"queue": "end"}}),
    );
    publish(&client, "t0", &json!("far"));
    assert_eq!(drain(&client, "end"), [json!("far")]);
    let back = client.put(
        "/v1/topics/t1/subscriptions/back",
        &json!({"to": {"topic": "t0"}}),
    );
    back.refused(422, "topic_cycle");
}

#[test]
fn a_topic_refuses_data_that_breaks_its_schema_and_says_where() {
    let broker = Broker::start();
    let client = broker.client();
    let schema = json!({
        "type": "object", "required": ["total"],
        "properties": {"total": {"type": "number", "minimum": 0}},
    });
    client
        .put("/v1/topics/strict", &json!({"schema": schema}))
        .expect(201);
    client
        .put(
            "/v1/topics/warn",
            &json!({"schema": schema, "schema_mode": "warn"}),
        )
        .expect(201);
    publish(&client, "strict", &json!({"total": 1}));
    let answer = client.post("/v1/topics/strict/messages", &json!({"total": -1}));
    let problem = answer.refused(422, "schema_violation");
    let pointer = problem["errors"][0]["pointer"].as_str().expect("a pointer");
    assert!(pointer.ends_with("/total"), "{problem}");
    publish(&client, "warn", &json!({"total": -1}));
    let broken = client.put("/v1/topics/broken", &json!({"schema": {"type": "strnig"}}));
    assert!((400..500).contains(&broken.status), "{}", broken.text());
}

#[test]
fn a_topic_with_subscriptions_is_deleted_only_with_cascade() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    subscribe(&client, "t", "s", &json!({"to": {"queue": "q"}}));
    client.delete("/v1/topics/t").refused(409, "in_use");
    client.delete("/v1/topics/t?cascade=true").expect(204);
    client.get("/v1/topics/t").refused(404, "topic_not_found");
    client
        .post("/v1/topics/t/messages", &json!(1))
        .refused(404, "topic_not_found");
}

#[test]
fn a_queue_that_a_subscription_uses_stays() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    subscribe(&client, "t", "s", &json!({"to": {"queue": "q"}}));
    client.delete("/v1/queues/q").refused(409, "in_use");
    client.delete("/v1/topics/t/subscriptions/s").expect(204);
    client.delete("/v1/queues/q").expect(204);
}

#[test]
fn a_subscription_to_what_is_not_there_is_refused() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    let to = |to: Value| client.put("/v1/topics/t/subscriptions/s", &json!({ "to": to }));
    to(json!({"queue": "nowhere"})).refused(404, "queue_not_found");
    to(json!({"topic": "nowhere"})).refused(404, "topic_not_found");
    let plugin = json!({"name": "nobody", "version": "1.0.0"});
    let body = json!({"plugin": plugin, "to": {"topic": "t"}});
    let answer = client.put("/v1/topics/t/subscriptions/s", &body);
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    client
        .get("/v1/topics/t/subscriptions/s")
        .refused(404, "subscription_not_found");
}

#[test]
fn several_destinations_without_a_plugin_all_get_the_event() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "a");
    queue(&client, "b");
    let to = json!({"destinations": {"one": {"queue": "a"}, "two": {"queue": "b"}}});
    subscribe(&client, "t", "s", &json!({ "to": to }));
    assert_eq!(publish(&client, "t", &json!(7))["deliveries"], 2);
    assert_eq!(drain(&client, "a"), [json!(7)]);
    assert_eq!(drain(&client, "b"), [json!(7)]);
}
