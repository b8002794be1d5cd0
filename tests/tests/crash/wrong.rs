//! Nodes that are started wrongly beside a running cluster, and strangers on its peer ports: each is told why, and the cluster goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use millrace_tests::{Broker, Client, Cluster};

use crate::trial::Trial;
use crate::{alone, seed};

/// What is sent to a peer port that is no hello: HTTP, nothing but ones (a length of 4 GiB), zeros, and noise.
const STRANGE: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: millrace\r\n\r\n",
    &[0xff; 4096],
    &[0; 4096],
    b"\x01\x02\x03noise",
];
/// A stranger is turned away within this time.
const TURNED_AWAY: Duration = Duration::from_secs(15);

#[test]
fn strangers_and_nodes_started_wrongly_are_told_why() {
    let _alone = alone();
    let mut trial = Trial::begin(
        "strangers, nodes started wrongly",
        Cluster::start(3),
        seed(),
    );
    for node in trial.cluster.numbers() {
        let member = trial.cluster.member(node);
        let (_, address) = member.split_once('=').expect("N=HOST:PORT");
        STRANGE.iter().for_each(|bytes| turned_away(address, bytes));
    }
    data_of_another_node(&mut trial);
    another_cluster(&trial);
    number_that_is_taken(&trial);
    trial.heals();
    trial.end();
}

/// The node ends the connection, whether it has something to say or not.
fn turned_away(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("the peer port is open");
    stream
        .set_read_timeout(Some(TURNED_AWAY))
        .expect("a timeout");
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "still connected"
        ),
    }
}

/// A directory of node 2 under the number 3.
fn data_of_another_node(trial: &mut Trial) {
    let broker = trial.cluster.node(2);
    assert!(broker.stop().success());
    let mut wrong = Broker::idle(&[
        "--node",
        "3",
        "--listen",
        "127.0.0.1:0",
        "--peer-listen",
        "127.0.0.1:0",
    ]);
    wrong.keep_data_in(broker.data().to_owned());
    let end = wrong
        .try_restart()
        .expect_err("it holds the data of another node");
    assert_eq!(end.code(), Some(1), "{}", wrong.log());
    assert!(wrong.log().contains("data of node 2"), "{}", wrong.log());
    println!("data of another node: {}", wrong.log().trim());
    trial.cluster.node(2).restart();
}

/// A node of a cluster of its own is let in nowhere, and keeps what it has.
fn another_cluster(trial: &Trial) {
    let host = format!("127.{}.{}.9", fastrand::u8(1..=250), fastrand::u8(1..=250));
    let (listen, peers) = (format!("{host}:7440"), format!("{host}:7450"));
    let alone = format!("9={peers}");
    let mut other = Broker::idle(&[
        "--node",
        "9",
        "--listen",
        &listen,
        "--peer-listen",
        &peers,
        "--cluster",
        &alone,
    ]);
    other.restart();
    let queue = serde_json::json!({});
    other.client().put("/v1/queues/theirs", &queue).expect(201);
    let added = trial.cluster.command(1, &["add", &alone, "--wait", "3"]);
    let said = String::from_utf8_lossy(&added.stderr);
    assert!(!added.status.success(), "a node with other data was added");
    println!("a node of another cluster: {}", said.trim());
    other.client().get("/v1/queues/theirs").expect(200);
    other.kill();
}

/// A second node 3, with no data, that names the members of a cluster which has a node 3.
fn number_that_is_taken(trial: &Trial) {
    let taken = "127.0.0.1:0";
    let list = [
        trial.cluster.member(1),
        trial.cluster.member(2),
        "3=127.0.0.1:7999".to_owned(),
    ];
    let mut double = Broker::idle(&[
        "--node",
        "3",
        "--listen",
        taken,
        "--peer-listen",
        "127.0.0.1:0",
        "--cluster",
        &list.join(","),
    ]);
    double.spawn();
    if let Err(end) = double.try_listen() {
        println!(
            "a number that is taken: it ended ({end}): {}",
            double.log().trim()
        );
        return;
    }
    let client = Client::new(double.url());
    let said = trial.cluster.wait("a reason on /readyz", |_| {
        let problem = client.get("/readyz").refused(503, "not_ready").to_string();
        (problem.contains("node 3")
            && (problem.contains("other data") || problem.contains("another")))
        .then_some(problem)
    });
    println!("a number that is taken: {said}");
    double.kill();
}
