//! Clients that send through all nodes while leaders change and nodes die: what was acknowledged is there, and nothing
//! that was never sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use millrace_model::command::Send;
use millrace_model::ledger::MemberChange;
use millrace_model::{
    Command, GroupId, Ledger as _, Outcome, Proposal, QueueConfig, QueueId, Unavailable,
};

use super::life::{ack, queue, receive};
use super::rig::Rig;
use crate::Cluster;

/// What one client has sent: all of it, and what was acknowledged.
#[derive(Default)]
struct History {
    sent: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
}

/// Sends numbered messages through `node` until it is told to end, each once.
async fn client(node: Arc<Cluster>, name: String, queue: QueueId, end: Arc<AtomicBool>) -> History {
    let mut history = History::default();
    for number in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{name} {number}");
        let command = Command::Send(Send {
            queue,
            deduplication: None,
            delay_ms: None,
        });
        let payloads = vec![Bytes::from(text.clone())];
        history.sent.insert(text.clone());
        let sent = node.commit(GroupId::DATA, Proposal { command, payloads });
        match sent.await {
            Ok(Outcome::Accepted(_)) => {
                history.acknowledged.insert(text);
            }
            Ok(other) => panic!("{other:?}"),
            Err(Unavailable::NoQuorum | Unavailable::NotReady(_)) => {
                // Surely not there: it must not come out.
                history.sent.remove(&text);
            }
            Err(Unavailable::OutcomeUnknown) => {}
            Err(other) => panic!("{other}"),
        }
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_under_load_while_leaders_change_is_there_once() {
    let mut rig = Rig::formed(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    let end = Arc::new(AtomicBool::new(false));
    // The node that is killed serves no client of its own.
    let victim = rig.leader();
    let nodes: Vec<_> = (1..=3).filter(|node| *node != victim).collect();
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let node = rig.running[&nodes[number % 2]].clone();
            let name = format!("client {number}");
            tokio::spawn(client(node, name, orders, Arc::clone(&end)))
        })
        .collect();
    for to in [nodes[0], nodes[1], victim] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let change = MemberChange::Transfer {
            node: to,
            group: Some(GroupId::DATA),
        };
        // Under load the one that is to lead may be too slow; another one leads then.
        let _ = rig.running[&nodes[0]].change_members(change).await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    rig.kill(victim).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    end.store(true, Ordering::Relaxed);
    let mut all = History::default();
    for client in clients {
        let history = client.await.unwrap();
        all.sent.extend(history.sent);
        all.acknowledged.extend(history.acknowledged);
    }
    rig.settle().await;
    let node = rig.follower();
    let mut found = BTreeSet::new();
    loop {
        let messages = receive(&node, orders, 1000, Duration::from_secs(1)).await;
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            let text = String::from_utf8(message.event.to_vec()).unwrap();
            assert!(
                all.sent.contains(&text),
                "{text:?} was refused, or never sent"
            );
            assert!(found.insert(text), "doubled");
        }
        ack(&node, orders, &messages).await;
    }
    println!(
        "sent {}, acknowledged {}, found {}",
        all.sent.len(),
        all.acknowledged.len(),
        found.len()
    );
    assert!(!all.acknowledged.is_empty());
    let lost: Vec<_> = all.acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    rig.assert_equal().await;
    drop(node);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_survive_the_loss_of_two() {
    let mut rig = Rig::formed(5).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    for text in ["one", "two", "three"] {
        super::rig::send_at_last(&rig.follower(), orders, text).await;
        if text != "three" {
            let leader = rig.leader();
            rig.kill(leader).await;
            rig.settle().await;
        }
    }
    let got = receive(&rig.follower(), orders, 10, Duration::from_secs(5)).await;
    assert_eq!(got.len(), 3);
    rig.assert_equal().await;
    rig.stop().await;
}
