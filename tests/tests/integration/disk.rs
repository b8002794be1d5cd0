//! A full disk: writes get 507, everything that takes nothing more goes on, and room heals it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use millrace_tests::{Broker, Client, TmpDisk};
use serde_json::json;

use crate::scene::{eventually, queue, receive, settle, topic};

/// Room for the log's first segments and the tables' journal, and not much more.
const DISK_MEBIBYTES: u32 = 512;
static EVENT: [u8; 64 * 1024] = [b'x'; 64 * 1024];

fn send(client: &Client) -> millrace_tests::Answer {
    client.send(
        "POST",
        "/v1/queues/q/messages",
        &[("content-type", "text/plain")],
        &EVENT,
    )
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_acks_and_recovers() {
    let disk = TmpDisk::mount(DISK_MEBIBYTES);
    let mut broker = Broker::start_in(&disk.path().join("data"));
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    for _ in 0..20 {
        send(&client).expect(200);
    }
    let ballast = disk.path().join("ballast");
    fill(&ballast);

    let mut accepted = 20;
    let full = (0..20_000).find_map(|_| {
        let answer = send(&client);
        accepted += u32::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    let full = full.expect("writes are refused some time");
    full.refused(507, "storage_full");
    let answer = client.post("/v1/topics/t/messages", &json!(1));
    assert!([200, 507].contains(&answer.status), "{}", answer.text());

    client.get("/livez").expect(200);
    client.get("/v1/queues/q").expect(200);
    client.get("/v1/queues/q/messages").expect(200);
    let received = receive(&client, "q", 5);
    assert_eq!(received.len(), 5, "receives go on");
    let acked = settle(&client, "q", "ack", &received, json!({}))
        .with(200)
        .json();
    assert_eq!(acked["acked"], 5, "acks go on");

    fs::remove_file(&ballast).expect("removed");
    eventually("it takes writes again", Duration::from_secs(30), || {
        let answer = send(&client);
        accepted += u32::from(answer.status == 200);
        answer.status == 200
    });
    assert!(broker.stop().success(), "{}", broker.log());
    broker.restart();
    assert_eq!(
        count(&broker.client()),
        accepted - 5,
        "nothing acknowledged is lost"
    );
}

/// Fills the disk to its last page.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).expect("a new file");
    for bytes in [1024 * 1024, 4096] {
        while file.write_all(&vec![0; bytes]).is_ok() {}
    }
}

/// Takes everything out of the queue, and says how much it was.
fn count(client: &Client) -> u32 {
    let mut count = 0;
    loop {
        let received = receive(client, "q", 50);
        if received.is_empty() {
            return count;
        }
        settle(client, "q", "ack", &received, json!({})).expect(200);
        count += u32::try_from(received.len()).expect("few");
    }
}
