//! Bad requests other than bad events: names, fields, values, media types, and HTTP itself.

use millrace_tests::raw;
use serde_json::json;

use crate::door::{Door, JSON, SEND};
use crate::scene::{receive, send};

#[test]
fn wrong_names_paths_and_queries() {
    let door = Door::open();
    let client = &door.client;
    let long = "a".repeat(81);
    for name in [
        "1a",
        "_a",
        "a%20b",
        "a%2Fb",
        "%C3%A4",
        long.as_str(),
        "a%00",
        "a:b",
        "%FF",
    ] {
        for path in [format!("/v1/queues/{name}"), format!("/v1/topics/{name}")] {
            client.put(&path, &json!({})).refused(400, "invalid_name");
        }
    }
    for query in ["limit=0", "limit=1001", "limit=x", "limit=-1"] {
        let answer = client.get(&format!("/v1/queues?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    let answer = client.get("/v1/queues/q/messages?state=lost");
    assert_eq!(answer.status, 400, "{}", answer.text());
    client
        .post("/v1/topics/none/messages", &json!(1))
        .refused(404, "topic_not_found");
    client
        .get("/v1/queues?x=1")
        .refused(400, "unknown_parameter");
    client
        .post("/v1/queues/none/receive", &json!({}))
        .refused(404, "queue_not_found");
}

#[test]
fn unknown_fields_and_values_out_of_range_are_named() {
    let door = Door::open();
    let dead_letter = json!({"queue": "q", "max_receives": 1, "x": 1});
    let cases = [
        ("/v1/queues/new", json!({"colour": 1}), "/colour"),
        (
            "/v1/queues/new",
            json!({"dead_letter": dead_letter}),
            "/dead_letter/x",
        ),
        ("/v1/topics/new", json!({"max_bytes": 1}), "/max_bytes"),
        (
            "/v1/topics/t/subscriptions/new",
            json!({"to": {"queue": "q"}, "filtr": {}}),
            "/filtr",
        ),
    ];
    for (path, body, pointer) in cases {
        let problem = door.client.put(path, &body).refused(400, "unknown_field");
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
    let cases = [
        ("visibility_seconds", json!(43_201)),
        ("retention_seconds", json!(59)),
        ("wait_seconds", json!(31)),
        ("max_message_bytes", json!(1024 * 1024 + 1)),
    ];
    for (field, value) in cases {
        let answer = door.client.put("/v1/queues/new", &json!({ field: value }));
        let problem = answer.refused(422, "out_of_range");
        assert_eq!(problem["pointer"], format!("/{field}"), "{problem}");
    }
    door.client
        .get("/v1/queues/new")
        .refused(404, "queue_not_found");
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    let door = Door::open();
    for body in [
        json!({"visibility_seconds": -1}),
        json!({"visibility_seconds": "30"}),
        json!({"visibility_seconds": 1.5}),
        json!({"fifo": 1}),
        json!([]),
        json!(null),
        json!("{}"),
    ] {
        door.client
            .put("/v1/queues/new", &body)
            .refused(400, "invalid_value");
    }
    let cases = [
        ("receive", json!({"max": 0}), 422, "out_of_range"),
        ("receive", json!({"max": 1001}), 422, "out_of_range"),
        ("receive", json!({"wait_seconds": 31}), 422, "out_of_range"),
        ("receive", json!({"many": 1}), 400, "unknown_field"),
        ("ack", json!({}), 400, "missing_field"),
        ("ack", json!({"receipts": [1]}), 400, "invalid_value"),
        (
            "ack",
            json!({"receipts": vec!["x"; 1001]}),
            413,
            "batch_too_large",
        ),
        ("extend", json!({"receipts": ["x"]}), 400, "missing_field"),
        (
            "nack",
            json!({"receipts": ["x"], "delay_seconds": -1}),
            400,
            "invalid_value",
        ),
    ];
    for (verb, body, status, code) in cases {
        let path = format!("/v1/queues/q/{verb}");
        door.client.post(&path, &body).refused(status, code);
    }
}

#[test]
fn wrong_filters_are_refused_with_a_pointer() {
    let door = Door::open();
    for filter in [
        json!({}),
        json!({"tags": ["a"], "keys": ["b"]}),
        json!({"tags": []}),
        json!({"keys": []}),
        json!({"tags": ["a,b"]}),
        json!({"match": {"a": [{"numeric": ["=>", 1]}]}}),
        json!({"match": {"a": [{"cidr": "300.0.0.0/8"}]}}),
        json!({"match": {"a": {"b": 1}}}),
        json!({"match": []}),
    ] {
        let body = json!({"filter": filter, "to": {"queue": "q"}});
        let answer = door.client.put("/v1/topics/t/subscriptions/s", &body);
        assert!(
            [400, 422].contains(&answer.status),
            "{filter}: {}",
            answer.text()
        );
        let problem = answer.json();
        let pointer = problem["pointer"].as_str().unwrap_or_default();
        assert!(pointer.starts_with("/filter"), "{filter}: {problem}");
    }
}

#[test]
fn wrong_media_types_and_methods() {
    let door = Door::open();
    let path = "/v1/plugins/p/versions/1.0.0";
    door.client
        .send("PUT", path, &[("content-type", "text/plain")], b"x")
        .refused(415, "unsupported_media_type");
    let gzip = [("content-type", JSON), ("content-encoding", "gzip")];
    door.client
        .send("POST", SEND, &gzip, b"x")
        .refused(415, "unsupported_encoding");
    door.client
        .send("PUT", SEND, &[("content-type", JSON)], b"1")
        .refused(405, "method_not_allowed");
}

#[test]
fn a_refused_request_leaves_its_connection_open_or_says_that_it_closes() {
    use std::io::{Read as _, Write as _};
    let door = Door::open();
    let mut stream = std::net::TcpStream::connect(door.broker.address()).expect("a connection");
    let mut write = stream.try_clone().expect("a connection can be shared");
    let mut read = || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let mut bytes = vec![0; 64 * 1024];
        let count = stream.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    // As many clients send: the head first, the body a moment later.
    let head = "PUT /v1/topics/1bad HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    write.write_all(head.as_bytes()).expect("written");
    std::thread::sleep(std::time::Duration::from_millis(50));
    write.write_all(b"{}").expect("written");
    let answer = read();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    if !answer.to_lowercase().contains("connection: close") {
        let next = write.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(next.is_ok(), "the connection was closed without a word");
        assert!(
            read().starts_with("HTTP/1.1 200"),
            "the next request on the connection"
        );
    }
}

#[test]
fn ten_thousand_headers_and_other_broken_http() {
    let door = Door::open();
    let many: Vec<(String, String)> = (0..10_000)
        .map(|number| (format!("x-{number}"), "y".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = door.raw(&raw::request("POST", SEND, &many, b""));
    assert_eq!(answer.status, 431, "10,000 headers");
    assert_eq!(answer.code(), "headers_too_large", "{}", answer.body);
    let long = "y".repeat(2 * 1024 * 1024);
    let answer = door.raw(&raw::request("POST", SEND, &[("x", &long)], b""));
    assert_eq!(answer.status, 431, "a header of 2 MiB");
    assert_eq!(answer.code(), "headers_too_large", "{}", answer.body);
    let path = format!("/{}", "y".repeat(70_000));
    let answer = door.raw(&raw::request("GET", &path, &[], b""));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (414, "uri_too_long")
    );
    for broken in [
        "GET\r\n\r\n",
        "POST /v1/queues/q/messages HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/queues/q/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /v1/queues/q/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\u{0}\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        let answer = raw::exchange(door.broker.address(), broken.as_bytes());
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 400, "{broken:?}: {}", answer.body);
            assert!(!answer.code().is_empty(), "{broken:?}: {}", answer.body);
        }
    }
    let half = raw::request(
        "POST",
        SEND,
        &[("Content-Type", JSON), ("Content-Length", "100")],
        b"{\"a\"",
    );
    let stream = std::net::TcpStream::connect(door.broker.address());
    std::io::Write::write_all(&mut stream.expect("a connection"), &half).expect("written");
    assert!(
        receive(&door.client, "q", 10).is_empty(),
        "half a body is no event"
    );
    send(&door.client, "q", &json!("next"));
    assert_eq!(receive(&door.client, "q", 10).len(), 1);
}
