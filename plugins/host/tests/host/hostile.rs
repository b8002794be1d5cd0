//! Guests that misbehave while events wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::Router;
use millrace_model::plugin::PluginVersion;
use millrace_model::router::{ConfigureError, Plan, PlanError, Verdict};
use millrace_model::subscription::PluginBinding;
use millrace_plugin_host::Limits;
use serde_json::json;

use crate::support::{World, events, fixture};

async fn moody(on_failure: &str) -> World {
    moody_with(on_failure, World::new()).await
}

async fn moody_with(on_failure: &str, mut world: World) -> World {
    world.push("moody", fixture("moody")).await;
    world.queues(&["q", "other"]);
    let config = json!({
        "plugin": {"name": "moody", "version": "1"},
        "to": {"destinations": {"good": {"queue": "q"}}},
        "on_failure": on_failure,
    });
    world.subscribe("orders", "moody", config);
    world
}

fn parked(plan: &Plan) -> &str {
    assert!(
        plan.deliveries.is_empty(),
        "a parked event is not delivered by the same subscription: {plan:?}"
    );
    &plan.parked[0].code
}

#[tokio::test]
async fn each_misbehaviour_has_its_code_and_parks_the_event_alone() {
    let world = moody("park").await;
    for (kind, code) in [
        ("trap", "plugin_trap"),
        ("loop", "plugin_timeout"),
        ("grow", "plugin_out_of_memory"),
        ("huge", "plugin_output_too_large"),
        ("wrong", "plugin_contract"),
        ("unknown", "unknown_destination"),
        ("fail", "no_luck"),
    ] {
        let plans = world.plan("orders", events(&["a", kind, "b"])).await;
        assert_eq!(world.delivered(&plans[0]), [("q".to_owned(), 0)], "{kind}");
        assert_eq!(world.delivered(&plans[2]), [("q".to_owned(), 0)], "{kind}");
        assert_eq!(parked(&plans[1]), code);
        assert_eq!(plans[1].parked[0].plugin.as_deref(), Some("moody@1"));
    }
    let metrics = world.host.metrics();
    assert!(
        metrics
            .contains("millrace_plugin_failures_total{plugin=\"moody@1\",code=\"plugin_trap\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn one_poison_event_in_a_full_batch_is_found() {
    let world = moody("park").await;
    let mut kinds = vec!["ok"; 200];
    kinds[137] = "trap";
    let plans = world.plan("orders", events(&kinds)).await;
    for (at, plan) in plans.iter().enumerate() {
        assert_eq!(plan.parked.len(), usize::from(at == 137), "event {at}");
        assert_eq!(plan.deliveries.len(), usize::from(at != 137), "event {at}");
    }
}

#[tokio::test]
async fn skip_drops_and_tells_why() {
    let plans = moody("skip").await.plan("orders", events(&["fail"])).await;
    assert!(plans[0].parked.is_empty() && plans[0].deliveries.is_empty());
    assert_eq!(plans[0].explained[0].outcome, Verdict::Dropped);
    assert_eq!(
        plans[0].explained[0].reason.as_deref(),
        Some("no_luck: Sorry.")
    );
}

#[tokio::test]
async fn reject_refuses_the_event_everywhere() {
    let mut world = moody("reject").await;
    world.subscribe("orders", "all", json!({"to": {"queue": "other"}}));
    let plans = world.plan("orders", events(&["fail", "ok"])).await;
    let rejection = plans[0].rejection.as_ref().unwrap();
    assert_eq!(
        (rejection.subscription.as_str(), rejection.code.as_str()),
        ("moody", "no_luck")
    );
    assert!(
        plans[0].deliveries.is_empty(),
        "the other subscription gets nothing of a refused event"
    );
    assert_eq!(
        world.delivered(&plans[1]),
        [("other".to_owned(), 0), ("q".to_owned(), 0)]
    );
}

#[tokio::test]
async fn an_event_that_is_to_be_tried_again_gets_one_more_call_alone_in_a_new_instance() {
    let world = moody("park").await;
    // Uses up the first batch of the instance that is kept.
    world.plan("orders", events(&["ok"])).await;
    let kinds = ["ok", "shared", "instance", "retry", "fail"];
    let plans = world.plan("orders", events(&kinds)).await;
    for (plan, kind) in plans.iter().zip(&kinds[..3]) {
        assert_eq!(world.delivered(plan), [("q".to_owned(), 0)], "{kind}");
    }
    assert_eq!(parked(&plans[3]), "no_luck");
    assert_eq!(parked(&plans[4]), "no_luck");
    let metrics = world.host.metrics();
    for line in [
        // Five events, and the three that asked for it once more: "fail" did not.
        "millrace_plugin_retries_total{plugin=\"moody@1\"} 3",
        "millrace_plugin_events_total{plugin=\"moody@1\"} 9",
        "millrace_plugin_failures_total{plugin=\"moody@1\",code=\"no_luck\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn a_plugin_that_always_asks_to_be_tried_again_costs_a_bounded_number_of_calls() {
    let world = moody("skip").await;
    let plans = world.plan("orders", events(&["retry"; 1_000])).await;
    let dropped = |plan: &Plan| plan.explained[0].outcome == Verdict::Dropped;
    assert!(plans.iter().all(dropped));
    let metrics = world.host.metrics();
    let line = "millrace_plugin_retries_total{plugin=\"moody@1\"} 512";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_publish_that_may_succeed_later_is_told_from_one_that_never_will() {
    let world = moody("reject").await;
    let plans = world.plan("orders", events(&["retry", "fail"])).await;
    let later = |plan: &Plan| plan.rejection.as_ref().unwrap().may_succeed;
    assert_eq!((later(&plans[0]), later(&plans[1])), (true, false));
}

#[tokio::test]
async fn dropping_is_a_decision() {
    let plans = moody("park").await.plan("orders", events(&["drop"])).await;
    assert_eq!(plans[0].explained[0].outcome, Verdict::Dropped);
    assert!(plans[0].parked.is_empty());
}

#[tokio::test]
async fn a_thousand_lines_of_log_do_no_harm() {
    let world = moody("park").await;
    let plans = world.plan("orders", events(&["print"])).await;
    assert_eq!(plans[0].deliveries.len(), 1);
}

#[tokio::test]
async fn instances_without_a_pool_are_as_safe() {
    let world = World::with(Limits {
        instances_max: 0,
        ..Limits::default()
    });
    let world = moody_with("park", world).await;
    let plans = world
        .plan("orders", events(&["a", "trap", "grow", "loop"]))
        .await;
    let codes: Vec<&str> = plans[1..].iter().map(parked).collect();
    assert_eq!(
        codes,
        ["plugin_trap", "plugin_out_of_memory", "plugin_timeout"]
    );
    assert_eq!(plans[0].deliveries.len(), 1);
}

/// One worker thread, a topic that loops under load, another topic with a good plugin.
#[tokio::test]
async fn a_plugin_that_never_returns_delays_no_other_topic() {
    let mut world = moody("park").await;
    let config = json!({
        "plugin": {"name": "moody", "version": "1"},
        "to": {"destinations": {"good": {"queue": "q"}}},
    });
    world.subscribe("calm", "moody", config);
    world.plan("calm", events(&["warm"])).await;
    let looping: Vec<_> = (0..8)
        .map(|_| {
            let (host, request) = (
                Arc::clone(&world.host),
                world.request("orders", events(&["loop"])),
            );
            tokio::spawn(async move { host.plan(request).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let plans = world.plan("calm", events(&["ok"; 16])).await;
        assert!(plans.iter().all(|plan| plan.deliveries.len() == 1));
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(
        looping.iter().any(|task| !task.is_finished()),
        "the loops must still be at it"
    );
    assert!(
        slowest < Duration::from_millis(60),
        "the calm topic waited {slowest:?}"
    );
    for task in looping {
        let plans = task.await.unwrap();
        assert!(matches!(plans, Ok(plans) if plans[0].parked[0].code == "plugin_timeout"));
    }
}

#[tokio::test]
async fn too_many_waiting_plans_are_refused_as_overloaded() {
    let limits = Limits {
        binding_runs_max: 1,
        binding_waiting_max: 2,
        binding_wait_max: Duration::from_millis(50),
        instances_max: 8,
        ..Limits::default()
    };
    let world = moody_with("park", World::with(limits)).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (host, request) = (
                Arc::clone(&world.host),
                world.request("orders", events(&["loop"])),
            );
            tokio::spawn(async move { host.plan(request).await })
        })
        .collect();
    let mut overloaded = 0;
    for task in tasks {
        overloaded += usize::from(matches!(task.await.unwrap(), Err(PlanError::Overloaded)));
    }
    assert!(
        (5..=7).contains(&overloaded),
        "{overloaded} of 8 were refused"
    );
    assert_eq!(
        world.plan("orders", events(&["ok"])).await[0]
            .deliveries
            .len(),
        1,
        "the next request is served"
    );
}

#[tokio::test]
async fn a_plan_that_is_given_up_leaves_nothing_behind() {
    let limits = Limits {
        binding_runs_max: 1,
        instances_max: 4,
        ..Limits::default()
    };
    let world = moody_with("park", World::with(limits)).await;
    for _ in 0..20 {
        let plan = world.try_plan("orders", events(&["loop"]));
        assert!(
            tokio::time::timeout(Duration::from_millis(10), plan)
                .await
                .is_err(),
            "it loops"
        );
    }
    assert_eq!(
        world.plan("orders", events(&["ok"])).await[0]
            .deliveries
            .len(),
        1
    );
}

fn binding(version: &PluginVersion) -> PluginBinding {
    serde_json::from_value(json!({"name": version.name, "version": version.version})).unwrap()
}

#[tokio::test]
async fn refused_configurations_come_with_pointers() {
    let mut world = World::new();
    let version = world.push("stern", fixture("refuses_configuration")).await;
    let Err(ConfigureError::Refused(problems)) = world
        .host
        .configure(Arc::clone(&version), binding(&version), Vec::new())
        .await
    else {
        panic!("must be refused");
    };
    assert_eq!(
        (problems[0].pointer.as_str(), problems[0].detail.as_str()),
        ("/limit", "too large")
    );
}

#[tokio::test]
async fn a_plugin_that_loops_in_configure_fails_there_and_parks_its_events() {
    let mut world = World::with(Limits {
        start_time_max: Duration::from_millis(50),
        ..Limits::default()
    });
    let version = world.push("slow", fixture("loop_in_configure")).await;
    let failed = world
        .host
        .configure(Arc::clone(&version), binding(&version), Vec::new())
        .await;
    assert!(
        matches!(failed, Err(ConfigureError::Failed(_))),
        "{failed:?}"
    );
    world.queue("q");
    world.subscribe(
        "orders",
        "slow",
        json!({"plugin": {"name": "slow", "version": "1"}, "to": {"queue": "q"}}),
    );
    let plans = world.plan("orders", events(&["a", "b"])).await;
    assert_eq!(parked(&plans[0]), "plugin_timeout");
    assert_eq!(parked(&plans[1]), "plugin_timeout");
}

#[tokio::test]
async fn a_component_that_cannot_be_had_is_not_the_events_fault() {
    let mut world = moody("park").await;
    let version = Arc::clone(world.topology.plugins.values().next().unwrap());
    let lost = PluginVersion {
        digest: "sha256:00".into(),
        version: "2".into(),
        ..(*version).clone()
    };
    world
        .topology
        .plugins
        .insert((lost.name.clone(), "2".into()), Arc::new(lost));
    world.subscribe(
        "orders",
        "lost",
        json!({"plugin": {"name": "moody", "version": "2"}, "to": {"queue": "q"}}),
    );
    assert!(matches!(
        world.try_plan("orders", events(&["a"])).await,
        Err(PlanError::Unavailable(_))
    ));
}

/// Sixty-four events that all trap, and as many that all loop: everyone fails, in bounded time.
#[tokio::test]
async fn a_batch_of_nothing_but_poison_ends() {
    let limits = Limits {
        isolation_time_max: Duration::from_millis(300),
        instances_max: 8,
        ..Limits::default()
    };
    let world = moody_with("park", World::with(limits)).await;
    for kind in ["trap", "loop"] {
        let plans = world.plan("orders", events(&[kind; 128])).await;
        assert!(plans.iter().all(|plan| plan.parked.len() == 1), "{kind}");
    }
}
