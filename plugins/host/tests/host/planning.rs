//! Events without plugins, chains of topics, paused subscriptions, redrives.

use std::sync::Arc;

use millrace_model::router::{Plan, PlanError, Verdict};
use millrace_model::{Router, Timestamp};
use serde_json::json;

use crate::support::{World, events, fixture, name};

#[tokio::test]
async fn every_subscription_delivers_the_event_as_published() {
    let mut world = World::new();
    world.queues(&["a", "b", "c"]);
    world.subscribe("orders", "one", json!({"to": {"queue": "a"}}));
    world.subscribe(
        "orders",
        "two",
        json!({"to": {"destinations": {"x": {"queue": "b"}, "y": {"queue": "c"}}}}),
    );
    let plans = world.plan("orders", events(&["e1", "e2"])).await;
    for plan in &plans {
        assert_eq!(
            world.delivered(plan),
            [
                ("a".to_owned(), 0),
                ("b".to_owned(), 0),
                ("c".to_owned(), 0)
            ]
        );
        assert!(plan.bodies.is_empty());
        let told: Vec<_> = plan
            .explained
            .iter()
            .map(|one| (one.name.as_str(), one.outcome, one.to.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("one", Verdict::Delivered, 1),
                ("two", Verdict::Delivered, 2)
            ]
        );
    }
}

#[tokio::test]
async fn a_topic_without_subscriptions_plans_nothing() {
    let mut world = World::new();
    world.queue("a");
    world.subscribe("orders", "one", json!({"to": {"queue": "a"}}));
    let mut route = (*world.topology.topics[&name("orders")]).clone();
    route.subscriptions.clear();
    world
        .topology
        .topics
        .insert(name("orders"), Arc::new(route));
    let plans = world.plan("orders", events(&["e1", "e2"])).await;
    assert_eq!(plans, [Plan::default(), Plan::default()]);
}

#[tokio::test]
async fn filters_take_by_tags() {
    let mut world = World::new();
    world.queues(&["a", "b"]);
    world.subscribe(
        "orders",
        "tagged",
        json!({"filter": {"tags": ["eu"]}, "to": {"queue": "a"}}),
    );
    world.subscribe("orders", "all", json!({"to": {"queue": "b"}}));
    let mut batch = events(&["tagged", "bare"]);
    batch[0].extensions.push((
        "tags".into(),
        millrace_model::event::Attribute::Text("us,eu".into()),
    ));
    let plans = world.plan("orders", batch).await;
    assert_eq!(
        world.delivered(&plans[0]),
        [("b".to_owned(), 0), ("a".to_owned(), 0)]
    );
    assert_eq!(world.delivered(&plans[1]), [("b".to_owned(), 0)]);
    assert_eq!(plans[1].explained[1].outcome, Verdict::Filtered);
}

#[tokio::test]
async fn an_event_follows_a_chain_of_topics() {
    let mut world = World::new();
    world.queues(&["here", "there"]);
    for hop in 0..8 {
        world.subscribe(
            &format!("t{hop}"),
            "on",
            json!({"to": {"topic": format!("t{}", hop + 1)}}),
        );
    }
    world.subscribe("t0", "here", json!({"to": {"queue": "here"}}));
    world.subscribe("t8", "there", json!({"to": {"queue": "there"}}));
    let plans = world.plan("t0", events(&["e"])).await;
    assert_eq!(
        world.delivered(&plans[0]),
        [("here".to_owned(), 0), ("there".to_owned(), 0)]
    );
    let last = plans[0].explained.last().unwrap();
    assert_eq!(
        (last.topic.as_deref(), last.name.as_str()),
        (Some("t8"), "there")
    );
}

#[tokio::test]
async fn a_cycle_of_topics_ends() {
    let mut world = World::new();
    world.subscribe("a", "on", json!({"to": {"topic": "b"}}));
    world.subscribe("b", "back", json!({"to": {"topic": "a"}}));
    assert!(matches!(
        world.try_plan("a", events(&["e"])).await,
        Err(PlanError::Unavailable(_))
    ));
}

