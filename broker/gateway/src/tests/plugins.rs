//! Plugin versions, their bindings, and what they do to events.

use serde_json::json;

use super::rig::{Answer, Door};

const WASM: &[(&str, &str)] = &[("content-type", "application/wasm")];
const VERSION: &str = "/v1/plugins/router/versions/1.2.0";
const COMPONENT: &[u8] = b"\0asm\x0d and more";

async fn uploaded() -> Door {
    let door = Door::new().with_orders().await;
    door.call("PUT", VERSION, WASM, COMPONENT).await.expect(201);
    door
}

async fn bound(door: &Door, config: serde_json::Value) -> Answer {
    let plugin = json!({"name": "router", "version": "1.2.0", "config": config});
    let body = json!({"plugin": plugin, "to": {"queue": "work"}});
    door.put("/v1/topics/orders/subscriptions/all", &body).await
}

#[tokio::test]
async fn versions_are_immutable_and_can_be_read_back() {
    let door = uploaded().await;
    door.call("PUT", VERSION, WASM, COMPONENT).await.expect(200);
    let other = door
        .call("PUT", VERSION, WASM, b"\0asm\x0d other".as_slice())
        .await
        .expect(409);
    assert_eq!(other.code(), "already_exists");
    let shown = door.get(VERSION).await.expect(200).json();
    assert_eq!(
        (&shown["world"], &shown["bytes"]),
        (&json!("router"), &json!(COMPONENT.len()))
    );
    let bytes = door
        .get(&format!("{VERSION}?format=wasm"))
        .await
        .expect(200);
    assert_eq!(bytes.body, COMPONENT);
    assert_eq!(bytes.header("content-type"), "application/wasm");
    let list = door.get("/v1/plugins").await.expect(200).json();
    assert_eq!(
        list["items"],
        json!([{"name": "router", "versions": ["1.2.0"]}])
    );
    let plugin = door.get("/v1/plugins/router").await.expect(200).json();
    assert_eq!(plugin["versions"][0]["version"], "1.2.0");
    let check = door
        .call("POST", "/v1/plugins/check", WASM, COMPONENT)
        .await
        .expect(200);
    assert_eq!(check.json()["name"], "own-name");
}

#[tokio::test]
async fn versions_in_use_cannot_be_deleted() {
    let door = uploaded().await;
    bound(&door, json!({})).await.expect(200);
    assert_eq!(door.delete(VERSION).await.expect(409).code(), "in_use");
    door.delete("/v1/topics/orders/subscriptions/all")
        .await
        .expect(204);
    door.delete(VERSION).await.expect(204);
    assert_eq!(
        door.get(VERSION).await.expect(404).code(),
        "plugin_not_found"
    );
    assert_eq!(
        door.get("/v1/plugins/router").await.expect(404).code(),
        "plugin_not_found"
    );
}

#[tokio::test]
async fn configurations_are_checked_by_schema_and_by_the_plugin() {
    let door = uploaded().await;
    let wrong = bound(&door, json!({"do": "dance"})).await.expect(422);
    assert_eq!(wrong.code(), "schema_violation");
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/plugin/config/do");
    let refused = bound(&door, json!({"do": "refuse"})).await.expect(422);
    assert_eq!(refused.code(), "plugin_refused_config");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/plugin/config/do");
    let plugin = json!({"name": "router", "version": "7"});
    let body = json!({"plugin": plugin, "to": {"queue": "work"}});
    let missing = door
        .put("/v1/topics/orders/subscriptions/all", &body)
        .await
        .expect(404);
    assert_eq!(missing.code(), "plugin_not_found");
}

#[tokio::test]
async fn a_rejected_event_is_refused_alone() {
    let door = uploaded().await;
    bound(&door, json!({"do": "reject"})).await.expect(200);
    let refused = door
        .call("POST", "/v1/topics/orders/messages", &[], "x")
        .await
        .expect(422);
    assert_eq!(refused.code(), "rejected_by_plugin");
    assert!(door.receive().await.is_empty());
}

#[tokio::test]
async fn an_event_that_may_succeed_later_is_refused_with_when_to_come_back() {
    let door = uploaded().await;
    bound(&door, json!({"do": "defer"})).await.expect(200);
    let deferred = door
        .call("POST", "/v1/topics/orders/messages", &[], "x")
        .await
        .expect(503);
    assert_eq!(deferred.code(), "deferred_by_plugin");
    assert_eq!(deferred.headers["retry-after"], "1");
    assert!(door.receive().await.is_empty());
}

#[tokio::test]
async fn parked_events_can_be_listed_and_redriven() {
    let door = uploaded().await;
    bound(&door, json!({"do": "park"})).await.expect(200);
    for at in 0..3 {
        let answer = door
            .call("POST", "/v1/topics/orders/messages", &[], format!("{at}"))
            .await;
        assert_eq!(answer.expect(200).json()["messages"][0]["deliveries"], 0);
    }
    let path = "/v1/topics/orders/subscriptions/all/parked";
    let page = door
        .get(&format!("{path}?limit=2"))
        .await
        .expect(200)
        .json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    let first = &page["items"][0];
    assert_eq!(
        (&first["code"], &first["plugin"]),
        (&json!("plugin_trap"), &json!("router@1.2.0"))
    );
    let next = page["next"].as_str().expect("more");
    let rest = door
        .get(&format!("{path}?after={next}"))
        .await
        .expect(200)
        .json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));

    let again = door
        .post(&format!("{path}/redrive"), &json!({}))
        .await
        .expect(200);
    assert_eq!(
        again.json(),
        json!({"redriven": 0, "parked": 3}),
        "the plugin still fails"
    );
    bound(&door, json!({"do": "reject"})).await.expect(200);
    let refused = door
        .post(&format!("{path}/redrive"), &json!({}))
        .await
        .expect(200);
    assert_eq!(
        refused.json(),
        json!({"redriven": 0, "parked": 3}),
        "nobody is there to be told no"
    );
    bound(&door, json!({})).await.expect(200);
    let one = door
        .post(&format!("{path}/redrive"), &json!({"max": 1}))
        .await
        .expect(200);
    assert_eq!(one.json(), json!({"redriven": 1, "parked": 0}));
    let all = door
        .call("POST", &format!("{path}/redrive"), &[], "")
        .await
        .expect(200);
    assert_eq!(all.json(), json!({"redriven": 2, "parked": 0}));
    assert_eq!(door.receive().await.len(), 3);
    let none = door
        .call("POST", &format!("{path}/redrive"), &[], "")
        .await
        .expect(200);
    assert_eq!(none.json(), json!({"redriven": 0, "parked": 0}));
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let door = uploaded().await;
    bound(&door, json!({"do": "panic"})).await.expect(200);
    let broken = door
        .call("POST", "/v1/topics/orders/messages", &[], "x")
        .await
        .expect(500);
    assert_eq!(broken.code(), "internal");
    bound(&door, json!({})).await.expect(200);
    door.call("POST", "/v1/topics/orders/messages", &[], "x")
        .await
        .expect(200);
}
