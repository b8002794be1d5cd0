//! `PUT|GET|DELETE /v1/topics/{topic}/subscriptions/{subscription}` and the list of them.

use http::StatusCode;
use millrace_model::command::CatalogCommand;
use millrace_model::subscription::{Destinations, PluginBinding};
use millrace_model::{Outcome, Refusal, SubscriptionConfig, Topology};

use crate::Gateway;
use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::problem::Failure;
use crate::problem::causes::in_config;
use crate::view::View;
use crate::{catalog, etag, json, page, schema};

/// A subscription as answers show it.
pub(crate) type SubscriptionView<'a> = View<'a, SubscriptionConfig>;

/// Lists the subscriptions of a topic.
pub(crate) async fn list(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let topology = call.fresh().await?;
    let route = call.topic(&topology)?;
    let page = page::by_name(&route.subscriptions, &query, |name, subscription| {
        View::new(name, &subscription.subscription)
    });
    Ok(json::answer(StatusCode::OK, &page))
}

/// Shows a subscription.
pub(crate) async fn show(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let topology = call.fresh().await?;
    let found = call.subscription(call.topic(&topology)?)?;
    let version = found.subscription.version;
    if etag::is_known(&call.head.headers, version)? {
        return Ok(catalog::not_modified(version));
    }
    let view = View::new(&found.name, &found.subscription);
    Ok(json::versioned(StatusCode::OK, version, &view))
}

/// Creates, updates or confirms a subscription; its plugin has taken its configuration then.
pub(crate) async fn put(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let (topic, name) = (call.name("topic")?, call.name("subscription")?);
    let config: SubscriptionConfig = json::body(&mut call).await?;
    catalog::check(config.problems())?;
    let topology = call.fresh().await?;
    let route = call.topic(&topology)?;
    let present = route.subscriptions.get(&name);
    let present = present.map(|subscription| subscription.subscription.version);
    let expect = etag::expect(&call.head.headers, present)?;
    if let Some(binding) = &config.plugin {
        check_plugin(&call.gateway, &topology, binding, &config.to).await?;
    }
    let command = CatalogCommand::PutSubscription {
        topic,
        name,
        config,
        expect,
    };
    match call.gateway.change(command).await? {
        Outcome::Subscription {
            subscription,
            created,
        } => {
            let view = View::new(&subscription.name, &subscription.subscription);
            let status = catalog::put_status(created);
            Ok(json::versioned(
                status,
                subscription.subscription.version,
                &view,
            ))
        }
        other => Err(unexpected(&other)),
    }
}

/// Checks a binding: the version exists, its schema takes the configuration, and so does the plugin itself.
async fn check_plugin(
    gateway: &Gateway,
    topology: &Topology,
    binding: &PluginBinding,
    to: &Destinations,
) -> Result<(), Failure> {
    let name = format!("{}@{}", binding.name, binding.version);
    let version = topology.plugin(&binding.name, &binding.version);
    let version = version.ok_or(Refusal::PluginNotFound(name))?;
    let schema = version.description.config_schema.0.clone();
    let schema = schema::compile_elsewhere(schema).await?;
    let schema = schema.map_err(|problem| {
        tracing::warn!(plugin = %binding.name, problem.detail, "a stored config_schema does not compile");
        Failure::internal("a stored config_schema does not compile")
    })?;
    catalog::check(in_config(schema::violations(
        &schema,
        &binding.config.0,
        true,
    )))?;
    Ok(gateway
        .planner()
        .configure(version.clone(), binding.clone(), to.names())
        .await?)
}

/// Deletes a subscription with its parked events.
pub(crate) async fn delete(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let (topic, name) = (call.name("topic")?, call.name("subscription")?);
    let topology = call.fresh().await?;
    let route = topology.topics.get(&topic);
    let present = route.and_then(|route| route.subscriptions.get(&name));
    let present = present.map(|subscription| subscription.subscription.version);
    let expect = etag::expect(&call.head.headers, present)?;
    let command = CatalogCommand::DeleteSubscription {
        topic,
        name,
        expect,
    };
    catalog::delete(&call.gateway, command).await
}
