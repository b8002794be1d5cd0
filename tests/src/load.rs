//! [`Load`]: publishers and consumers that go on while the broker dies under them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::history::{Fact, History, Outcome};

/// The topic that is published to; both queues subscribe to it.
const TOPIC: &str = "crash";
/// The queues.
const QUEUES: [&str; 2] = ["crash-a", "crash-b"];
const PUBLISHERS: u64 = 4;
const CONSUMERS_A_QUEUE: usize = 2;
/// Between two requests of one publisher: the consumers keep up, and the log stays short enough not to be purged, so that
/// all of it can be replayed.
const PACE: Duration = Duration::from_millis(10);
const DATA_BYTES_MAX: usize = 1024;
const BATCH_EVENTS_MAX: u64 = 16;
const DRAIN_SECONDS_MAX: u64 = 120;

/// A running load. What it does and sees goes into its [`History`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    url: RwLock<String>,
    seed: u64,
    publishing: AtomicBool,
    consuming: AtomicBool,
    deliveries: AtomicU64,
    history: History,
}

impl Load {
    /// Creates topic, queues and subscriptions on a fresh broker, and starts. `seed` decides data and sizes; moments are
    /// up to the operating system.
    #[must_use]
    pub fn start(url: &str, seed: u64) -> Self {
        set_up(&Client::new(url));
        let shared = Arc::new(Shared {
            url: RwLock::new(url.to_owned()),
            seed,
            publishing: AtomicBool::new(true),
            consuming: AtomicBool::new(true),
            deliveries: AtomicU64::new(0),
            history: History::default(),
        });
        let publishers = (0..PUBLISHERS).map(|number| {
            let shared = shared.clone();
            std::thread::spawn(move || Publisher::new(shared, number).run())
        });
        let publishers = publishers.collect();
        let consumers = QUEUES.iter().flat_map(|queue| [*queue; CONSUMERS_A_QUEUE]);
        let consumers = consumers.enumerate().map(|(number, queue)| {
            let shared = shared.clone();
            std::thread::spawn(move || consume(&shared, queue, number as u64))
        });
        Self {
            consumers: consumers.collect(),
            publishers,
            shared,
        }
    }

    /// Tells everybody where the broker is now.
    pub fn point_to(&self, url: &str) {
        url.clone_into(&mut self.shared.url.write().expect("no client panicked"));
    }

