//! Whoever is turned away at the peer port, and why.

use std::time::Duration;

use millrace_model::Ledger as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rig::Rig;
use crate::Cluster;
use crate::peer::frame::{FRAME_BYTES_MAX, Kind};

async fn reasons(node: &Cluster, part: &str) {
    for _ in 0..200 {
        if node.status().reasons.iter().any(|one| one.contains(part)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {part:?} but {:?}", node.status().reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_differ_form_nothing_and_say_where_they_differ() {
    let mut rig = Rig::new(2);
    let one = rig.start(1).await;
    rig.members.insert(3, "127.0.0.1:1".to_owned());
    let two = rig.start(2).await;
    reasons(&one, "node 2 was told 127.0.0.1:1").await;
    reasons(&two, "for node 3").await;
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_is_not_let_in_again() {
    let mut rig = Rig::new(3);
    let mut nodes = Vec::new();
    for node in 1..=3 {
        nodes.push(rig.start(node).await);
    }
    let ready = |node: &Cluster| node.status().reasons.is_empty();
    for _ in 0..400 {
        if nodes.iter().all(|node| ready(node)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    nodes[2].stop().await.unwrap();
    let mut options = rig.options(3);
    let empty = tempfile::TempDir::new().unwrap();
    options.dir = empty.path().to_path_buf();
    let lost = Cluster::start(options).await.unwrap();
    reasons(&lost, "its disk was replaced").await;
    let groups = lost.status().groups;
    assert!(
        groups.iter().all(|group| group.term == 0),
        "it was asked for no vote: {groups:?}"
    );
    for node in [&nodes[0], &nodes[1], &std::sync::Arc::new(lost)] {
        node.stop().await.unwrap();
    }
}

/// Sends `bytes` and gives what comes back until the end.
async fn answer_to(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut answer));
    // A reset is an end as well.
    let _ = read.await.expect("the connection is closed");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_lengths_of_four_gibibytes_end_the_connection_with_a_word() {
    let mut rig = Rig::new(2);
    let node = rig.start(1).await;
    let address = rig.members[&1].clone();
    let mut huge = vec![0xff; 4];
    huge.push(Kind::Hello as u8);
    huge.extend([0; 12]);
    let mut large = u32::try_from(FRAME_BYTES_MAX)
        .unwrap()
        .to_le_bytes()
        .to_vec();
    large.push(Kind::Append as u8);
    large.extend([0; 12]);
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &huge,
        &large,
        &[0; 17],
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello"[..],
        // Nothing at all: the deadline of the hello.
        &b""[..],
    ] {
        let answer = answer_to(&address, bytes).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || text.contains("peer port"),
            "{bytes:?}: {text}"
        );
    }
    assert!(node.status().reasons[0].contains("node 2 was not heard"));
    node.stop().await.unwrap();
}
