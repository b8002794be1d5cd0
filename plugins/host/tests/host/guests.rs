//! The plugins that ship, compiled from source by `plugins/build`, on the real host.

use std::sync::Arc;

use millrace_model::Router;
use millrace_model::event::Event;
use millrace_model::plugin::World as Purpose;
use millrace_model::router::ConfigureError;
use serde_json::{Value, json};

use crate::support::{World, event, events, guest};

async fn routed(config: Value) -> World {
    let mut world = World::new();
    world.push("content-router", guest("content-router")).await;
    world.queues(&["q-eu", "q-us", "q-rest"]);
    let config = json!({
        "plugin": {"name": "content-router", "version": "1", "config": config},
        "to": {"destinations": {"eu": {"queue": "q-eu"}, "us": {"queue": "q-us"}, "rest": {"queue": "q-rest"}}},
    });
    world.subscribe("orders", "route", config);
    world
}

async fn redacted(config: Value, events: Vec<Event>) -> (World, Vec<millrace_model::Plan>) {
    let mut world = World::new();
    world.push("field-redactor", guest("field-redactor")).await;
    world.queues(&["a", "b"]);
    let config = json!({
        "plugin": {"name": "field-redactor", "version": "1", "config": config},
        "to": {"destinations": {"a": {"queue": "a"}, "b": {"queue": "b"}}},
    });
    world.subscribe("orders", "redact", config);
    let plans = world.plan("orders", events).await;
    (world, plans)
}

#[tokio::test]
async fn both_describe_themselves() {
    let world = World::new();
    for (name, purpose) in [
        ("content-router", Purpose::Router),
        ("field-redactor", Purpose::Transform),
    ] {
        let inspection = world.host.inspect(guest(name).into()).await.unwrap();
        assert_eq!(
            (inspection.name.as_str(), inspection.version.as_str()),
            (name, "0.1.0")
        );
        assert_eq!(inspection.description.world, purpose);
        assert!(inspection.description.config_schema.0["properties"]["rules"].is_object());
        let foreign = inspection
            .description
            .imports
            .iter()
            .find(|import| !import.starts_with("millrace:plugin/"));
        assert_eq!(foreign, None, "nothing but the contract is imported");
    }
}

#[tokio::test]
async fn the_router_routes_by_attributes_and_data() {
    let world = routed(json!({
        "rules": [
            {"attributes": {"type": {"prefix": "order."}}, "data": {"/region": ["de", "fr"]}, "to": ["eu"]},
            {"attributes": {"type": {"prefix": "order."}}, "to": ["us"]},
        ],
        "default": ["rest"],
    }))
    .await;
    let batch = vec![
        event("order.created", &json!({"region": "fr"})),
        event("order.created", &json!({"region": "us"})),
        event("invoice.created", &json!({"region": "fr"})),
    ];
    let plans = world.plan("orders", batch).await;
    let queues: Vec<String> = plans
        .iter()
        .map(|plan| world.delivered(plan)[0].0.clone())
        .collect();
    assert_eq!(queues, ["q-eu", "q-us", "q-rest"]);
    assert_eq!(
        plans[0].explained[0].plugin.as_deref(),
        Some("content-router@1")
    );
}

#[tokio::test]
async fn ten_thousand_events_go_through_reused_instances() {
    let world = routed(
        json!({"rules": [{"attributes": {"type": "a"}, "to": ["eu"]}], "default": ["rest"]}),
    )
    .await;
    for _ in 0..10 {
        let kinds: Vec<&str> = (0..1000)
            .map(|at| if at % 3 == 0 { "a" } else { "b" })
            .collect();
        let plans = world.plan("orders", events(&kinds)).await;
        for (at, plan) in plans.iter().enumerate() {
            let expected = if at % 3 == 0 { "q-eu" } else { "q-rest" };
            assert_eq!(world.delivered(plan), [(expected.to_owned(), 0)]);
        }
    }
    assert!(
        world
            .host
            .metrics()
            .contains("millrace_plugin_events_total{plugin=\"content-router@1\"} 10000")
    );
}