    /// Events received so far.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.shared.deliveries.load(Ordering::Relaxed)
    }

    /// What was seen so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// Stops publishing, lets the consumers empty the queues, and stops them.
    ///
    /// # Panics
    /// When a client met what it must not meet, or the queues do not get empty.
    pub fn drain(&mut self) {
        self.shared.publishing.store(false, Ordering::Relaxed);
        for thread in self.publishers.drain(..) {
            thread
                .join()
                .expect("a publisher met what it must not meet");
        }
        self.wait_until_empty();
        self.shared.consuming.store(false, Ordering::Relaxed);
        for thread in self.consumers.drain(..) {
            thread.join().expect("a consumer met what it must not meet");
        }
    }

    fn wait_until_empty(&self) {
        let client = self.shared.client();
        let began = Instant::now();
        let empty = |queue: &&str| {
            let counters = client.get(&format!("/v1/queues/{queue}")).with(200).json();
            ["ready", "leased", "delayed"]
                .iter()
                .all(|state| find(&counters, state) == Some(0))
        };
        while !QUEUES.iter().all(empty) {
            assert!(
                began.elapsed() < Duration::from_secs(DRAIN_SECONDS_MAX),
                "the queues are not empty after {DRAIN_SECONDS_MAX} s"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A counter of `GET /v1/queues/{queue}`, beside the configuration or in `counters`.
fn find(queue: &Value, counter: &str) -> Option<u64> {
    queue[counter]
        .as_u64()
        .or_else(|| queue["counters"][counter].as_u64())
}

fn set_up(client: &Client) {
    client
        .put(&format!("/v1/topics/{TOPIC}"), &json!({}))
        .expect(201);
    for queue in QUEUES {
        let config = json!({"retention_seconds": null});
        client
            .put(&format!("/v1/queues/{queue}"), &config)
            .expect(201);
        let path = format!("/v1/topics/{TOPIC}/subscriptions/{queue}");
        client
            .put(&path, &json!({"to": {"queue": queue}}))
            .expect(201);
    }
}

impl Shared {
    fn client(&self) -> Client {
        Client::new(&self.url.read().expect("no client panicked"))
    }

    /// POST; `None` when the outcome is unknown or the broker is away.
    ///
    /// # Panics
    /// When the broker refuses: nothing that this load sends is wrong.
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let answer = self.client().call("POST", path, headers, Some(body)).ok()?;
        match answer.status {
            200 => Some(answer),
            429 | 503 | 504 => None,
            _ => panic!("POST {path}: {}: {}", answer.status, answer.text()),
        }
    }
}

struct Publisher {
    shared: Arc<Shared>,
    number: u64,
    next: u64,
    random: fastrand::Rng,
}

struct Event {
    id: String,
    data: Vec<u8>,
}

impl Publisher {
    fn new(shared: Arc<Shared>, number: u64) -> Self {
        let random = fastrand::Rng::with_seed(shared.seed ^ (number << 32));
        Self {
            shared,
            number,
            next: 0,
            random,
        }
    }

    fn run(mut self) {
        while self.shared.publishing.load(Ordering::Relaxed) {
            match self.random.u8(..3) {
                0 => self.publish_one(),
                1 => self.send_one(),
                _ => self.publish_batch_once(),
            }
            std::thread::sleep(PACE);
        }
    }

    fn event(&mut self) -> Event {
        self.next += 1;
        let bytes = self.random.usize(1..=DATA_BYTES_MAX);
        let mut data = vec![0; bytes];
        self.random.fill(&mut data);
        let id = format!("{}-{}", self.number, self.next);
        Event { id, data }
    }

    /// One event in binary mode to the topic, tried once.
    fn publish_one(&mut self) {
        let event = self.event();
        let answer = self.post_binary(&format!("/v1/topics/{TOPIC}/messages"), &event);
        self.record(&event, &QUEUES, false, outcome(answer.is_some()));
    }

    /// One event straight to a queue, tried once.
    fn send_one(&mut self) {
        let event = self.event();
        let queue = QUEUES[0];
        let answer = self.post_binary(&format!("/v1/queues/{queue}/messages"), &event);
        self.record(&event, &[queue], false, outcome(answer.is_some()));
    }

    fn post_binary(&self, path: &str, event: &Event) -> Option<Answer> {
        let headers = [
            ("content-type", "application/octet-stream"),
            ("ce-specversion", "1.0"),
            ("ce-id", &event.id),
            ("ce-source", "/crash"),
            ("ce-type", "test.crash"),
        ];
        self.shared.post(path, &headers, &event.data)
    }

    /// A batch with an `Idempotency-Key`, tried until an answer comes.
    fn publish_batch_once(&mut self) {
        let count = self.random.u64(1..=BATCH_EVENTS_MAX);
        let events: Vec<Event> = (0..count).map(|_| self.event()).collect();
        let body = Value::from_iter(events.iter().map(structured)).to_string();
        let key = format!("{}-{}", self.number, self.next);
        let headers = [
            ("content-type", "application/cloudevents-batch+json"),
            ("idempotency-key", &key),
        ];
        let path = format!("/v1/topics/{TOPIC}/messages");
        let answer = loop {
            match self.shared.post(&path, &headers, body.as_bytes()) {
                Some(answer) => break Some(answer),
                None if !self.shared.publishing.load(Ordering::Relaxed) => break None,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if let Some(answer) = &answer {
            let results = answer.json();
            let results = results["messages"].as_array().expect("a result an event");
            assert_eq!(results.len(), events.len());
            assert!(
                results.iter().all(|one| one["error"].is_null()),
                "{results:?}"
            );
        }
        for event in &events {
            self.record(event, &QUEUES, true, outcome(answer.is_some()));
        }
    }

    fn record(&self, event: &Event, queues: &[&str], once: bool, outcome: Outcome) {
        self.shared.history.record(Fact::Published {
            id: event.id.clone(),
            digest: History::digest(&event.data),
            queues: queues.iter().map(|&name| name.to_owned()).collect(),
            once,
            outcome,
        });
    }
}

fn structured(event: &Event) -> Value {
    json!({
        "specversion": "1.0", "id": event.id, "source": "/crash", "type": "test.crash",
        "datacontenttype": "application/octet-stream", "data_base64": BASE64.encode(&event.data),
    })
}

fn outcome(answered: bool) -> Outcome {
    if answered {
        Outcome::Acknowledged
    } else {
        Outcome::Unknown
    }
}

fn consume(shared: &Shared, queue: &str, number: u64) {
    let mut random = fastrand::Rng::with_seed(shared.seed.wrapping_add(number));
    while shared.consuming.load(Ordering::Relaxed) {
        let asked_at = shared.history.tick();
        let body = json!({"max": random.u32(1..=64), "wait_seconds": 1, "visibility_seconds": random.u32(2..=4)});
        let path = format!("/v1/queues/{queue}/receive");
        let Some(answer) = shared.post(&path, &JSON, body.to_string().as_bytes()) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let received = record_deliveries(shared, queue, &answer.json(), asked_at);
        if received.is_empty() {
            continue;
        }
        match random.u8(..20) {
            0 => {} // The lease ends by itself.
            1 => nack(shared, queue, &received),
            _ => ack(shared, queue, &received),
        }
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Records what came, and gives the sequence of each receipt.
fn record_deliveries(
    shared: &Shared,
    queue: &str,
    answer: &Value,
    asked_at: u64,
) -> HashMap<String, u64> {
    let messages = answer["messages"].as_array().expect("a list of messages");
    let mut received = HashMap::new();
    for message in messages {
        let sequence = message["sequence"].as_u64().expect("a sequence");
        let event = &message["event"];
        let data = event["data_base64"].as_str().expect("binary data");
        let data = BASE64.decode(data).expect("base64");
        shared.history.record(Fact::Delivered {
            queue: queue.to_owned(),
            id: event["id"].as_str().expect("an id").to_owned(),
            sequence,
            digest: History::digest(&data),
            asked_at,
        });
        let receipt = message["receipt"].as_str().expect("a receipt");
        received.insert(receipt.to_owned(), sequence);
    }
    shared
        .deliveries
        .fetch_add(messages.len() as u64, Ordering::Relaxed);
    received
}

fn ack(shared: &Shared, queue: &str, received: &HashMap<String, u64>) {
    let Some(answer) = settle(shared, queue, "ack", received) else {
        return;
    };
    let answered_at = shared.history.tick();
    let answer = answer.json();
    let failed = answer["failed"].as_array().expect("a list of failures");
    let failed: Vec<&str> = failed
        .iter()
        .filter_map(|one| one["receipt"].as_str())
        .collect();
    let acked = received
        .iter()
        .filter(|(receipt, _)| !failed.contains(&receipt.as_str()));
    for (_, sequence) in acked {
        shared.history.record(Fact::Acked {
            queue: queue.to_owned(),
            sequence: *sequence,
            answered_at,
        });
    }
}

fn nack(shared: &Shared, queue: &str, received: &HashMap<String, u64>) {
    let _ = settle(shared, queue, "nack", received);
}

fn settle(
    shared: &Shared,
    queue: &str,
    verb: &str,
    received: &HashMap<String, u64>,
) -> Option<Answer> {
    let receipts: Vec<&String> = received.keys().collect();
    let body = json!({ "receipts": receipts }).to_string();
    let path = format!("/v1/queues/{queue}/{verb}");
    shared.post(&path, &JSON, body.as_bytes())
}
