//! Bad input: each kind gets its status and code, nothing is stored, nothing breaks, and the next request is served.

use millrace_tests::raw::{self, RawAnswer};
use millrace_tests::{Broker, Client};
use serde_json::{Value, json};

use crate::scene::{queue, receive, send, topic};

const SEND: &str = "/v1/queues/q/messages";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const JSON: &str = "application/json";

/// A broker with a topic `t` and a queue `q`; and at the end, that nothing came into `q` and that it serves.
struct Door {
    broker: Broker,
    client: Client,
}

impl Door {
    fn open() -> Self {
        let broker = Broker::start();
        let client = broker.client();
        topic(&client, "t");
        queue(&client, "q");
        Self { broker, client }
    }

    fn raw(&self, request: &[u8]) -> RawAnswer {
        raw::exchange(self.broker.address(), request).expect("an answer")
    }

    /// The request is refused so, and the next one is served.
    #[track_caller]
    fn refuses(&self, what: &str, request: &[u8], status: u16, code: &str) {
        let answer = self.raw(request);
        let got = (answer.status, answer.code());
        assert_eq!(got, (status, code.to_owned()), "{what}: {}", answer.body);
        let stored = receive(&self.client, "q", 10);
        assert!(stored.is_empty(), "{what} was stored: {stored:?}");
        send(&self.client, "q", &json!("next"));
        let next = receive(&self.client, "q", 10);
        assert_eq!(next.len(), 1, "{what}: the next request");
        let receipts = json!({"receipts": [next[0]["receipt"]]});
        self.client.post("/v1/queues/q/ack", &receipts).expect(200);
    }

    #[track_caller]
    fn refuses_post(&self, kind: &str, body: &[u8], status: u16, code: &str) {
        let length = body.len().to_string();
        let headers = [("Content-Type", kind), ("Content-Length", &length)];
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        let what = format!("{kind}: {shown}");
        self.refuses(
            &what,
            &raw::request("POST", SEND, &headers, body),
            status,
            code,
        );
    }
}

#[test]
fn malformed_json() {
    let door = Door::open();
    for body in [
        "",
        "{",
        "{\"a\":1}}",
        "nul",
        "[1,]",
        "\u{feff}{}",
        "{\"a\":\"\u{1}\"}",
    ] {
        for kind in [JSON, STRUCTURED, BATCH] {
            door.refuses_post(kind, body.as_bytes(), 400, "malformed_json");
        }
    }
    let deep = "[".repeat(100_000);
    door.refuses_post(JSON, deep.as_bytes(), 400, "malformed_json");
    door.refuses_post(STRUCTURED, &[0xff, 0xfe, 0x00], 400, "malformed_json");
    door.refuses_post(JSON, b"\"\xc3\x28\"", 400, "malformed_json");
}

#[test]
fn wrong_cloudevents() {
    let door = Door::open();
    let right = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    let mut wrong: Vec<Value> = Vec::new();
    for attribute in ["specversion", "id", "source", "type"] {
        let mut without = right.clone();
        without
            .as_object_mut()
            .expect("an object")
            .remove(attribute);
        wrong.push(without);
    }
    for (attribute, value) in [
        ("specversion", json!("0.3")),
        ("specversion", json!("2.0")),
        ("specversion", json!(1)),
        ("id", json!("")),
        ("id", json!(7)),
        ("source", json!("")),
        ("type", json!(null)),
        ("time", json!("yesterday")),
        ("time", json!("2026-13-01T00:00:00Z")),
        ("data_base64", json!("not base64!")),
        ("BadName", json!("x")),
        ("bad-name", json!("x")),
        ("nested", json!({"a": 1})),
        ("fraction", json!(1.5)),
    ] {
        let mut other = right.clone();
        other[attribute] = value;
        wrong.push(other);
    }
    let mut both = right.clone();
    both["data"] = json!(1);
    both["data_base64"] = json!("AA==");
    wrong.push(both);
    wrong.extend([json!([]), json!("x"), json!(null)]);
    for event in wrong {
        door.refuses_post(
            STRUCTURED,
            event.to_string().as_bytes(),
            400,
            "invalid_event",
        );
    }
}

