//! Input that is too much: bodies, batches and nesting, with and without a length.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use http::Request;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame};
use serde_json::json;

use super::rig::{BATCH, Door, EVENT, JSON};

const TOPIC: &str = "/v1/topics/orders/messages";
const QUEUE: &str = "/v1/queues/work/messages";
const RECEIVE: &str = "/v1/queues/work/receive";
const ACK: &str = "/v1/queues/work/ack";
const VERSION: &str = "/v1/plugins/p/versions/1";

const NONE: &[(&str, &str)] = &[];

/// A body that does not say how long it is.
fn chunked(
    path: &str,
    content_type: &str,
    chunks: usize,
) -> Request<impl Body<Data = Bytes, Error = Infallible> + use<>> {
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let chunks = stream::iter((0..chunks).map(move |_| Ok(Frame::data(chunk.clone()))));
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", content_type);
    request.body(StreamBody::new(chunks)).expect("a request")
}

#[tokio::test]
async fn oversize_bodies_are_refused_with_and_without_a_length() {
    let door = Door::new().with_orders().await;
    let (event, batch) = (
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
    );
    for (content_type, code) in [
        ("text/plain", "message_too_large"),
        (event, "message_too_large"),
        (batch, "batch_too_large"),
    ] {
        let long = vec![b'x'; 4 * 1024 * 1024 + 1];
        let known = door
            .call("POST", TOPIC, &[("content-type", content_type)], long)
            .await
            .expect(413);
        assert_eq!(known.code(), code);
        let unknown = door
            .send(chunked(TOPIC, content_type, 100))
            .await
            .expect(413);
        assert_eq!(unknown.code(), code);
    }
    let event = vec![b'x'; 1024 * 1024 + 1];
    assert_eq!(
        door.call("POST", TOPIC, NONE, event.clone())
            .await
            .expect(413)
            .code(),
        "message_too_large"
    );
    assert_eq!(
        door.call("POST", QUEUE, NONE, event)
            .await
            .expect(413)
            .code(),
        "message_too_large"
    );
    door.put("/v1/queues/work", &json!({"max_message_bytes": 100}))
        .await
        .expect(200);
    assert_eq!(
        door.call("POST", QUEUE, NONE, vec![b'x'; 101])
            .await
            .expect(413)
            .code(),
        "message_too_large"
    );
    assert!(door.receive().await.is_empty());
}

#[tokio::test]
async fn oversize_documents_and_components_are_refused() {
    let door = Door::new().with_orders().await;
    let config = vec![b' '; 512 * 1024 + 1];
    assert_eq!(
        door.call("PUT", "/v1/queues/work", JSON, config)
            .await
            .expect(413)
            .code(),
        "body_too_large"
    );
    let component = vec![0; 32 * 1024 * 1024 + 1];
    assert_eq!(
        door.call("PUT", VERSION, NONE, component)
            .await
            .expect(413)
            .code(),
        "component_too_large"
    );
    assert_eq!(
        door.send(chunked("/v1/plugins/check", "application/wasm", 1_000))
            .await
            .expect(413)
            .code(),
        "component_too_large"
    );
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_taken_and_one_more_is_not() {
    let door = Door::new().with_orders().await;
    let event =
        |at: usize| json!({"specversion": "1.0", "id": at.to_string(), "source": "s", "type": "t"});
    let batch = |events: usize| {
        serde_json::to_vec(&(0..events).map(event).collect::<Vec<_>>()).expect("JSON")
    };
    assert_eq!(
        door.call("POST", TOPIC, BATCH, batch(1_001))
            .await
            .expect(413)
            .code(),
        "batch_too_large"
    );
    let flood = format!("[{}0]", "0,".repeat(2_000_000));
    assert_eq!(
        door.call("POST", TOPIC, BATCH, flood)
            .await
            .expect(413)
            .code(),
        "batch_too_large"
    );
    door.call("POST", TOPIC, BATCH, batch(1_000))
        .await
        .expect(200);
    let messages = door.receive().await;
    let receipts: Vec<_> = messages.iter().map(|message| &message["receipt"]).collect();
    assert_eq!(receipts.len(), 1_000);
    let acked = door
        .post(ACK, &json!({"receipts": receipts}))
        .await
        .expect(200);
    assert_eq!(acked.json()["acked"], 1_000);
    let many = vec!["x"; 1_001];
    assert_eq!(
        door.post(ACK, &json!({"receipts": many}))
            .await
            .expect(413)
            .code(),
        "batch_too_large"
    );
}

#[tokio::test]
async fn nesting_and_numbers_without_end_do_no_harm() {
    let door = Door::new().with_orders().await;
    let deep = "[".repeat(400_000);
    door.call("POST", TOPIC, JSON, deep.clone())
        .await
        .expect(200);
    assert_eq!(
        door.call("PUT", "/v1/topics/t", JSON, deep)
            .await
            .expect(400)
            .code(),
        "malformed_json"
    );
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let event =
        format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{nested}}}"#);
    assert_eq!(
        door.call("POST", TOPIC, EVENT, event)
            .await
            .expect(400)
            .code(),
        "invalid_data"
    );
    door.call("POST", TOPIC, JSON, nested).await.expect(200);
    let number = format!("1{}", "0".repeat(100_000));
    door.call("POST", TOPIC, JSON, number).await.expect(200);
    let config = format!(r#"{{"visibility_seconds":{}}}"#, "9".repeat(1_000));
    door.call("PUT", "/v1/queues/q", JSON, config)
        .await
        .expect(400);
    let answer = door.post(RECEIVE, &json!({"max": 2})).await.expect(200);
    let bytes = &answer.json()["messages"][1]["event"]["data_base64"];
    assert_eq!(
        bytes.as_str().map(str::len),
        Some(266_668),
        "too deep for JSON, it comes out as bytes"
    );
}
