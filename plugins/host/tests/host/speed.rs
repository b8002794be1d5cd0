//! What routing costs. Not a test of the machine: it runs by hand, in release, and prints figures.
//!
//! `cargo test --release -p millrace-plugin-host --test host -- --ignored --nocapture speed`

use std::time::{Duration, Instant};

use millrace_model::event::{Attribute, Event};
use millrace_model::{Router, Timestamp};
use serde_json::{Value, json};

use crate::support::{World, event, guest};

/// CPU time of this process: user and system, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn order(at: usize) -> Event {
    let mut event = event("order.created", &json!({"padding": "x".repeat(1000)}));
    event.id = format!("0199a3c1-0000-7000-8000-{at:012}");
    event.source = "/shops/hamburg".into();
    event.subject = Some(format!("customer-{}", at % 100));
    event.extensions.push((
        "region".into(),
        Attribute::Text(if at.is_multiple_of(2) { "eu" } else { "us" }.into()),
    ));
    event
}

async fn measure(label: &str, config: Value, batch: usize) {
    let mut world = World::new();
    world.push("content-router", guest("content-router")).await;
    world.queues(&["eu", "us", "rest"]);
    let mut subscription = json!({
        "to": {"destinations": {"eu": {"queue": "eu"}, "us": {"queue": "us"}, "rest": {"queue": "rest"}}},
    });
    if !config.is_null() {
        subscription["plugin"] =
            json!({"name": "content-router", "version": "1", "config": config});
    }
    world.subscribe("orders", "route", subscription);
    let mut request = world.request("orders", (0..batch).map(order).collect());
    request.explain = false;
    request.accepted_at = Timestamp(1);
    let calls = 400_000 / batch;
    let mut best = f64::MAX;
    let mut wall = f64::MAX;
    for _ in 0..3 {
        let (began, cpu_before) = (Instant::now(), cpu());
        for _ in 0..calls {
            let plans = world.host.plan(request.clone()).await.unwrap();
            assert_eq!(plans.len(), batch);
        }
        best = best.min((cpu() - cpu_before).as_secs_f64() * 1e6 / (calls * batch) as f64);
        wall = wall.min(began.elapsed().as_secs_f64() * 1e6 / (calls * batch) as f64);
    }
    println!(
        "{label:<28} batch {batch:>4}: {best:>6.2} us of CPU an event, {wall:>6.2} us on the clock"
    );
}

fn four_attributes() -> Value {
    json!({
        "rules": [
            {"attributes": {"type": "order.created", "region": "eu", "source": {"prefix": "/shops/"}, "subject": {"exists": true}}, "to": ["eu"]},
            {"attributes": {"type": {"prefix": "order."}}, "to": ["us"]},
        ],
        "default": ["rest"],
    })
}

#[tokio::test]
#[ignore = "prints figures; for release builds"]
async fn speed() {
    for batch in [1, 16, 64] {
        measure("no plugin", Value::Null, batch).await;
        measure("router, 4 attributes", four_attributes(), batch).await;
    }
    let data = json!({"rules": [{"data": {"/padding": {"prefix": "x"}}, "to": ["eu"]}]});
    measure("router, 1 KiB of data", data, 16).await;
}