#[test]
fn wrong_cloudevents_headers() {
    let door = Door::open();
    let right = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("Content-Length", "1"),
        ("Content-Type", JSON),
    ];
    for left_out in 0..4 {
        let mut headers = right.to_vec();
        let (name, _) = headers.remove(left_out);
        let request = raw::request("POST", SEND, &headers, b"1");
        door.refuses(&format!("no {name}"), &request, 400, "invalid_event");
    }
    for (name, value) in [
        ("ce-specversion", "0.3"),
        ("ce-id", "%"),
        ("ce-id", "%zz"),
        ("ce-id", "%C3"),
        ("ce-id", "%FF%FE"),
        ("ce-id", ""),
        ("ce-subject", "50% off"),
        ("ce-time", "noon"),
        ("ce-UPPER_case", "x"),
    ] {
        let mut headers: Vec<_> = right
            .iter()
            .filter(|(known, _)| *known != name)
            .copied()
            .collect();
        headers.push((name, value));
        let request = raw::request("POST", SEND, &headers, b"1");
        door.refuses(&format!("{name}: {value}"), &request, 400, "invalid_event");
    }
    let request = [&raw::request("POST", SEND, &right, b"")[..]].concat();
    let head = String::from_utf8(request)
        .expect("ASCII")
        .replace("ce-subject", "");
    let latin1 = head
        .replace("ce-type: t", "ce-type: \u{1}\r\nx: ")
        .into_bytes();
    assert_eq!(
        door.raw(&[&latin1[..], b"1"].concat()).status,
        400,
        "a control character"
    );
}

#[test]
fn bodies_that_are_too_large() {
    let door = Door::open();
    let body = vec![b'x'; 5 * 1024 * 1024];
    let kind = ("Content-Type", "application/octet-stream");
    let length = body.len().to_string();
    let with_length = raw::request("POST", SEND, &[kind, ("Content-Length", &length)], &body);
    door.refuses("5 MiB", &with_length, 413, "message_too_large");
    let chunks = raw::chunked(&body);
    let headers = [kind, ("Transfer-Encoding", "chunked")];
    let without_length = raw::request("POST", SEND, &headers, &chunks);
    door.refuses("5 MiB in chunks", &without_length, 413, "message_too_large");
    let event = &body[..1024 * 1024 + 1];
    let chunks = raw::chunked(event);
    let request = raw::request("POST", SEND, &headers, &chunks);
    door.refuses("1 byte over", &request, 413, "message_too_large");
    let headers = [("Content-Type", BATCH), ("Transfer-Encoding", "chunked")];
    let chunks = raw::chunked(&body);
    let request = raw::request("POST", SEND, &headers, &chunks);
    door.refuses("a batch of 5 MiB", &request, 413, "batch_too_large");
    // An announcement alone: nothing of it needs to be read.
    let announced = raw::request(
        "POST",
        SEND,
        &[kind, ("Content-Length", "99999999999999")],
        b"",
    );
    door.refuses("100 TB announced", &announced, 413, "message_too_large");
}

#[test]
fn an_event_of_exactly_the_limit_is_taken() {
    let door = Door::open();
    let body = vec![b'x'; 1024 * 1024];
    let headers = [("content-type", "text/plain")];
    door.client.send("POST", SEND, &headers, &body).expect(200);
    let received = receive(&door.client, "q", 1);
    assert_eq!(
        received[0]["event"]["data"].as_str().map(str::len),
        Some(body.len())
    );
}

