//! One consumer of a load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use crate::client::Answer;
use crate::history::{Fact, History};

/// Receives from `queue` until the load ends; begins at the door of this number.
pub(super) fn run(shared: &Arc<Shared>, queue: &str, number: usize) {
    let mut random = fastrand::Rng::with_seed(shared.seed.wrapping_add(number as u64));
    let mut caller = Caller::new(shared.clone(), number);
    while shared.consuming.load(Ordering::Relaxed) {
        let asked_at = shared.history.tick();
        let body = json!({"max": random.u32(1..=64), "wait_seconds": 1, "visibility_seconds": random.u32(2..=4)});
        let path = format!("/v1/queues/{queue}/receive");
        let Some(answer) = caller.post(&path, &JSON, body.to_string().as_bytes()) else {
            continue;
        };
        let received = record_deliveries(shared, queue, &answer.json(), asked_at);
        if received.is_empty() {
            continue;
        }
        match random.u8(..20) {
            0 => {} // The lease ends by itself.
            1 => nack(&mut caller, queue, &received),
            _ => ack(shared, &mut caller, queue, &received),
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

fn ack(shared: &Shared, caller: &mut Caller, queue: &str, received: &HashMap<String, u64>) {
    let Some(answer) = settle(caller, queue, "ack", received) else {
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

fn nack(caller: &mut Caller, queue: &str, received: &HashMap<String, u64>) {
    let _ = settle(caller, queue, "nack", received);
}

fn settle(
    caller: &mut Caller,
    queue: &str,
    verb: &str,
    received: &HashMap<String, u64>,
) -> Option<Answer> {
    let receipts: Vec<&String> = received.keys().collect();
    let body = json!({ "receipts": receipts }).to_string();
    let path = format!("/v1/queues/{queue}/{verb}");
    caller.post(&path, &JSON, body.as_bytes())
}
