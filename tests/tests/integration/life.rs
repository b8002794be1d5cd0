//! The life of an event, from publish through filter and plugin to ack.

use millrace_tests::Broker;
use serde_json::json;

use crate::scene::{
    counter, drain, publish, queue, receive, settle, shipped, subscribe, topic, upload,
};

#[test]
fn an_event_goes_through_filter_router_and_transform_and_is_acked_once() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "orders");
    for name in ["eu", "us", "masked", "tagged"] {
        queue(&client, name);
    }
    upload(&client, "content-router", &shipped("content-router")).expect(201);
    upload(&client, "field-redactor", &shipped("field-redactor")).expect(201);
    let rules = json!([
        {"data": {"/region": "eu"}, "to": ["eu"]},
        {"data": {"/region": "us"}, "to": ["us"]},
    ]);
    let router = json!({
        "plugin": {"name": "content-router", "version": "1.0.0", "config": {"rules": rules}},
        "to": {"destinations": {"eu": {"queue": "eu"}, "us": {"queue": "us"}}},
    });
    subscribe(&client, "orders", "by-region", &router);
    let rules = json!([{"action": "mask", "paths": ["/card"]}]);
    let masked = json!({
        "plugin": {"name": "field-redactor", "version": "1.0.0", "config": {"rules": rules}},
        "to": {"queue": "masked"},
    });
    subscribe(&client, "orders", "masked", &masked);
    let tagged = json!({"filter": {"tags": ["vip"]}, "to": {"queue": "tagged"}});
    subscribe(&client, "orders", "tagged", &tagged);

    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed",
        "tags": "vip,first", "data": {"region": "eu", "card": "4111"},
    });
    let headers = [("content-type", "application/cloudevents+json")];
    let path = "/v1/topics/orders/messages?explain=true";
    let answer = client.send("POST", path, &headers, event.to_string().as_bytes());
    let answer = answer.with(200).json();
    let message = &answer["messages"][0];
    assert_eq!(
        (&message["id"], &message["deliveries"]),
        (&json!("1"), &json!(3)),
        "{answer}"
    );
    let explained = &message["subscriptions"];
    assert_eq!(explained[0]["name"], "by-region");
    assert_eq!(explained[0]["outcome"], "delivered");
    assert_eq!(explained[0]["to"], json!(["eu"]));
    assert_eq!(explained[0]["plugin"], "content-router@1.0.0");

    let received = receive(&client, "eu", 10);
    assert_eq!(received.len(), 1);
    let delivered = &received[0]["event"];
    for field in ["specversion", "id", "source", "type", "tags", "data"] {
        assert_eq!(delivered[field], event[field], "{field} of {delivered}");
    }
    assert_eq!(received[0]["receive_count"], 1);
    assert!(receive(&client, "eu", 10).is_empty(), "it is leased");
    let acked = settle(&client, "eu", "ack", &received, json!({}))
        .with(200)
        .json();
    assert_eq!(acked, json!({"acked": 1, "failed": []}));
    assert_eq!(counter(&client, "eu", "leased"), 0);

    assert_eq!(drain(&client, "us"), [] as [serde_json::Value; 0]);
    assert_eq!(
        drain(&client, "masked"),
        [json!({"region": "eu", "card": "***"})]
    );
    assert_eq!(
        drain(&client, "tagged"),
        [json!({"region": "eu", "card": "4111"})]
    );
}

#[test]
fn an_event_that_no_subscription_takes_is_accepted_and_goes_nowhere() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "lonely");
    let message = publish(&client, "lonely", &json!({"a": 1}));
    assert_eq!(message["deliveries"], 0);
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart_and_what_was_acked_is_not() {
    let mut broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    upload(&client, "content-router", &shipped("content-router")).expect(201);
    let config = json!({"rules": [{"to": ["q"]}]});
    let plugin = json!({"name": "content-router", "version": "1.0.0", "config": config});
    let to = json!({"destinations": {"q": {"queue": "q"}}});
    subscribe(&client, "t", "all", &json!({"plugin": plugin, "to": to}));
    for number in 0..3 {
        publish(&client, "t", &json!(number));
    }
    let first = receive(&client, "q", 1);
    settle(&client, "q", "ack", &first, json!({})).expect(200);
    let leased = receive(&client, "q", 1);

    assert!(broker.stop().success());
    broker.restart();
    let client = broker.client();
    assert_eq!(counter(&client, "q", "ready"), 1);
    // A receipt outlives the process that gave it.
    let acked = settle(&client, "q", "ack", &leased, json!({}))
        .with(200)
        .json();
    assert_eq!(acked["acked"], 1);
    assert_eq!(drain(&client, "q"), [json!(2)]);
    // So do subscription and plugin.
    assert_eq!(publish(&client, "t", &json!(3))["deliveries"], 1);
    assert_eq!(drain(&client, "q"), [json!(3)]);
}