#[test]
fn an_empty_body_is_an_event_without_data() {
    let door = Door::open();
    door.client
        .send("POST", SEND, &[("content-type", "text/plain")], b"")
        .expect(200);
    let received = receive(&door.client, "q", 1);
    let event = &received[0]["event"];
    assert!(event["data"].is_null() || event["data"] == "", "{event}");
}

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
    for path in ["/v1/topics/none/messages", "/v1/topics/none?x=1"] {
        let method = if path.ends_with("messages") {
            "POST"
        } else {
            "GET"
        };
        let answer = client.call(
            method,
            path,
            &[("content-type", JSON)],
            (method == "POST").then_some(b"1"),
        );
        answer.expect("an answer").refused(404, "topic_not_found");
    }
    client
        .post("/v1/queues/none/receive", &json!({}))
        .refused(404, "queue_not_found");
}

#[test]
fn unknown_fields_and_values_out_of_range_are_named() {
    let door = Door::open();
    let cases = [
        (
            "/v1/queues/new",
            json!({"colour": 1}),
            "unknown_field",
            "/colour",
        ),
        (
            "/v1/queues/new",
            json!({"dead_letter": {"queue": "q", "max_receives": 1, "x": 1}}),
            "unknown_field",
            "/dead_letter/x",
        ),
        (
            "/v1/topics/new",
            json!({"max_message_bytess": 1}),
            "unknown_field",
            "/max_message_bytess",
        ),
        (
            "/v1/topics/t/subscriptions/new",
            json!({"to": {"queue": "q"}, "filtr": {}}),
            "unknown_field",
            "/filtr",
        ),
        (
            "/v1/queues/new",
            json!({"visibility_seconds": 43_201}),
            "out_of_range",
            "/visibility_seconds",
        ),
        (
            "/v1/queues/new",
            json!({"retention_seconds": 59}),
            "out_of_range",
            "/retention_seconds",
        ),
    ];
    for (path, body, code, pointer) in cases {
        let problem = door.client.put(path, &body).refused(400, code);
        assert_eq!(problem["pointer"], pointer, "{problem}");
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
        json!([]),
        json!(null),
        json!({"fifo": 1}),
    ] {
        let answer = door.client.put("/v1/queues/new", &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let cases = [
        ("receive", json!({"max": 0})),
        ("receive", json!({"max": 1001})),
        ("receive", json!({"wait_seconds": 31})),
        ("receive", json!({"many": 1})),
        ("ack", json!({})),
        ("ack", json!({"receipts": []})),
        ("ack", json!({"receipts": [1]})),
        ("ack", json!({"receipts": vec!["x"; 1001]})),
        ("extend", json!({"receipts": ["x"]})),
        ("nack", json!({"receipts": ["x"], "delay_seconds": -1})),
    ];
    for (verb, body) in cases {
        let answer = door.client.post(&format!("/v1/queues/q/{verb}"), &body);
        assert_eq!(answer.status, 400, "{verb} {body}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    door.client
        .get("/v1/queues/new")
        .refused(404, "queue_not_found");
}

#[test]
fn wrong_filters_are_refused_with_a_pointer() {
    let door = Door::open();
    for filter in [
        json!({}),
        json!({"tags": ["a"], "keys": ["b"]}),
        json!({"tags": []}),
        json!({"keys": ["a..b"]}),
        json!({"match": {"a": [{"numeric": ["=>", 1]}]}}),
        json!({"match": {"a": [{"cidr": "300.0.0.0/8"}]}}),
        json!({"match": {"a": {"b": 1}}}),
        json!({"match": []}),
    ] {
        let body = json!({"filter": filter, "to": {"queue": "q"}});
        let answer = door.client.put("/v1/topics/t/subscriptions/s", &body);
        assert_eq!(answer.status, 400, "{filter}: {}", answer.text());
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
    let long = "y".repeat(2 * 1024 * 1024);
    let answer = door.raw(&raw::request("POST", SEND, &[("x", &long)], b""));
    assert_eq!(answer.status, 431, "a header of 2 MiB");
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

#[test]
fn an_event_with_too_many_extensions_is_refused() {
    let door = Door::open();
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for number in 0..65 {
        event[format!("e{number}")] = json!("x");
    }
    door.refuses_post(
        STRUCTURED,
        event.to_string().as_bytes(),
        400,
        "invalid_event",
    );
}
