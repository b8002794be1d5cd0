//! The door on a real socket: what a client could hold open is bounded, and a bad request costs one answer.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::rig::Door;
use crate::{GatewayConfig, serve};

struct Server {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn server(config: GatewayConfig) -> Server {
    let door = Door::with(config).with_orders().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(listener, door.gateway.clone(), async {
        let _ = stopped.await;
    }));
    let stop = Some(stop);
    Server {
        address,
        stop,
        task,
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }
}

/// Reads one answer: its head as text, and its body by its length.
async fn answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let mut text = String::from_utf8(head).expect("ASCII");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    stream.read_exact(&mut body).await.expect("the body");
    text.push_str(&String::from_utf8(body).expect("UTF-8"));
    text
}

const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn requests_may_be_pipelined() {
    let server = server(GatewayConfig::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(&[LIVE, LIVE, LIVE].concat())
        .await
        .expect("sent");
    for _ in 0..3 {
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    }
}

/// Sends a head that cannot be read, and checks that the answer is a problem as any other, the last on its connection.
async fn is_refused(server: &Server, request: &[u8], status: u16, code: &str) {
    let mut stream = server.connect().await;
    stream.write_all(request).await.expect("the door reads on");
    let text = answer(&mut stream).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    for line in [
        "content-type: application/problem+json",
        "x-request-id: ",
        "connection: close",
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {text}");
    }
    let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["code"], code, "{text}");
    assert_eq!(problem["status"], status, "{text}");
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .await
        .expect("closed, not reset");
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn heads_that_cannot_be_read_get_a_problem_and_the_next_client_is_served() {
    let server = server(GatewayConfig::default()).await;
    let many: String = (0..10_000).map(|at| format!("x-{at}: y\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    is_refused(&server, many.as_bytes(), 431, "headers_too_large").await;
    let big = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 << 20));
    is_refused(&server, big.as_bytes(), 431, "headers_too_large").await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(70_000));
    is_refused(&server, long.as_bytes(), 414, "uri_too_long").await;
    for malformed in [
        "GET\r\n\r\n",
        "G\u{0}T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        is_refused(&server, malformed.as_bytes(), 400, "malformed_request").await;
    }
    // Behind answers of ours on the same connection.
    let mut stream = server.connect().await;
    stream
        .write_all(&[LIVE, LIVE, b"GET\r\n\r\n"].concat())
        .await
        .expect("sent");
    for status in ["200", "200", "400"] {
        let text = answer(&mut stream).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains("x-request-id: "), "{text}");
    }
    let mut next = server.connect().await;
    next.write_all(LIVE).await.expect("sent");
    assert!(answer(&mut next).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_hundred_headers_are_a_request() {
    let server = server(GatewayConfig::default()).await;
    let mut stream = server.connect().await;
    let headers: String = (0..99).map(|at| format!("x-{at}: y\r\n")).collect();
    let request = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    let over = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: y\r\n{headers}\r\n");
    is_refused(&server, over.as_bytes(), 431, "headers_too_large").await;
}

#[tokio::test]
async fn a_client_that_sends_a_bad_head_for_ever_is_cut() {
    let server = server(GatewayConfig::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let lines = b"x: y\r\n".repeat(1_000);
    let endless = async { while stream.write_all(&lines).await.is_ok() {} };
    let cut = timeout(Duration::from_secs(20), endless).await;
    cut.expect("the connection ends");
}

#[tokio::test]
async fn an_oversize_chunked_body_is_413_on_a_sane_connection() {
    let server = server(GatewayConfig::default()).await;
    let mut stream = server.connect().await;
    let head =
        "POST /v1/topics/orders/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
    for _ in 0..100 {
        stream.write_all(&chunk).await.expect("the door reads on");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("sent");
    let text = answer(&mut stream).await;
    assert!(
        text.starts_with("HTTP/1.1 413 ") && text.contains("message_too_large"),
        "{text}"
    );
    stream.write_all(LIVE).await.expect("sent");
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = server(GatewayConfig::default()).await;
    let mut stream = server.connect().await;
    let head = "PUT /v1/plugins/p/versions/1 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let text = answer(&mut stream).await;
    assert!(
        text.starts_with("HTTP/1.1 413 ") && text.contains("component_too_large"),
        "{text}"
    );
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut() {
    let config = GatewayConfig {
        head_read_max: Duration::from_millis(200),
        body_read_max: Duration::from_millis(200),
        ..GatewayConfig::default()
    };
    let server = server(config).await;
    let mut head = server.connect().await;
    head.write_all(b"GET /livez HTTP/1.1\r\nhos")
        .await
        .expect("sent");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), head.read_to_end(&mut rest))
        .await
        .expect("cut")
        .expect("closed");
    let mut body = server.connect().await;
    let head =
        "POST /v1/topics/orders/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    body.write_all(head.as_bytes()).await.expect("sent");
    let text = timeout(Duration::from_secs(5), answer(&mut body))
        .await
        .expect("answered");
    assert!(
        text.starts_with("HTTP/1.1 408 ") && text.contains("request_timeout"),
        "{text}"
    );
}

/// A receive that waits for so many seconds.
fn long_poll(seconds: u32) -> String {
    let body = format!(r#"{{"wait_seconds":{seconds}}}"#);
    format!(
        "POST /v1/queues/work/receive HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_time_of_a_head_begins_with_the_answer_before() {
    let config = GatewayConfig {
        head_read_max: Duration::from_millis(400),
        ..GatewayConfig::default()
    };
    let server = server(config).await;
    let mut stream = server.connect().await;
    // Served for longer than a head may take, twice, with a pause in between that is shorter.
    for _ in 0..2 {
        stream
            .write_all(long_poll(1).as_bytes())
            .await
            .expect("sent");
        let text = timeout(Duration::from_secs(5), answer(&mut stream)).await;
        assert!(text.expect("in time").ends_with(r#"{"messages":[]}"#));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // A byte now and then is no head.
    let began = Instant::now();
    let mut dripped = Vec::new();
    let (mut read, mut write) = stream.split();
    let drip = async {
        for byte in b"GET /livez HTTP/1.1\r\nhost: example.com\r\n".repeat(100) {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = read.read_to_end(&mut dripped) => {}
        () = drip => panic!("it may drip for ever"),
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    // A client that sends nothing at all loses its connection as well.
    let mut idle = server.connect().await;
    idle.write_all(LIVE).await.expect("sent");
    answer(&mut idle).await;
    let closed = timeout(Duration::from_secs(5), idle.read_to_end(&mut dripped)).await;
    closed.expect("cut").expect("closed");
}

#[tokio::test]
async fn stopping_answers_long_polls_and_ends() {
    let mut server = server(GatewayConfig::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(long_poll(30).as_bytes())
        .await
        .expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server
        .stop
        .take()
        .expect("once")
        .send(())
        .expect("the server runs");
    let text = timeout(Duration::from_secs(5), answer(&mut stream))
        .await
        .expect("answered");
    assert!(text.ends_with(r#"{"messages":[]}"#), "{text}");
    timeout(Duration::from_secs(5), server.task)
        .await
        .expect("ended")
        .expect("no panic");
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn connections_past_the_bound_wait_for_room() {
    let config = GatewayConfig {
        connections_max: 1,
        ..GatewayConfig::default()
    };
    let server = server(config).await;
    let mut first = server.connect().await;
    first.write_all(LIVE).await.expect("sent");
    answer(&mut first).await;
    let mut second = server.connect().await;
    second.write_all(LIVE).await.expect("sent");
    let early = timeout(Duration::from_millis(200), answer(&mut second)).await;
    assert!(early.is_err(), "the first still holds the place");
    drop(first);
    let text = timeout(Duration::from_secs(5), answer(&mut second))
        .await
        .expect("answered");
    assert!(text.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let config = GatewayConfig {
        connections_max: 1,
        unread_max: Duration::from_millis(500),
        ..GatewayConfig::default()
    };
    let server = server(config).await;
    let mut deaf = server.connect().await;
    // Far more answers than the buffers of both ends hold.
    let openapi = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
    deaf.write_all(&openapi).await.expect("sent");
    let mut next = server.connect().await;
    next.write_all(LIVE).await.expect("sent");
    let text = timeout(Duration::from_secs(20), answer(&mut next)).await;
    assert!(text.expect("served in time").starts_with("HTTP/1.1 200 "));
    drop(deaf);
}
