//! A door before queues that move to another group.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::command::CatalogCommand;
use millrace_model::{Command, FormatVersion, GroupId, Ledger as _, Proposal};
use serde_json::{Value, json};

use super::rig::{Door, EVENT};
use crate::GatewayConfig;

/// A door before two groups that know of moves; the queue `work` is in the first.
async fn door() -> Door {
    let door = Door::on(GatewayConfig::default(), 2);
    raise(&door).await;
    door.put("/v1/queues/work", &json!({})).await.expect(201);
    assert_eq!(door.ledger.topology().queues["work"].group, GroupId(1));
    door
}

async fn raise(door: &Door) {
    let to = FormatVersion::MAX;
    let raise = Command::Catalog(CatalogCommand::RaiseVersion { to });
    let raised = door.ledger.commit(GroupId::META, Proposal::bare(raise));
    raised.await.unwrap();
}

async fn move_to(door: &Door, queue: &str, group: u32) -> super::rig::Answer {
    let body = json!({"queue": queue, "group": group});
    door.post("/v1/cluster/move", &body).await
}

async fn send(door: &Door, text: &str, headers: &[(&str, &str)]) -> Value {
    let path = "/v1/queues/work/messages";
    let sent = door.call("POST", path, headers, text.to_owned()).await;
    sent.expect(200).json()["messages"][0]["sequence"].clone()
}

#[tokio::test]
async fn a_queue_moves_with_what_is_in_it() {
    let door = door().await;
    for text in ["one", "two", "three"] {
        send(&door, text, &[]).await;
    }
    let leased = &door
        .post("/v1/queues/work/receive", &json!({}))
        .await
        .expect(200)
        .json()["messages"][0];
    let answer = move_to(&door, "work", 2).await.expect(200).json();
    let there = json!({"queue": "work", "group": 2, "is_moving": false, "entries_left": 0});
    assert_eq!(answer, there);
    let shown = door.get("/v1/queues/work").await.expect(200).json();
    assert_eq!(shown["group"], 2);
    assert_eq!(shown["moving"], Value::Null);
    assert_eq!(shown["counters"]["leased"], 1);
    assert_eq!(shown["counters"]["ready"], 2);
    assert_eq!(send(&door, "four", &[]).await, 4, "sequences go on");
    let receipts = json!({"receipts": [leased["receipt"]]});
    let acked = door.post("/v1/queues/work/ack", &receipts).await;
    assert_eq!(acked.expect(200).json()["acked"], 1, "receipts stay valid");
    let sequences: Vec<_> = door
        .receive()
        .await
        .iter()
        .map(|it| it["sequence"].clone())
        .collect();
    assert_eq!(sequences, [2, 3, 4], "and so does the order");
    // Asked again it is there.
    assert_eq!(move_to(&door, "work", 2).await.expect(200).json(), there);
}

