//! The process: how it starts, what it says, and how it ends.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use millrace_tests::{Broker, millrace, raw};
use serde_json::json;

use crate::scene::{counter, queue, receive, receive_with};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(millrace());
    command.args(arguments).env_remove("MILLRACE_SERVER");
    command.output().expect("the binary can be run")
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let mut broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || {
                let send = || {
                    client.call(
                        "POST",
                        "/v1/queues/q/messages",
                        &[("content-type", "text/plain")],
                        Some(b"x"),
                    )
                };
                // Until the broker stops taking connections.
                std::iter::repeat_with(send)
                    .map_while(Result::ok)
                    .take_while(|answer| answer.status != 503)
                    .inspect(|answer| assert_eq!(answer.status, 200, "{}", answer.text()))
                    .count()
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    broker.ask_to_stop();
    let end = broker.wait_for_end(Duration::from_secs(30));
    assert_eq!(end.code(), Some(0), "{}", broker.log());
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    let acknowledged: usize = senders
        .into_iter()
        .map(|sender| sender.join().expect("only right answers"))
        .sum();
    assert!(acknowledged > 0);
    broker.restart();
    let stored = counter(&broker.client(), "q", "ready");
    // A request whose answer was lost may have been stored: one a sender at most.
    assert!(
        (acknowledged as u64..=acknowledged as u64 + 8).contains(&stored),
        "{acknowledged} acknowledged, {stored} stored"
    );
}

#[test]
fn sigterm_does_not_wait_for_long_polls() {
    let mut broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let poll = std::thread::spawn(move || {
        let body = json!({"wait_seconds": 30}).to_string();
        client.call(
            "POST",
            "/v1/queues/q/receive",
            &[("content-type", "application/json")],
            Some(body.as_bytes()),
        )
    });
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    assert_eq!(broker.stop().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    if let Ok(answer) = poll.join().expect("the poll ends") {
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
    }
}

#[test]
fn an_idle_or_silent_connection_holds_up_nobody() {
    let mut broker = Broker::start();
    let client = broker.client();
    queue(&client, "q");
    let connections: Vec<_> = (0..100)
        .map(|_| std::net::TcpStream::connect(broker.address()).expect("a connection"))
        .collect();
    assert!(receive(&client, "q", 1).is_empty());
    let answer = raw::exchange(broker.address(), &raw::request("GET", "/livez", &[], b""));
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(broker.stop().code(), Some(0), "nor the end of the broker");
    drop(connections);
}

#[test]
fn wrong_usage_exits_with_2_and_failure_with_1() {
    let usage = run(&["serve", "--listen", "nonsense"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let usage = run(&["frobnicate"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let failed = run(&["queue", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let broker = Broker::start();
    let taken = run(&[
        "serve",
        "--data",
        "/proc/nowhere",
        "--listen",
        "127.0.0.1:0",
        "--peer-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    let failed = run(&["queue", "show", "none", "--server", broker.url()]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(
        String::from_utf8_lossy(&failed.stderr).contains("queue_not_found"),
        "{failed:?}"
    );
}

#[test]
fn the_command_line_does_what_the_http_interface_does() {
    let broker = Broker::start();
    let millrace = |arguments: &[&str]| {
        let output = run(&[arguments, &["--server", broker.url(), "--output", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    millrace(&["topic", "create", "t"]);
    millrace(&["queue", "create", "q", "--visibility-seconds", "60"]);
    millrace(&[
        "subscription",
        "create",
        "t",
        "s",
        "--queue",
        "q",
        "--tags",
        "a",
    ]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "{\"n\": 1}").expect("written");
    let file = file.path().to_str().expect("a path");
    millrace(&[
        "publish",
        "t",
        "--file",
        file,
        "--type",
        "test",
        "--header",
        "ce-tags=a",
    ]);
    let listed = millrace(&["queue", "list"]);
    assert!(listed.contains("\"q\""), "{listed}");
    let received = millrace(&["receive", "q", "--max", "10", "--wait", "5", "--ack"]);
    let received: serde_json::Value = serde_json::from_str(&received).expect("JSON");
    assert_eq!(
        received["messages"][0]["event"]["data"],
        json!({"n": 1}),
        "{received}"
    );
    assert!(receive_with(&broker.client(), "q", &json!({"max": 10})).is_empty());
    assert_eq!(counter(&broker.client(), "q", "leased"), 0, "acked");
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).stdout.len() > 1000);
    }
}
