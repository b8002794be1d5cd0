//! A door before several data groups: what clients see is the same.

use millrace_model::{GroupId, Ledger as _};
use serde_json::{Value, json};

use super::rig::{Door, EVENT};
use crate::GatewayConfig;

/// A topic whose subscription leads to a queue of its own group, and to one of the other.
async fn door() -> Door {
    let door = Door::on(GatewayConfig::default(), 2);
    door.put("/v1/topics/orders", &json!({})).await.expect(201);
    for queue in ["orders-email", "work"] {
        door.put(&format!("/v1/queues/{queue}"), &json!({}))
            .await
            .expect(201);
        let to = json!({"to": {"queue": queue}});
        door.put(&format!("/v1/topics/orders/subscriptions/{queue}"), &to)
            .await
            .expect(201);
    }
    let topology = door.ledger.topology();
    assert_eq!(topology.queues["orders-email"].group, GroupId(1));
    assert_eq!(topology.queues["work"].group, GroupId(2));
    door
}

fn events(messages: &[Value]) -> Vec<&Value> {
    messages.iter().map(|message| &message["event"]).collect()
}

async fn publish(door: &Door, id: &str) -> Value {
    let event = json!({"specversion": "1.0", "id": id, "source": "/t", "type": "t"});
    let path = "/v1/topics/orders/messages";
    let answer = door.call("POST", path, EVENT, event.to_string()).await;
    answer.expect(200).json()
}

#[tokio::test]
async fn an_event_reaches_queues_of_both_groups() {
    let door = door().await;
    let answer = publish(&door, "one").await;
    assert_eq!(answer["messages"][0]["deliveries"], 2);
    let near = door.receive_of("orders-email").await;
    let far = door.receive().await;
    assert_eq!(near.len(), 1);
    assert_eq!(events(&near), events(&far));
    let body = json!({"receipts": [far[0]["receipt"]]});
    let acked = door.post("/v1/queues/work/ack", &body).await.expect(200);
    assert_eq!(acked.json()["acked"], 1);
}

#[tokio::test]
async fn parked_events_are_redriven_into_both_groups() {
    let door = door().await;
    let path = "/v1/topics/orders/subscriptions/work";
    let paused = json!({"to": {"queue": "work"}, "paused": true});
    door.put(path, &paused).await.expect(200);
    publish(&door, "one").await;
    assert_eq!(door.receive().await, Vec::<Value>::new());
    let resumed = json!({"to": {"queue": "work"}});
    door.put(path, &resumed).await.expect(200);
    let path = format!("{path}/parked/redrive");
    let redriven = door.post(&path, &json!({})).await.expect(200).json();
    assert_eq!(redriven, json!({"redriven": 1, "parked": 0}));
    assert_eq!(door.receive().await.len(), 1);
}

#[tokio::test]
async fn messages_are_redriven_to_a_queue_of_another_group() {
    let door = door().await;
    door.call("POST", "/v1/queues/work/messages", &[], "one")
        .await
        .expect(200);
    let to = json!({"to": "orders-email"});
    let moved = door.post("/v1/queues/work/redrive", &to).await.expect(200);
    assert_eq!(moved.json(), json!({"moved": 1}));
    assert_eq!(door.receive_of("orders-email").await.len(), 1);
}

#[tokio::test]
async fn a_dead_letter_queue_and_its_source_stay_together() {
    let door = door().await;
    let rule = |queue: &str| json!({"dead_letter": {"queue": queue, "max_receives": 3}});
    let apart = door.put("/v1/queues/work", &rule("orders-email")).await;
    assert_eq!(apart.expect(409).code(), "already_exists");
    for queue in ["one", "two", "three"] {
        let path = format!("/v1/queues/{queue}");
        door.put(&path, &rule("work")).await.expect(201);
    }
}
