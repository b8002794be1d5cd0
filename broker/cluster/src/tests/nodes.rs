//! What several nodes do together: form, forward, fail over, hand over, change their members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_model::command::{Receive, Send};
use millrace_model::ledger::{ChangeError, MemberChange};
use millrace_model::{
    Answer, Command, GroupId, Ledger as _, Proposal, Query, QueueConfig, QueueId, Unavailable,
};
use tempfile::TempDir;

use super::life::{ack, events, queue, receive, send};
use super::rig::{PATIENCE, Rig, free_address, send_at_last};
use crate::leadership::Leader;
use crate::{Cluster, ClusterOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_a_cluster_in_any_order_and_any_of_them_serves() {
    let mut rig = Rig::new(3);
    let third = rig.start(3).await;
    let early = send_early(&third).await;
    assert!(matches!(early, Unavailable::NotReady(_)), "{early:?}");
    assert!(third.status().reasons[0].contains("node 1, 2 was not heard"));
    rig.start(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.start(2).await;
    rig.settle().await;
    for (number, node) in rig.running.clone() {
        let name = format!("queue-{number}");
        let queue = queue(&node, &name, QueueConfig::default()).await;
        assert!(
            node.topology()
                .queues
                .values()
                .any(|known| known.id == queue),
            "whoever made it through a node finds it there"
        );
        send(&node, queue, vec!["one".into(), "two".into()]).await;
        for other in rig.running.values() {
            other.fresh().await.unwrap();
            assert!(
                other
                    .topology()
                    .queues
                    .values()
                    .any(|known| known.id == queue)
            );
            let Answer::Counters(counters) = other
                .query(GroupId::DATA, Query::Counters(queue))
                .await
                .unwrap()
            else {
                panic!("counters")
            };
            assert_eq!(counters.ready + counters.leased, 2);
        }
        let got = receive(&rig.follower(), queue, 10, Duration::ZERO).await;
        assert_eq!(events(&got), [b"one", b"two"]);
        ack(&node, queue, &got).await;
        assert!(receive(&node, queue, 10, Duration::ZERO).await.is_empty());
    }
    rig.assert_equal().await;
    rig.stop().await;
}

async fn send_early(node: &Cluster) -> Unavailable {
    let command = Proposal::bare(Command::Tick);
    node.commit(GroupId::DATA, command).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_leader_and_a_restart_of_all() {
    let mut rig = Rig::formed(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    for number in 0..50 {
        send_at_last(&rig.follower(), orders, &format!("before {number:02}")).await;
    }
    let old = rig.leader();
    rig.kill(old).await;
    let node = rig.running.values().next().unwrap().clone();
    let took = send_at_last(&node, orders, "after").await;
    println!("fail-over: {took:?}");
    let got = receive(&node, orders, 100, Duration::from_secs(5)).await;
    assert_eq!(got.len(), 51, "acknowledged and there");
    ack(&node, orders, &got[..20]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let vain = |node: &Arc<Cluster>| {
        let [_, vain] = &node.node.peers.counters.entries;
        vain.load(std::sync::atomic::Ordering::Relaxed)
    };
    let vain: u64 = rig.running.values().map(vain).sum();
    assert!(
        vain < 100,
        "the dead one is tried now and then, not {vain} times"
    );
    rig.start(old).await;
    rig.settle().await;
    rig.assert_equal().await;
    drop(node);
    for node in 1..=3 {
        rig.kill(node).await;
    }
    for node in 1..=3 {
        rig.start(node).await;
    }
    rig.settle().await;
    let node = rig.follower();
    let Answer::Counters(counters) = node
        .query(GroupId::DATA, Query::Counters(orders))
        .await
        .unwrap()
    else {
        panic!("counters")
    };
    assert_eq!(counters.ready + counters.leased, 31);
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_for_too_long_gets_a_snapshot_with_its_payloads() {
    let mut rig = Rig::formed(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    let leader = rig.leader();
    let away = (1..=3).find(|node| *node != leader).unwrap();
    rig.kill(away).await;
    let node = rig.running[&leader].clone();
    send_at_last(&node, orders, "kept").await;
    // More than the log that is kept for those who are away for a moment.
    for _ in 0..140 {
        let payload = Bytes::from(vec![b'x'; 700_000]);
        send(&node, orders, vec![payload]).await;
    }
    let purged = |node: &Arc<Cluster>| node.node.data[0].log.purged().is_some();
    node.node.data[0].raft.trigger().snapshot().await.unwrap();
    rig.wait("purge of the log", || purged(&node)).await;
    drop(node);
    let back = rig.start(away).await;
    rig.settle().await;
    rig.assert_equal().await;
    let installed = &back.node.data[0].view.installed.count;
    assert!(installed.load(std::sync::atomic::Ordering::Relaxed) > 0);
    let change = MemberChange::Transfer {
        node: away,
        group: Some(GroupId::DATA),
    };
    back.change_members(change).await.unwrap();
    rig.settle().await;
    let got = receive(&back, orders, 1, Duration::from_secs(5)).await;
    assert_eq!(
        events(&got),
        [b"kept"],
        "read from what the snapshot brought"
    );
    drop(back);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_fast_and_reads_nothing() {
    let mut rig = Rig::formed(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    send(&rig.follower(), orders, vec!["one".into()]).await;
    let leader = rig.leader();
    for node in 1..=3 {
        if node != leader {
            rig.kill(node).await;
        }
    }
    // The lease of the leader that is left ends within a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let left = rig.running[&leader].clone();
    let start = Instant::now();
    let command = Command::Send(Send {
        queue: orders,
        deduplication: None,
        delay_ms: None,
    });
    let payloads = vec![Bytes::from_static(b"two")];
    let refused = left.commit(GroupId::DATA, Proposal { command, payloads });
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Unavailable::NoQuorum), "{refused:?}");
    let counters = left.query(GroupId::DATA, Query::Counters(orders)).await;
    assert!(matches!(counters, Err(Unavailable::NoQuorum)));
    assert!(matches!(left.fresh().await, Err(Unavailable::NoQuorum)));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hears_nothing_shows_no_old_catalog_and_disturbs_nobody() {
    let (rig, gates) = Rig::gated(3).await;
    let meta = rig.running[&1].status().groups[0].clone();
    let (leader, term) = (meta.leader.unwrap(), meta.term);
    let deaf = (1..=3).find(|node| *node != leader).unwrap();
    gates[&deaf].set_open(false);
    let node = rig.running[&deaf].clone();
    let orders = queue(&rig.running[&leader], "orders", QueueConfig::default()).await;
    assert!(
        node.topology().queues.is_empty(),
        "it did not hear of the queue"
    );
    // Longer than an election: it asks the others for votes in vain, and its term does not grow.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let stale = tokio::time::timeout(Duration::from_secs(1), node.fresh()).await;
    assert!(!matches!(stale, Ok(Ok(()))), "{stale:?}");
    assert_eq!(rig.running[&leader].status().groups[0].term, term);
    gates[&deaf].set_open(true);
    let start = Instant::now();
    while node.fresh().await.is_err() {
        assert!(start.elapsed() < PATIENCE, "it hears again");
    }
    assert_eq!(node.topology().queues.values().next().unwrap().id, orders);
    rig.settle().await;
    assert_eq!(rig.running[&leader].status().groups[0].term, term);
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_the_others_and_nothing_is_acknowledged_until_they_do() {
    let (rig, gates) = Rig::gated(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    send_at_last(&rig.follower(), orders, "before").await;
    gates.values().for_each(|gate| gate.set_open(false));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for node in rig.running.values() {
        let command = Command::Send(Send {
            queue: orders,
            deduplication: None,
            delay_ms: None,
        });
        let payloads = vec![Bytes::from_static(b"cut off")];
        let sent = node.commit(GroupId::DATA, Proposal { command, payloads });
        let refused = tokio::time::timeout(Duration::from_secs(3), sent).await;
        assert!(
            matches!(refused, Ok(Err(Unavailable::NoQuorum))),
            "{refused:?}"
        );
    }
    gates.values().for_each(|gate| gate.set_open(true));
    let healed = Instant::now();
    send_at_last(&rig.running[&1], orders, "after").await;
    println!("healed: {:?}", healed.elapsed());
    let got = receive(&rig.running[&2], orders, 10, Duration::from_secs(5)).await;
    assert_eq!(events(&got), [&b"before"[..], b"after"]);
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_long_poll_wakes_and_ends_with_its_client() {
    let rig = Rig::formed(3).await;
    let follower = rig.follower();
    let orders = queue(&follower, "orders", QueueConfig::default()).await;
    let leader = rig.running[&rig.leader()].clone();
    let poll = |node: Arc<Cluster>| {
        tokio::spawn(async move { receive(&node, orders, 10, Duration::from_secs(30)).await })
    };
    let abandoned = poll(Arc::clone(&follower));
    rig.wait("poll at the leader", || leader.node.waiters.waiting() == 1)
        .await;
    abandoned.abort();
    rig.wait("end of the poll", || leader.node.waiters.waiting() == 0)
        .await;
    let waiting = poll(Arc::clone(&follower));
    rig.wait("poll at the leader", || leader.node.waiters.waiting() == 1)
        .await;
    send(&follower, orders, vec!["late".into()]).await;
    let got = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert_eq!(events(&got.expect("woken").unwrap()), [b"late"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_and_long_polls_go_with_it() {
    let rig = Rig::formed(3).await;
    let old = rig.leader();
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    let polling = {
        let node = rig.running[&old].clone();
        tokio::spawn(async move { receive(&node, orders, 1, Duration::from_secs(30)).await })
    };
    let to = (1..=3).find(|node| *node != old).unwrap();
    let change = MemberChange::Transfer {
        node: to,
        group: None,
    };
    let start = Instant::now();
    rig.running[&old].change_members(change).await.unwrap();
    rig.settle().await;
    println!("transfer: {:?}", start.elapsed());
    assert_eq!(rig.leader(), to);
    send(&rig.running[&old], orders, vec!["one".into()]).await;
    let got = tokio::time::timeout(Duration::from_secs(5), polling).await;
    assert_eq!(events(&got.expect("woken").unwrap()), [b"one"]);
    rig.running[&to].hand_over().await;
    rig.settle().await;
    assert_ne!(rig.leader(), to);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_added_catches_up_votes_and_is_removed() {
    let mut rig = Rig::formed(3).await;
    let orders = queue(&rig.follower(), "orders", QueueConfig::default()).await;
    for number in 0..20 {
        send_at_last(&rig.follower(), orders, &number.to_string()).await;
    }
    let address = free_address();
    rig.dirs.insert(4, TempDir::new().unwrap());
    let change = MemberChange::Add {
        node: 4,
        address: address.clone(),
    };
    let nobody = rig.follower().change_members(change.clone()).await;
    assert!(
        matches!(nobody, Err(ChangeError::Unreachable(_))),
        "{nobody:?}"
    );
    rig.members.insert(4, address);
    let fourth = rig.start(4).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(
        fourth.status().reasons[0].contains("cluster add 4="),
        "{:?}",
        fourth.status().reasons
    );
    rig.follower().change_members(change.clone()).await.unwrap();
    let states = |node: &Cluster, number: u64| {
        let groups = node.status().groups.into_iter();
        groups
            .flat_map(|group| group.members)
            .filter(|member| member.node == number)
            .map(|member| member.state)
            .collect::<Vec<_>>()
    };
    let first = rig.running[&1].clone();
    rig.wait("votes for the fourth", || {
        let states = states(&first, 4);
        states.len() == 2 && states.iter().all(|state| state != "learner")
    })
    .await;
    rig.settle().await;
    let again = first.change_members(change).await;
    assert!(matches!(again, Err(ChangeError::Conflict(_))), "{again:?}");
    send_at_last(&fourth, orders, "through the fourth").await;
    rig.assert_equal().await;
    let leader = rig.leader();
    let change = MemberChange::Remove { node: leader };
    rig.running[&4]
        .change_members(change.clone())
        .await
        .unwrap();
    rig.kill(leader).await;
    rig.settle().await;
    let gone = rig.running[&4].change_members(change).await;
    assert!(matches!(gone, Err(ChangeError::NotFound(_))), "{gone:?}");
    send_at_last(&rig.follower(), orders, "without the first leader").await;
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_alone_is_given_a_list_and_joined_by_another() {
    let mut rig = Rig::new(2);
    let second = rig.members.remove(&2).unwrap();
    let mut options = rig.options(1);
    options.members.clear();
    let alone = Cluster::start(options).await.unwrap();
    let orders = queue(&alone, "orders", QueueConfig::default()).await;
    send(&alone, orders, vec!["alone".into()]).await;
    alone.stop().await.unwrap();
    drop(alone);
    let first = rig.start(1).await;
    rig.members.insert(2, second.clone());
    let joined = rig.start(2).await;
    let add = MemberChange::Add {
        node: 2,
        address: second,
    };
    first.change_members(add).await.unwrap();
    rig.wait("votes for the second", || {
        let groups = first.status().groups.into_iter();
        groups
            .flat_map(|group| group.members)
            .all(|member| member.state != "learner" && member.match_index.is_some())
            && first.node.meta.leader() != Leader::Alone
    })
    .await;
    rig.settle().await;
    // Through the second, which has to know where the first is.
    let got = receive(&joined, orders, 10, Duration::from_secs(5)).await;
    assert_eq!(events(&got), [b"alone"]);
    rig.assert_equal().await;
    drop(first);
    drop(joined);
    for node in 1..=2 {
        rig.kill(node).await;
    }
    // Without a list the members are those that were agreed on.
    for node in 1..=2 {
        let mut options = rig.options(node);
        options.members.clear();
        let cluster = Arc::new(Cluster::start(options).await.unwrap());
        rig.running.insert(node, cluster);
    }
    rig.settle().await;
    rig.assert_equal().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_needs_no_peers_and_stays_alone() {
    let dir = TempDir::new().unwrap();
    let options = ClusterOptions::new(dir.path(), 1);
    let cluster = Cluster::start(options.clone()).await.unwrap();
    assert_eq!(cluster.node.meta.leader(), Leader::Alone);
    cluster.fresh().await.unwrap();
    let add = MemberChange::Add {
        node: 2,
        address: free_address(),
    };
    let refused = cluster.change_members(add).await.unwrap_err();
    assert!(refused.to_string().contains("does not listen"), "{refused}");
    let remove = MemberChange::Remove { node: 1 };
    let refused = cluster.change_members(remove).await.unwrap_err();
    assert!(refused.to_string().contains("only member"), "{refused}");
    let receive = Receive {
        queue: QueueId(99),
        max: 1,
        visibility_ms: None,
        nonce: 1,
    };
    let missing = cluster.receive(GroupId::DATA, receive, Duration::ZERO);
    assert!(missing.await.unwrap().is_err());
    cluster.stop().await.unwrap();
    drop(cluster);
    let wrong = ClusterOptions::new(dir.path(), 2);
    let Err(refused) = Cluster::start(wrong).await else {
        panic!("the data of another node")
    };
    assert!(refused.to_string().contains("data of node 1"), "{refused}");
}
