//! A router without a sandbox: filters are real, and a plugin does what its configuration says.

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::catalog::{Subscription, Topology};
use millrace_model::command::{Delivery, Park};
use millrace_model::plugin::{Description, World};
use millrace_model::router::{
    ConfigureError, Explained, Inspection, InvalidComponent, Plan, PlanError, PlanRequest,
    Rejection, Verdict,
};
use millrace_model::subscription::{DestinationRef, PluginBinding};
use millrace_model::topic::JsonDocument;
use millrace_model::{BoxFuture, Event, Filter, PluginVersion, Problem, Router, digest};
use serde_json::json;

/// Delivers to every destination. The configuration of a plugin may hold `"do": "park" | "reject" | "defer" | "panic"`.
pub(super) struct TestPlanner;

impl Router for TestPlanner {
    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, Result<Vec<Plan>, PlanError>> {
        let plan = |event| {
            let mut plan = Plan::default();
            for subscription in request.route.subscriptions.values() {
                if request
                    .only
                    .as_ref()
                    .is_none_or(|only| only.id == subscription.id)
                {
                    follow(&request, subscription, event, &mut plan);
                }
            }
            plan
        };
        let plans = request.events.iter().map(plan).collect();
        Box::pin(async move { Ok(plans) })
    }

    fn inspect(&self, component: Bytes) -> BoxFuture<'_, Result<Inspection, InvalidComponent>> {
        Box::pin(async move {
            if !component.starts_with(b"\0asm\x0d") {
                return Err(InvalidComponent::Invalid("not a component".to_owned()));
            }
            Ok(Inspection {
                digest: format!("sha256:{}", digest::of(&component)),
                name: "own-name".to_owned(),
                version: "9.9.9".to_owned(),
                description: Description {
                    world: World::Router,
                    imports: Vec::new(),
                    description: "For tests.".to_owned(),
                    config_schema: JsonDocument(json!({
                        "type": "object",
                        "properties": {"do": {"enum": ["park", "reject", "defer", "panic", "refuse"]}},
                        "additionalProperties": false,
                    })),
                    destinations: Vec::new(),
                },
            })
        })
    }

    fn configure(
        &self,
        _: Arc<PluginVersion>,
        binding: PluginBinding,
        _: Vec<String>,
    ) -> BoxFuture<'_, Result<(), ConfigureError>> {
        Box::pin(async move {
            if binding.config.0["do"] != "refuse" {
                return Ok(());
            }
            let problem = Problem::new("/do", "no", "not today");
            Err(ConfigureError::Refused(vec![problem]))
        })
    }

    fn metrics(&self) -> String {
        "# TYPE millrace_plugin_runs counter\nmillrace_plugin_runs_total 3\n# EOF\n".to_owned()
    }
}

fn follow(request: &PlanRequest, subscription: &Subscription, event: &Event, plan: &mut Plan) {
    let config = &subscription.subscription.config;
    let filter = config
        .filter
        .as_ref()
        .map(|filter| Filter::compile(filter).expect("checked at the door"));
    let takes = filter.is_none_or(|filter| filter.takes(event, || event.json_data()));
    let plugin = config.plugin.as_ref();
    let order = plugin.map_or("", |plugin| plugin.config.0["do"].as_str().unwrap_or(""));
    let outcome = match order {
        _ if !takes => Verdict::Filtered,
        "panic" => panic!("the plugin host has a bug"),
        "park" => Verdict::Parked,
        "reject" | "defer" => Verdict::Rejected,
        _ if config.paused => Verdict::Parked,
        _ => Verdict::Delivered,
    };
    let mut to = Vec::new();
    match outcome {
        Verdict::Delivered => deliver(
            &request.topology,
            subscription,
            request.delay_ms,
            plan,
            &mut to,
        ),
        Verdict::Parked => plan.parked.push(Park {
            subscription: subscription.id,
            payload: 0,
            code: "plugin_trap".to_owned(),
            detail: "for the test".to_owned(),
            plugin: plugin.map(|plugin| format!("{}@{}", plugin.name, plugin.version)),
        }),
        Verdict::Rejected => {
            plan.rejection = Some(Rejection {
                subscription: subscription.name.to_string(),
                code: "no".to_owned(),
                detail: "for the test".to_owned(),
                may_succeed: order == "defer",
            });
        }
        _ => {}
    }
    if request.explain {
        plan.explained.push(Explained {
            topic: None,
            name: subscription.name.to_string(),
            outcome,
            to,
            plugin: None,
            reason: None,
        });
    }
}

fn deliver(
    topology: &Topology,
    subscription: &Subscription,
    delay_ms: Option<u64>,
    plan: &mut Plan,
    to: &mut Vec<String>,
) {
    for (_, destination) in subscription.subscription.config.to.iter() {
        let DestinationRef::Queue(name) = destination else {
            continue;
        };
        plan.deliveries.push(Delivery {
            queue: topology.queues[name].id,
            payload: 0,
            delay_ms,
        });
        to.push(name.to_string());
    }
}