#[tokio::test]
async fn a_move_says_how_far_it_is_and_takes_nobody_else() {
    let door = door().await;
    let rule = json!({"dead_letter": {"queue": "work", "max_receives": 3}});
    door.put("/v1/queues/source", &rule).await.expect(201);
    for text in ["one", "two"] {
        send(&door, text, &[]).await;
    }
    door.ledger.hold_moves(true);
    let expected = json!({
        "queue": "work", "group": 2, "is_moving": true, "from": 1, "queues": ["source", "work"], "entries_left": 2
    });
    for _ in 0..2 {
        let answer = move_to(&door, "work", 2).await.expect(202).json();
        assert_eq!(answer, expected, "asked again it is the same move");
    }
    door.ledger.leave_moves();
    let back = move_to(&door, "work", 1).await.expect(409);
    assert_eq!(back.code(), "move_in_progress");
    let untied = door.put("/v1/queues/source", &json!({})).await.expect(409);
    assert_eq!(untied.code(), "move_in_progress");
    let rule =
        json!({"visibility_seconds": 7, "dead_letter": {"queue": "work", "max_receives": 3}});
    let shown = door
        .put("/v1/queues/source", &rule)
        .await
        .expect(200)
        .json();
    assert_eq!(shown["moving"], json!({"from": 1, "to": 2}));
    door.ledger.begin_moves();
    let shown = door.get("/v1/queues/work").await.expect(200).json();
    assert_eq!(
        shown["moving"],
        json!({"from": 1, "to": 2, "entries_left": 2})
    );
    assert_eq!(shown["counters"]["ready"], 2, "those that come count");
    door.ledger.hold_moves(false);
    assert_eq!(
        move_to(&door, "work", 2).await.expect(200).json()["entries_left"],
        0
    );
    let shown = door.get("/v1/queues/source").await.expect(200).json();
    assert_eq!(
        (&shown["group"], &shown["visibility_seconds"]),
        (&json!(2), &json!(7))
    );
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_queue_that_moves_and_give_up_after_a_while() {
    let door = Arc::new(door().await);
    send(&door, "one", &[]).await;
    let leased = door.receive().await;
    door.ledger.hold_moves(true);
    move_to(&door, "work", 2).await.expect(202);
    door.ledger.leave_moves();
    let paths = ["send", "receive", "ack", "purge", "peek"];
    let receipts = json!({"receipts": [leased[0]["receipt"]]});
    for path in paths {
        let refused = match path {
            "send" => {
                door.call("POST", "/v1/queues/work/messages", &[], "two")
                    .await
            }
            "peek" => door.get("/v1/queues/work/messages").await,
            "ack" => door.post("/v1/queues/work/ack", &receipts).await,
            path => {
                door.post(&format!("/v1/queues/work/{path}"), &json!({}))
                    .await
            }
        };
        let refused = refused.expect(503);
        assert_eq!(refused.code(), "queue_moving", "{path}");
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("work"), "{path}: {detail}");
    }
    // Begun, it serves all but what has not come.
    door.ledger.begin_moves();
    assert_eq!(send(&door, "two", &[]).await, 2);
    assert_eq!(door.receive().await, Vec::<Value>::new(), "the order stays");
    let late = door
        .post("/v1/queues/work/ack", &receipts)
        .await
        .expect(200)
        .json();
    assert_eq!(late["failed"][0]["code"], "queue_moving");
    let waits = Arc::clone(&door);
    let waits = tokio::spawn(async move { waits.post("/v1/queues/work/ack", &receipts).await });
    let polls = Arc::clone(&door);
    let polls = tokio::spawn(async move {
        let body = json!({"wait_seconds": 20});
        polls.post("/v1/queues/work/receive", &body).await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    door.ledger.hold_moves(false);
    assert_eq!(waits.await.unwrap().expect(200).json()["acked"], 1);
    let got = polls.await.unwrap().expect(200).json();
    assert_eq!(got["messages"][0]["sequence"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_accepted_once_before_during_and_after_a_move() {
    let door = door().await;
    let key = |key| [("idempotency-key", key)];
    assert_eq!(send(&door, "one", &key("one")).await, 1);
    door.ledger.hold_moves(true);
    move_to(&door, "work", 2).await.expect(202);
    door.ledger.begin_moves();
    assert_eq!(send(&door, "one", &key("one")).await, 1);
    assert_eq!(send(&door, "two", &key("two")).await, 2);
    assert_eq!(send(&door, "two", &key("two")).await, 2);
    let path = "/v1/queues/work/messages";
    let reused = door.call("POST", path, &key("one"), "other").await;
    assert_eq!(reused.expect(422).code(), "idempotency_key_reused");
    door.ledger.hold_moves(false);
    assert_eq!(send(&door, "one", &key("one")).await, 1);
    assert_eq!(send(&door, "two", &key("two")).await, 2);
    assert_eq!(door.receive().await.len(), 2);
}

#[tokio::test]
async fn topics_of_both_groups_reach_a_queue_that_moves() {
    let door = door().await;
    for topic in ["work-orders", "bills"] {
        let path = format!("/v1/topics/{topic}");
        door.put(&path, &json!({})).await.expect(201);
        let to = json!({"to": {"queue": "work"}});
        door.put(&format!("{path}/subscriptions/work"), &to)
            .await
            .expect(201);
    }
    let topology = door.ledger.topology();
    assert_eq!(topology.topics["work-orders"].topic.group, GroupId(1));
    assert_eq!(topology.topics["bills"].topic.group, GroupId(2));
    let mut number = 0;
    let mut publish_all = async || {
        for topic in ["work-orders", "bills"] {
            number += 1;
            let event = json!({"specversion": "1.0", "id": number.to_string(), "source": "/t", "type": "t"});
            let path = format!("/v1/topics/{topic}/messages");
            let answer = door.call("POST", &path, EVENT, event.to_string()).await;
            assert_eq!(answer.expect(200).json()["messages"][0]["deliveries"], 1);
        }
    };
    publish_all().await;
    for group in [2, 1, 2] {
        door.ledger.hold_moves(true);
        move_to(&door, "work", group).await.expect(202);
        publish_all().await;
        door.ledger.leave_moves();
        publish_all().await;
        door.ledger.begin_moves();
        publish_all().await;
        door.ledger.hold_moves(false);
        move_to(&door, "work", group).await.expect(200);
        publish_all().await;
    }
    let ids = door.receive().await;
    let mut ids: Vec<u64> = ids
        .iter()
        .map(|message| message["event"]["id"].as_str().unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=26).collect::<Vec<_>>(), "each of them once");
}

#[tokio::test]
async fn redriven_messages_find_a_queue_that_moves() {
    let door = door().await;
    door.put("/v1/queues/other", &json!({})).await.expect(201);
    assert_eq!(door.ledger.topology().queues["other"].group, GroupId(2));
    for text in ["one", "two", "three"] {
        let path = "/v1/queues/other/messages";
        door.call("POST", path, &[], text).await.expect(200);
    }
    let one = json!({"to": "work", "max": 1});
    let redrive = async || {
        let moved = door
            .post("/v1/queues/other/redrive", &one)
            .await
            .expect(200);
        assert_eq!(moved.json(), json!({"moved": 1}));
    };
    door.ledger.hold_moves(true);
    move_to(&door, "work", 2).await.expect(202);
    door.ledger.begin_moves();
    redrive().await;
    door.ledger.hold_moves(false);
    redrive().await;
    door.ledger.hold_moves(true);
    move_to(&door, "work", 1).await.expect(202);
    door.ledger.begin_moves();
    redrive().await;
    door.ledger.hold_moves(false);
    assert_eq!(door.receive().await.len(), 3);
}

#[tokio::test]
async fn a_queue_is_served_where_it_is_until_it_leaves_and_may_stay() {
    let door = door().await;
    door.ledger.hold_moves(true);
    move_to(&door, "work", 2).await.expect(202);
    send(&door, "one", &[]).await;
    let shown = door.get("/v1/queues/work").await.expect(200).json();
    assert_eq!(shown["group"], 1);
    assert_eq!(
        shown["moving"],
        json!({"from": 1, "to": 2, "entries_left": 1})
    );
    let listed = door.get("/v1/queues").await.expect(200).json();
    assert_eq!(listed["items"][0]["moving"], json!({"from": 1, "to": 2}));
    let stays = move_to(&door, "work", 1).await.expect(200).json();
    assert_eq!(
        (&stays["group"], &stays["is_moving"]),
        (&json!(1), &json!(false))
    );
    door.ledger.hold_moves(false);
    assert_eq!(door.receive().await.len(), 1);
    let shown = door.get("/v1/queues/work").await.expect(200).json();
    assert_eq!(
        (&shown["group"], &shown["moving"]),
        (&json!(1), &Value::Null)
    );
}

#[tokio::test]
async fn a_queue_that_moves_can_be_deleted() {
    let door = door().await;
    send(&door, "one", &[]).await;
    door.ledger.hold_moves(true);
    move_to(&door, "work", 2).await.expect(202);
    door.ledger.begin_moves();
    door.delete("/v1/queues/work").await.expect(204);
    door.ledger.hold_moves(false);
    let gone = door.post("/v1/queues/work/receive", &json!({})).await;
    assert_eq!(gone.expect(404).code(), "queue_not_found");
    assert_eq!(
        move_to(&door, "work", 2).await.expect(404).code(),
        "queue_not_found"
    );
    door.put("/v1/queues/work", &json!({})).await.expect(201);
    assert_eq!(door.receive().await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_cannot_move_says_why() {
    let door = Door::on(GatewayConfig::default(), 2);
    door.put("/v1/queues/work", &json!({})).await.expect(201);
    let old = move_to(&door, "work", 2).await.expect(409);
    assert_eq!(old.code(), "upgrade_first");
    raise(&door).await;
    for group in [0, 3, u32::MAX] {
        let unknown = move_to(&door, "work", group).await.expect(422);
        assert_eq!(unknown.code(), "unknown_group");
        assert_eq!(unknown.json()["pointer"], "/group");
    }
    let body = json!({"queue": "work", "group": 2, "now": true});
    let unknown = door.post("/v1/cluster/move", &body).await.expect(400);
    assert_eq!(unknown.code(), "unknown_field");
    let none = move_to(&door, "none", 2).await.expect(404);
    assert_eq!(none.code(), "queue_not_found");
    let alone = Door::new();
    alone.put("/v1/queues/work", &json!({})).await.expect(201);
    let single = move_to(&alone, "work", 2).await.expect(409);
    assert_eq!(single.code(), "single_group");
    move_to(&alone, "work", 1).await.expect(200);
}
