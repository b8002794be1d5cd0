//! How long it takes until a node that was replaced has all the data. A figure, not a verdict: not run by default.

use std::time::Instant;

use millrace_tests::{Client, Cluster};
use serde_json::{Value, json};

use crate::alone;
use crate::lost_disk::replace;

/// Entries that the node must get, unless `CRASH_ENTRIES` says otherwise.
const ENTRIES: usize = 200_000;
const BATCH: usize = 200;
/// Bytes of data an event.
const DATA_BYTES: usize = 1024;

#[test]
#[ignore = "a figure that takes minutes: CRASH_ENTRIES=1000000 cargo test --workspace --test crash repair -- --ignored --nocapture"]
fn a_replaced_node_gets_all_entries() {
    let _alone = alone();
    let entries = std::env::var("CRASH_ENTRIES").ok();
    let entries = entries.map_or(ENTRIES, |entries| entries.parse().expect("a number"));
    let mut cluster = Cluster::start(3);
    let client = Client::new(&cluster.url(1));
    client.put("/v1/queues/many", &json!({})).expect(201);
    let began = Instant::now();
    let batch = Value::from_iter((0..BATCH).map(event)).to_string();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    for _ in 0..entries / BATCH {
        let path = "/v1/queues/many/messages";
        client
            .send("POST", path, &headers, batch.as_bytes())
            .expect(200);
    }
    println!(
        "{entries} entries of {DATA_BYTES} bytes published in {:.1?}",
        began.elapsed()
    );

    cluster.node(3).kill();
    // If it led: until there is another leader nobody can be removed.
    for group in [0, crate::DATA_GROUP] {
        cluster.wait("another leader", |cluster| {
            cluster.leader(group).filter(|leader| *leader != 3)
        });
    }
    let began = Instant::now();
    replace(&mut cluster, 3, 1, 4);
    println!(
        "node 3 removed, node 4 added: a voter with all of it after {:.1?}",
        began.elapsed()
    );
    let client = Client::new(&cluster.url(4));
    let queue = client.get("/v1/queues/many").with(200).json();
    let ready = millrace_tests::counter(&queue, "ready");
    assert_eq!(ready, Some(entries as u64));
    cluster.wait_until_level();
}

fn event(number: usize) -> Value {
    json!({
        "specversion": "1.0", "id": number.to_string(), "source": "/crash", "type": "test.repair",
        "datacontenttype": "text/plain", "data": "x".repeat(DATA_BYTES),
    })
}