#[tokio::test]
async fn more_deliveries_than_one_event_may_have_are_refused() {
    let mut world = World::new();
    let queues: Vec<String> = (0..200).map(|at| format!("q{at}")).collect();
    queues.iter().for_each(|queue| world.queue(queue));
    let all: serde_json::Map<_, _> = queues
        .iter()
        .map(|queue| (queue.clone(), json!({"queue": queue})))
        .collect();
    for at in 0..101 {
        world.subscribe(
            "orders",
            &format!("s{at}"),
            json!({"to": {"destinations": all}}),
        );
    }
    assert!(matches!(
        world.try_plan("orders", events(&["e"])).await,
        Err(PlanError::TooManyDeliveries(20_000))
    ));
}

#[tokio::test]
async fn a_paused_subscription_parks_what_it_would_have_taken() {
    let mut world = World::new();
    world.queue("a");
    world.subscribe(
        "orders",
        "later",
        json!({"filter": {"tags": ["eu"]}, "to": {"queue": "a"}, "paused": true}),
    );
    let mut batch = events(&["tagged", "bare"]);
    batch[0].extensions.push((
        "tags".into(),
        millrace_model::event::Attribute::Text("eu".into()),
    ));
    let plans = world.plan("orders", batch).await;
    assert_eq!(plans[0].parked[0].code, "paused");
    assert!(plans[0].deliveries.is_empty());
    assert!(plans[1].parked.is_empty(), "the filter comes first");
}

#[tokio::test]
async fn a_redrive_plans_for_its_subscription_alone_and_parks_instead_of_refusing() {
    let mut world = World::new();
    world.push("moody", fixture("moody")).await;
    world.queues(&["q", "other"]);
    let config = json!({
        "plugin": {"name": "moody", "version": "1"},
        "to": {"destinations": {"good": {"queue": "q"}}},
        "on_failure": "reject",
    });
    world.subscribe("orders", "moody", config);
    world.subscribe("orders", "other", json!({"to": {"queue": "other"}}));
    let mut request = world.request("orders", events(&["ok", "fail"]));
    request.only = Some(Arc::clone(&request.route.subscriptions[&name("moody")]));
    let plans = world.host.plan(request).await.unwrap();
    assert_eq!(world.delivered(&plans[0]), [("q".to_owned(), 0)]);
    assert_eq!(plans[1].parked[0].code, "no_luck");
    assert!(
        plans[1].rejection.is_none(),
        "there is no publisher to refuse to"
    );
}

#[tokio::test]
async fn a_changed_subscription_is_planned_anew() {
    let mut world = World::new();
    world.queues(&["a", "b"]);
    world.subscribe("orders", "one", json!({"to": {"queue": "a"}}));
    assert_eq!(
        world.delivered(&world.plan("orders", events(&["e"])).await[0])[0].0,
        "a"
    );
    world.subscribe("orders", "one", json!({"to": {"queue": "b"}}));
    assert_eq!(
        world.delivered(&world.plan("orders", events(&["e"])).await[0])[0].0,
        "b"
    );
}

#[tokio::test]
async fn the_publishers_delay_is_on_every_delivery() {
    let mut world = World::new();
    world.queue("a");
    world.subscribe("orders", "one", json!({"to": {"queue": "a"}}));
    let mut request = world.request("orders", events(&["e"]));
    request.delay_ms = Some(1500);
    request.accepted_at = Timestamp(5);
    assert_eq!(
        world.host.plan(request).await.unwrap()[0].deliveries[0].delay_ms,
        Some(1500)
    );
}

#[tokio::test]
async fn without_explain_nothing_is_told() {
    let mut world = World::new();
    world.queue("a");
    world.subscribe("orders", "one", json!({"to": {"queue": "a"}}));
    let mut request = world.request("orders", events(&["e"]));
    request.explain = false;
    assert!(
        world.host.plan(request).await.unwrap()[0]
            .explained
            .is_empty()
    );
}
