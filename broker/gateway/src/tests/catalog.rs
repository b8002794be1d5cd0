//! Topics, subscriptions and queues: put, read, list, delete, and guarded changes.

use serde_json::{Value, json};

use super::rig::{Door, JSON};

#[tokio::test]
async fn put_creates_confirms_and_updates() {
    let door = Door::new();
    for (path, change) in [
        ("/v1/queues/q", json!({"visibility_seconds": 5})),
        ("/v1/topics/t", json!({"max_message_bytes": 5})),
    ] {
        let created = door.call("PUT", path, &[], "").await.expect(201);
        let confirmed = door.put(path, &json!({})).await.expect(200);
        assert_eq!(created.header("etag"), confirmed.header("etag"));
        let updated = door.put(path, &change).await.expect(200);
        assert_ne!(created.header("etag"), updated.header("etag"));
        let shown = door.get(path).await.expect(200);
        assert_eq!(shown.header("etag"), updated.header("etag"));
        let (name, value) = change
            .as_object()
            .and_then(|map| map.iter().next())
            .expect("one field");
        assert_eq!(&shown.json()[name], value);
    }
}

#[tokio::test]
async fn preconditions_guard_changes() {
    let door = Door::new().with_orders().await;
    for path in [
        "/v1/queues/work",
        "/v1/topics/orders",
        "/v1/topics/orders/subscriptions/all",
    ] {
        let shown = door.get(path).await.expect(200);
        let etag = shown.header("etag").to_owned();
        let known = door
            .call("GET", path, &[("if-none-match", &etag)], "")
            .await
            .expect(304);
        assert_eq!(known.header("etag"), etag);
        let body = json!({"to": {"queue": "work"}}).to_string();
        let body = if path.contains("subscriptions") {
            body
        } else {
            "{}".to_owned()
        };
        let put = async |header: &str, value: &str| {
            door.call("PUT", path, &[JSON[0], (header, value)], body.clone())
                .await
        };
        put("if-match", &etag).await.expect(200);
        assert_eq!(
            put("if-match", "\"999\"").await.expect(412).code(),
            "precondition_failed"
        );
        assert_eq!(
            put("if-match", "\"other\"").await.expect(412).code(),
            "precondition_failed"
        );
        assert_eq!(
            put("if-none-match", "*").await.expect(412).code(),
            "precondition_failed"
        );
        assert_eq!(
            put("if-match", "oops").await.expect(400).code(),
            "invalid_header"
        );
        let gone = door
            .call("DELETE", path, &[("if-match", "\"999\"")], "")
            .await;
        assert_eq!(gone.expect(412).code(), "precondition_failed");
    }
    let absent = door
        .call("PUT", "/v1/queues/new", &[("if-match", "*")], "")
        .await;
    assert_eq!(absent.expect(412).code(), "precondition_failed");
    door.call("PUT", "/v1/queues/new", &[("if-none-match", "*")], "")
        .await
        .expect(201);
}

#[tokio::test]
async fn things_in_use_stay() {
    let door = Door::new().with_orders().await;
    assert_eq!(
        door.delete("/v1/topics/orders").await.expect(409).code(),
        "in_use"
    );
    assert_eq!(
        door.delete("/v1/queues/work").await.expect(409).code(),
        "in_use"
    );
    door.delete("/v1/topics/orders?cascade=true")
        .await
        .expect(204);
    door.delete("/v1/queues/work").await.expect(204);
    assert_eq!(
        door.get("/v1/queues/work").await.expect(404).code(),
        "queue_not_found"
    );
    assert_eq!(
        door.delete("/v1/queues/work").await.expect(404).code(),
        "queue_not_found"
    );
    assert_eq!(
        door.delete("/v1/topics/orders").await.expect(404).code(),
        "topic_not_found"
    );
}

#[tokio::test]
async fn lists_have_pages() {
    let door = Door::new();
    for name in ["a1", "a2", "a3", "b1", "b2"] {
        door.put(&format!("/v1/queues/{name}"), &json!({}))
            .await
            .expect(201);
    }
    let names = async |query: &str| -> (Vec<String>, Value) {
        let page = door
            .get(&format!("/v1/queues{query}"))
            .await
            .expect(200)
            .json();
        let items = page["items"].as_array().expect("items");
        let names = items
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned());
        (names.collect(), page["next"].clone())
    };
    assert_eq!(
        names("").await,
        (
            ["a1", "a2", "a3", "b1", "b2"].map(str::to_owned).to_vec(),
            Value::Null
        )
    );
    assert_eq!(
        names("?prefix=a&limit=2").await,
        (vec!["a1".into(), "a2".into()], json!("a2"))
    );
    assert_eq!(
        names("?prefix=a&limit=2&after=a2").await,
        (vec!["a3".into()], Value::Null)
    );
    assert_eq!(names("?after=b1").await, (vec!["b2".into()], Value::Null));
    assert_eq!(
        names("?prefix=b&after=a2").await,
        (vec!["b1".into(), "b2".into()], Value::Null)
    );
    assert_eq!(names("?prefix=zz").await, (vec![], Value::Null));
}

#[tokio::test]
async fn topics_may_chain_but_not_in_a_circle() {
    let door = Door::new().with_orders().await;
    door.put("/v1/topics/audit", &json!({})).await.expect(201);
    let to = |topic: &str| json!({"to": {"topic": topic}});
    door.put("/v1/topics/orders/subscriptions/on", &to("audit"))
        .await
        .expect(201);
    let back = door
        .put("/v1/topics/audit/subscriptions/back", &to("orders"))
        .await
        .expect(422);
    assert_eq!(back.code(), "topic_cycle");
    let list = door
        .get("/v1/topics/orders/subscriptions?prefix=o")
        .await
        .expect(200)
        .json();
    assert_eq!(list["items"][0]["to"], json!({"topic": "audit"}));
    door.delete("/v1/topics/orders/subscriptions/on")
        .await
        .expect(204);
    let gone = door
        .get("/v1/topics/orders/subscriptions/on")
        .await
        .expect(404);
    assert_eq!(gone.code(), "subscription_not_found");
}
