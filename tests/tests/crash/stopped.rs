//! A leader that stands still (SIGSTOP) while the others elect a new one, and then goes on as if nothing had been.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_tests::{Answer, Client, Cluster, Load, counter};
use serde_json::json;

use crate::table::Run;
use crate::verdict::judge_cluster;
use crate::{DATA_GROUP, alone, promise};

/// How long the leader stands still.
const STOPPED: Duration = Duration::from_secs(5);
/// For how long the revived one is asked.
const ASKED_AFTER: Duration = Duration::from_secs(3);
/// Messages that the old leader knows as ready, and nobody else any more.
const MESSAGES: usize = 10;
/// Each question is sent so many times while the leader stands still: it finds them all when it goes on.
const QUESTIONS_WAITING: usize = 8;

#[test]
fn a_leader_that_stood_still_serves_nothing_stale() {
    let _alone = alone();
    let mut cluster = Cluster::start(3);
    let mut load = Load::start(&cluster.urls(), 2);
    let leader = one_leads_all(&cluster);
    let client = Client::new(&cluster.url(leader));
    fill(&client);

    cluster.node(leader).signal("STOP");
    let stopped = Instant::now();
    let others = cluster.urls_without(leader);
    let took = promise::served(&load, &others);
    empty(&others);
    insist("create the new queue", &others, |client| {
        client.put("/v1/queues/new", &json!({}))
    });
    let waiting: Vec<JoinHandle<bool>> = (0..QUESTIONS_WAITING)
        .flat_map(|_| QUESTIONS)
        .map(|question| {
            let client = client.clone();
            std::thread::spawn(move || question(&client))
        })
        .collect();
    std::thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
    let before = load.deliveries();
    cluster.node(leader).signal("CONT");
    let revived = Instant::now();
    let mut answers = [0; QUESTIONS.len()];
    while revived.elapsed() < ASKED_AFTER {
        for (count, question) in answers.iter_mut().zip(QUESTIONS) {
            *count += usize::from(question(&client));
        }
    }
    for question in waiting {
        question.join().expect("the revived node answered wrongly");
    }
    assert!(load.deliveries() > before, "the load goes on");
    cluster.node(leader).get_ready();
    // Had it only ever refused, nothing would have been shown.
    cluster.wait("the revived node to answer all it is asked", |_| {
        let mut asked = QUESTIONS.iter().map(|question| question(&client));
        asked.all(|is_answered| is_answered).then_some(())
    });
    load.drain();
    let figures = judge_cluster(&mut cluster, &load);
    Run::new("leader stands still (SIGSTOP)")
        .after(&[took])
        .record(figures);
    println!(
        "leader stood still for 5 s: the others served after {took:.2?}; the revived one answered {answers:?} questions at first; {figures:?}"
    );
}

/// Makes one node lead all groups.
fn one_leads_all(cluster: &Cluster) -> u64 {
    cluster.wait("one node to lead all groups", |cluster| {
        let leader = cluster.leader(DATA_GROUP)?;
        if cluster.leader(0) == Some(leader) {
            return Some(leader);
        }
        let body = json!({ "node": leader });
        let _ = Client::new(&cluster.url(leader)).post("/v1/cluster/transfer", &body);
        None
    })
}

fn fill(client: &Client) {
    client.put("/v1/queues/still", &json!({})).expect(201);
    let headers = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "still"),
        ("ce-source", "/crash"),
        ("ce-type", "test.still"),
    ];
    for _ in 0..MESSAGES {
        let path = "/v1/queues/still/messages";
        client.send("POST", path, &headers, b"still").expect(200);
    }
    assert_eq!(count(&client.get("/v1/queues/still")), MESSAGES as u64);
}

/// Receives and acks all messages through the others.
fn empty(others: &[String]) {
    let mut acked = 0;
    let began = Instant::now();
    while acked < MESSAGES {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{acked} of {MESSAGES} acked"
        );
        let receive = json!({"max": MESSAGES, "wait_seconds": 1, "visibility_seconds": 3});
        let answer = insist("receive", others, |client| {
            client.post("/v1/queues/still/receive", &receive)
        });
        let messages = answer.json()["messages"].as_array().cloned();
        let receipts: Vec<_> = (messages.expect("messages").iter())
            .map(|message| message["receipt"].clone())
            .collect();
        if receipts.is_empty() {
            continue;
        }
        let answer = insist("ack", others, |client| {
            client.post("/v1/queues/still/ack", &json!({ "receipts": receipts }))
        });
        acked += answer.json()["acked"].as_u64().expect("a number") as usize;
    }
}

/// Asks the nodes in turn until one does it.
fn insist(what: &str, others: &[String], ask: impl Fn(&Client) -> Answer) -> Answer {
    let began = Instant::now();
    for url in others.iter().cycle() {
        let answer = ask(&Client::new(url));
        match answer.status {
            200 | 201 => return answer,
            429 | 503 | 504 => {}
            _ => panic!("{what}: {}: {}", answer.status, answer.text()),
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{what}: {}",
            answer.text()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    unreachable!("the nodes are asked again and again")
}

/// What the revived node is asked. Each may be refused for now (503, 504), but never answered from the past.
/// They tell whether it was answered.
const QUESTIONS: [fn(&Client) -> bool; 3] = [counts_nothing, receives_nothing, knows_the_new_queue];

fn counts_nothing(client: &Client) -> bool {
    let answer = client.get("/v1/queues/still");
    let is_answered = answered(&answer);
    if is_answered {
        assert_eq!(count(&answer), 0, "stale: {}", answer.text());
    }
    is_answered
}

fn receives_nothing(client: &Client) -> bool {
    let body = json!({"max": 10, "wait_seconds": 0, "visibility_seconds": 3});
    let answer = client.post("/v1/queues/still/receive", &body);
    let is_answered = answered(&answer);
    if is_answered {
        assert_eq!(
            answer.json()["messages"],
            json!([]),
            "a lease on what is gone"
        );
    }
    is_answered
}

fn knows_the_new_queue(client: &Client) -> bool {
    answered(&client.get("/v1/queues/new"))
}

/// Whether it was answered, and not refused for now.
fn answered(answer: &Answer) -> bool {
    let is_refused = matches!(answer.status, 429 | 503 | 504);
    assert!(
        is_refused || answer.status == 200,
        "{}: {}",
        answer.status,
        answer.text()
    );
    !is_refused
}

fn count(answer: &Answer) -> u64 {
    let queue = answer.clone().with(200).json();
    let states = ["ready", "leased"];
    let counts = states.map(|state| counter(&queue, state).expect("a counter"));
    counts.iter().sum()
}
