//! [`Publisher`]: one publisher of a load.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::caller::{Caller, ask};
use super::{PACE, PROBES_FROM, QUEUES, Shared, TOPIC};
use crate::client::Answer;
use crate::history::{Fact, History, Outcome};

const DATA_BYTES_MAX: usize = 1024;
const BATCH_EVENTS_MAX: u64 = 16;
/// Longest wait for the answer to one try of a probe.
const PROBE_ANSWER_MAX: Duration = Duration::from_secs(5);
/// Between two tries of a probe: the precision of what it measures.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// Publishes events that nobody else publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    caller: Caller,
    number: u64,
    next: u64,
    random: fastrand::Rng,
}

/// One event.
#[derive(Debug)]
struct Event {
    id: String,
    data: Vec<u8>,
}

impl Publisher {
    /// The publisher of this number; it begins at the door of this number.
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        let random = fastrand::Rng::with_seed(shared.seed ^ (number << 32));
        Self {
            caller: Caller::new(shared.clone(), number as usize),
            shared,
            number,
            next: 0,
            random,
        }
    }

    /// Publishes until the load ends.
    pub(super) fn run(mut self) {
        while self.shared.publishing.load(Ordering::Relaxed) {
            match self.random.u8(..6) {
                0 | 1 => self.publish_one(),
                2 => self.send_one(),
                3 => self.send_batch_once(),
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

    fn post_binary(&mut self, path: &str, event: &Event) -> Option<Answer> {
        let headers = [
            ("content-type", "application/octet-stream"),
            ("ce-specversion", "1.0"),
            ("ce-id", &event.id),
            ("ce-source", "/crash"),
            ("ce-type", "test.crash"),
        ];
        self.caller.post(path, &headers, &event.data)
    }

    /// A batch to the topic that is accepted once.
    fn publish_batch_once(&mut self) {
        self.batch_once(&format!("/v1/topics/{TOPIC}/messages"), &QUEUES);
    }

    /// A batch straight to a queue that is accepted once.
    fn send_batch_once(&mut self) {
        let queue = QUEUES[0];
        self.batch_once(&format!("/v1/queues/{queue}/messages"), &[queue]);
    }

    /// A batch with an `Idempotency-Key`, tried until an answer comes.
    fn batch_once(&mut self, path: &str, queues: &[&str]) {
        let count = self.random.u64(1..=BATCH_EVENTS_MAX);
        let events: Vec<Event> = (0..count).map(|_| self.event()).collect();
        let body = Value::from_iter(events.iter().map(structured)).to_string();
        let key = format!("{}-{}", self.number, self.next);
        let headers = [
            ("content-type", "application/cloudevents-batch+json"),
            ("idempotency-key", &key),
        ];
        let answer = loop {
            match self.caller.post(path, &headers, body.as_bytes()) {
                Some(answer) => break Some(answer),
                None if !self.shared.publishing.load(Ordering::Relaxed) => break None,
                None => {}
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
            self.record(event, queues, true, outcome(answer.is_some()));
        }
    }

    /// One event with an `Idempotency-Key` through `doors` in turn: how long until it was acknowledged.
    pub(super) fn probe(mut self, doors: &[String], most: Duration) -> Option<Duration> {
        let event = self.event();
        let path = format!("/v1/topics/{TOPIC}/messages");
        let headers = [
            ("content-type", "application/octet-stream"),
            ("ce-specversion", "1.0"),
            ("ce-id", &event.id),
            ("ce-source", "/crash"),
            ("ce-type", "test.crash"),
            ("idempotency-key", &event.id),
        ];
        let began = Instant::now();
        for door in doors.iter().cycle() {
            let data = Some(event.data.as_slice());
            if ask(door, PROBE_ANSWER_MAX, "POST", &path, &headers, data).is_some() {
                let took = began.elapsed();
                self.record(&event, &QUEUES, true, Outcome::Acknowledged);
                return Some(took);
            }
            if began.elapsed() > most {
                break;
            }
            std::thread::sleep(PROBE_EVERY);
        }
        self.record(&event, &QUEUES, true, Outcome::Unknown);
        None
    }

    fn record(&self, event: &Event, queues: &[&str], once: bool, outcome: Outcome) {
        self.shared.history.record(Fact::Published {
            id: event.id.clone(),
            digest: History::digest(&event.data),
            queues: queues.iter().map(|&name| name.to_owned()).collect(),
            once,
            outcome,
        });
        // Probes go through some doors only.
        if outcome == Outcome::Acknowledged && self.number < PROBES_FROM {
            let mut stall = self.shared.stall.lock().expect("no client panicked");
            stall.end();
        }
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