#[tokio::test]
async fn an_undeclared_destination_is_found_when_it_is_bound() {
    let world = routed(json!({"rules": []})).await;
    let version = Arc::clone(world.topology.plugins.values().next().unwrap());
    let config = json!({"rules": [{"to": ["eu", "mars"]}]});
    let binding: millrace_model::subscription::PluginBinding =
        serde_json::from_value(json!({"name": "content-router", "version": "1", "config": config}))
            .unwrap();
    let declared = vec!["eu".to_owned()];
    let Err(ConfigureError::Refused(problems)) = world
        .host
        .try_configuration(version, binding, declared)
        .await
    else {
        panic!("must be refused");
    };
    assert_eq!(problems[0].pointer, "/rules/0/to/1");
    assert!(
        problems[0].detail.contains("\"mars\""),
        "{}",
        problems[0].detail
    );
}

#[tokio::test]
async fn the_redactor_changes_the_stored_form_once_for_all_queues() {
    let config = json!({"rules": [{"action": "mask", "paths": ["/user/email"]}]});
    let batch = vec![
        event("x", &json!({"user": {"email": "a@b.c", "id": 7}})),
        event("x", &json!({"n": 1})),
    ];
    let (world, plans) = redacted(config, batch).await;
    assert_eq!(
        world.delivered(&plans[0]),
        [("a".to_owned(), 1), ("b".to_owned(), 1)]
    );
    let stored: Value = serde_json::from_slice(&plans[0].bodies[0]).unwrap();
    assert_eq!(stored["data"], json!({"user": {"email": "***", "id": 7}}));
    assert_eq!((&stored["id"], &stored["type"]), (&json!("1"), &json!("x")));
    assert_eq!(
        world.delivered(&plans[1]),
        [("a".to_owned(), 0), ("b".to_owned(), 0)]
    );
    assert!(
        plans[1].bodies.is_empty(),
        "what is not changed is not stored again"
    );
}

#[tokio::test]
async fn data_that_is_not_json_is_parked_and_not_leaked() {
    let mut raw = events(&["x"]).remove(0);
    raw.data = millrace_model::Data::Binary(b"\xff\x00secret".as_slice().into());
    let config = json!({"rules": [{"action": "mask", "paths": ["/user/email"]}]});
    let (_, plans) = redacted(config, vec![raw]).await;
    assert!(plans[0].deliveries.is_empty());
    assert_eq!(plans[0].parked[0].code, "not_json");
}

#[tokio::test]
async fn attributes_can_be_removed() {
    let mut batch = events(&["x"]);
    batch[0].subject = Some("alice".into());
    let (_, plans) = redacted(json!({"remove_attributes": ["subject"]}), batch).await;
    let stored: Value = serde_json::from_slice(&plans[0].bodies[0]).unwrap();
    assert_eq!(stored.get("subject"), None);
}

#[tokio::test]
async fn a_redacted_event_travels_on_to_other_topics_in_its_new_form() {
    let mut world = World::new();
    world.push("field-redactor", guest("field-redactor")).await;
    world.queue("q");
    let config = json!({"rules": [{"action": "remove", "paths": ["/secret"]}]});
    let config = json!({"plugin": {"name": "field-redactor", "version": "1", "config": config}, "to": {"topic": "clean"}});
    world.subscribe("orders", "redact", config);
    world.subscribe("clean", "all", json!({"to": {"queue": "q"}}));
    let plans = world
        .plan("orders", vec![event("x", &json!({"secret": 1, "open": 2}))])
        .await;
    assert_eq!(world.delivered(&plans[0]), [("q".to_owned(), 1)]);
    let stored: Value = serde_json::from_slice(&plans[0].bodies[0]).unwrap();
    assert_eq!(stored["data"], json!({"open": 2}));
}

#[tokio::test]
async fn bodies_that_no_queue_takes_are_not_in_the_plan() {
    let mut world = World::new();
    world.push("field-redactor", guest("field-redactor")).await;
    world.queue("q");
    let config = json!({"rules": [{"action": "remove", "paths": ["/secret"]}]});
    let config = json!({"plugin": {"name": "field-redactor", "version": "1", "config": config}, "to": {"topic": "clean"}});
    world.subscribe("orders", "redact", config);
    world.subscribe(
        "clean",
        "none",
        json!({"filter": {"tags": ["never"]}, "to": {"queue": "q"}}),
    );
    let plans = world
        .plan("orders", vec![event("x", &json!({"secret": 1}))])
        .await;
    assert!(plans[0].bodies.is_empty() && plans[0].deliveries.is_empty());
}
