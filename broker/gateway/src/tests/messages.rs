//! The life of a message in a queue.

use serde_json::{Value, json};

use super::rig::Door;

async fn sent(door: &Door, messages: usize) {
    for at in 0..messages {
        let answer = door
            .call("POST", "/v1/queues/work/messages", &[], format!("{at}"))
            .await;
        let message = &answer.expect(200).json()["messages"][0];
        assert!(message["sequence"].is_u64() && message.get("deliveries").is_none());
    }
}

fn receipts(messages: &[Value]) -> Vec<Value> {
    messages
        .iter()
        .map(|message| message["receipt"].clone())
        .collect()
}

#[tokio::test]
async fn what_is_acked_never_comes_back() {
    let door = Door::new().with_orders().await;
    sent(&door, 3).await;
    let messages = door.receive().await;
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0]["receive_count"], 1);
    assert_eq!(messages[0]["visible_at"], "2025-11-13T02:13:50.000Z");
    let acked = door
        .post(
            "/v1/queues/work/ack",
            &json!({"receipts": receipts(&messages)[..2]}),
        )
        .await;
    assert_eq!(acked.expect(200).json(), json!({"acked": 2, "failed": []}));
    door.pass(31_000);
    let again = door.receive().await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (&again[0]["receive_count"], &again[0]["sequence"]),
        (&json!(2), &messages[2]["sequence"])
    );
}

#[tokio::test]
async fn receipts_that_are_not_good_are_told_one_by_one() {
    let door = Door::new().with_orders().await;
    sent(&door, 2).await;
    let messages = door.receive().await;
    let good = receipts(&messages);
    let forged = format!("{}AAAA", &good[0].as_str().expect("text")[..28]);
    let body = json!({"receipts": ["nonsense", good[0], forged, good[0], "ä"]});
    let answer = door
        .post("/v1/queues/work/ack", &body)
        .await
        .expect(200)
        .json();
    assert_eq!(answer["acked"], 1);
    let failed = answer["failed"].as_array().expect("failed");
    let codes: Vec<_> = failed
        .iter()
        .map(|one| one["code"].as_str().expect("a code"))
        .collect();
    assert_eq!(codes.len(), 4);
    assert_eq!(
        (failed[0]["receipt"].as_str(), codes[0]),
        (Some("nonsense"), "receipt_invalid")
    );
    assert_eq!(codes[3], "receipt_invalid");
    door.pass(31_000);
    let late = door
        .post("/v1/queues/work/ack", &json!({"receipts": [good[1]]}))
        .await
        .expect(200);
    assert_eq!(late.json()["failed"][0]["code"], "receipt_expired");
}

#[tokio::test]
async fn nack_and_extend_move_the_end_of_a_lease() {
    let door = Door::new().with_orders().await;
    sent(&door, 1).await;
    let first = door.receive().await;
    let body = json!({"receipts": receipts(&first), "visibility_seconds": 120});
    let extended = door
        .post("/v1/queues/work/extend", &body)
        .await
        .expect(200)
        .json();
    assert_eq!(extended, json!({"extended": 1, "failed": []}));
    door.pass(60_000);
    assert!(door.receive().await.is_empty());
    let body = json!({"receipts": receipts(&first)});
    let nacked = door
        .post("/v1/queues/work/nack", &body)
        .await
        .expect(200)
        .json();
    assert_eq!(nacked, json!({"nacked": 1, "failed": []}));
    assert_eq!(door.receive().await[0]["receive_count"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_answers_at_the_first_message() {
    let door = Door::new().with_orders().await;
    let wait = json!({"max": 10, "wait_seconds": 20});
    let poll = door.post("/v1/queues/work/receive", &wait);
    let send = async {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        sent(&door, 1).await;
    };
    let began = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(poll, send);
    assert_eq!(
        answer.expect(200).json()["messages"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(began.elapsed().as_secs(), 5);
    let empty = door
        .post("/v1/queues/work/receive", &wait)
        .await
        .expect(200);
    assert_eq!(empty.json(), json!({"messages": []}));
    assert_eq!(began.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn long_polls_end_when_the_node_stops() {
    let door = Door::new().with_orders().await;
    let wait = json!({"wait_seconds": 30});
    let poll = door.post("/v1/queues/work/receive", &wait);
    let began = tokio::time::Instant::now();
    let stop = async { door.gateway.stop() };
    let (answer, ()) = tokio::join!(poll, stop);
    assert_eq!(answer.expect(200).json(), json!({"messages": []}));
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn dead_letters_go_aside_and_come_back() {
    let door = Door::new().with_orders().await;
    door.put("/v1/queues/dead", &json!({})).await.expect(201);
    let config = json!({"dead_letter": {"queue": "dead", "max_receives": 1}});
    door.put("/v1/queues/work", &config).await.expect(200);
    sent(&door, 2).await;
    assert_eq!(door.receive().await.len(), 2);
    door.pass(31_000);
    assert!(door.receive().await.is_empty());
    let dead = door
        .get("/v1/queues/dead/messages")
        .await
        .expect(200)
        .json();
    assert_eq!(dead["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(dead["items"][0]["dead_letter_source"], "work");
    let moved = door
        .post("/v1/queues/dead/redrive", &json!({"max": 1}))
        .await
        .expect(200);
    assert_eq!(moved.json(), json!({"moved": 1}));
    assert_eq!(door.receive().await.len(), 1);
    let nowhere = door
        .post("/v1/queues/dead/redrive", &json!({"to": "nowhere"}))
        .await
        .expect(404);
    assert_eq!(nowhere.code(), "queue_not_found");
}

#[tokio::test]
async fn peek_pages_by_sequence_and_leases_nothing() {
    let door = Door::new().with_orders().await;
    sent(&door, 5).await;
    let first = door
        .get("/v1/queues/work/messages?limit=2&state=ready,leased")
        .await
        .expect(200)
        .json();
    assert_eq!(first["items"].as_array().map(Vec::len), Some(2));
    let next = first["next"].as_str().expect("more");
    let rest = door
        .get(&format!("/v1/queues/work/messages?after={next}"))
        .await
        .expect(200)
        .json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(3));
    assert!(rest.get("next").is_none());
    let counters = door.get("/v1/queues/work").await.expect(200).json();
    assert_eq!(counters["counters"]["ready"], 5);
}

#[tokio::test]
async fn purge_drops_everything() {
    let door = Door::new().with_orders().await;
    sent(&door, 4).await;
    let purged = door
        .call("POST", "/v1/queues/work/purge", &[], "")
        .await
        .expect(200);
    assert_eq!(purged.json(), json!({"purged": 4}));
    assert!(door.receive().await.is_empty());
}
