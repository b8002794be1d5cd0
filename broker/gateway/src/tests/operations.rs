//! Health, metrics, the cluster, and how outages are told.

use millrace_model::Unavailable;
use serde_json::json;

use super::rig::Door;
use crate::GatewayConfig;

#[tokio::test]
async fn outages_have_their_status_code_and_retry_after() {
    let door = Door::new().with_orders().await;
    let cases = [
        (Unavailable::Overloaded, 429, "overloaded", "1"),
        (Unavailable::NoQuorum, 503, "no_quorum", "1"),
        (
            Unavailable::NotReady("starting".into()),
            503,
            "not_ready",
            "1",
        ),
        (Unavailable::OutcomeUnknown, 504, "outcome_unknown", ""),
        (Unavailable::StorageFull, 507, "storage_full", ""),
    ];
    for (outage, status, code, retry_after) in cases {
        door.ledger.fail_with(Some(outage));
        for (method, path) in [
            ("POST", "/v1/topics/orders/messages"),
            ("POST", "/v1/queues/work/messages"),
            ("POST", "/v1/queues/work/receive"),
            ("PUT", "/v1/queues/other"),
            ("DELETE", "/v1/queues/work"),
        ] {
            let answer = door.call(method, path, &[], "").await.expect(status);
            assert_eq!(
                (answer.code().as_str(), answer.header("retry-after")),
                (code, retry_after)
            );
        }
        let ready = door.get("/readyz").await.expect(503);
        assert_eq!(ready.json()["errors"][0]["code"], "not_ready");
    }
    door.ledger.fail_with(None);
    door.get("/readyz").await.expect(200);
    door.get("/livez").await.expect(200);
}

#[tokio::test]
async fn the_cluster_is_shown() {
    let door = Door::new();
    let cluster = door.get("/v1/cluster").await.expect(200).json();
    assert_eq!(
        (
            &cluster["node"],
            &cluster["groups"][0]["members"][0]["state"]
        ),
        (&json!(1), &json!("leader"))
    );
}

#[tokio::test]
async fn members_are_changed_and_each_refusal_has_its_status() {
    let door = Door::new();
    let members = "/v1/cluster/members";
    let add = |node: u64, address: &str| json!({"node": node, "address": address});
    door.post(members, &add(2, "b:2")).await.expect(202);
    for (body, status, code) in [
        (add(3, "c:3"), 422, "node_unreachable"),
        (add(3, "c"), 422, "invalid_address"),
        (add(0, "c:3"), 422, "out_of_range"),
        (json!({"node": 3}), 400, "missing_field"),
        (
            json!({"node": 3, "address": "c:3", "x": 1}),
            400,
            "unknown_field",
        ),
    ] {
        let refused = door.post(members, &body).await.expect(status);
        assert_eq!(refused.code(), code);
    }
    for (node, status, code) in [
        ("1", 409, "cluster_conflict"),
        ("7", 404, "node_not_found"),
        ("0", 400, "invalid_node"),
        ("x", 400, "invalid_node"),
    ] {
        let path = format!("{members}/{node}");
        let refused = door.call("DELETE", &path, &[], "").await.expect(status);
        assert_eq!(refused.code(), code);
    }
    let transfer = "/v1/cluster/transfer";
    door.post(transfer, &json!({"node": 1, "group": 0}))
        .await
        .expect(204);
    let refused = door.post(transfer, &json!({"node": 2})).await.expect(503);
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after")),
        ("no_quorum", "1")
    );
}

#[tokio::test]
async fn metrics_of_all_rooms_are_one_text() {
    let door = Door::new().with_orders().await;
    door.call("POST", "/v1/topics/orders/messages", &[], "x")
        .await
        .expect(200);
    door.receive().await;
    door.get("/v1/queues/nothing").await.expect(404);
    let answer = door.get("/metrics").await.expect(200);
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    for line in [
        "millrace_events_published_total 1",
        "millrace_events_delivered_total 1",
        "millrace_messages_received_total 1",
        "millrace_http_problems_total{code=\"queue_not_found\"} 1",
        "millrace_http_requests_total{method=\"POST\",route=\"/v1/topics/{topic}/messages\",status=\"2xx\"} 1",
        "millrace_log_bytes 7",
        "millrace_plugin_runs_total 3",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
    assert!(
        text.contains("\nprocess_cpu_seconds_total ")
            && text.contains("\nprocess_resident_memory_bytes ")
    );
    assert!(text.contains("millrace_http_request_seconds_bucket{le=\"0.0001\",method="));
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

#[tokio::test]
async fn requests_keep_sane_ids_of_their_own() {
    let door = Door::new();
    let own = door
        .call("GET", "/livez", &[("x-request-id", "mine-1")], "")
        .await;
    assert_eq!(own.header("x-request-id"), "mine-1");
    let long = "x".repeat(200);
    let odd = door
        .call("GET", "/livez", &[("x-request-id", &long)], "")
        .await;
    assert_eq!(odd.header("x-request-id").len(), 21);
}

#[tokio::test]
async fn a_full_door_turns_data_away_but_not_acks() {
    let config = GatewayConfig {
        requests_in_flight_max: 0,
        ..GatewayConfig::default()
    };
    let door = Door::with(config);
    let put = door.put("/v1/queues/work", &json!({})).await.expect(429);
    assert_eq!(
        (put.code().as_str(), put.header("retry-after")),
        ("overloaded", "1")
    );
    door.get("/v1/queues").await.expect(200);
    let ack = door
        .post("/v1/queues/work/ack", &json!({"receipts": []}))
        .await
        .expect(404);
    assert_eq!(ack.code(), "queue_not_found");
}
