//! `PUT|GET|DELETE /v1/topics/{topic}` and `GET /v1/topics`.

use http::StatusCode;
use millrace_model::command::CatalogCommand;
use millrace_model::{Name, Outcome, TopicConfig};

use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::problem::Failure;
use crate::query::{Kind, Param};
use crate::view::View;
use crate::{across, catalog, etag, json, page, schema};

/// A topic as answers show it.
pub(crate) type TopicView<'a> = View<'a, TopicConfig>;

/// The parameters of a deletion.
pub(crate) const DELETE: &[Param] = &[Param {
    name: "cascade",
    kind: Kind::Flag,
    about: "Delete the topic's subscriptions too.",
}];

/// Lists topics.
pub(crate) async fn list(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let topology = call.fresh().await?;
    let page = page::by_name(&topology.topics, &query, |name: &Name, route| {
        View::new(name, &route.topic.topic)
    });
    Ok(json::answer(StatusCode::OK, &page))
}

/// Shows a topic.
pub(crate) async fn show(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let topology = call.fresh().await?;
    let topic = &call.topic(&topology)?.topic;
    if etag::is_known(&call.head.headers, topic.topic.version)? {
        return Ok(catalog::not_modified(topic.topic.version));
    }
    let view = View::new(&topic.name, &topic.topic);
    Ok(json::versioned(StatusCode::OK, topic.topic.version, &view))
}

/// Creates, updates or confirms a topic.
pub(crate) async fn put(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let name = call.name("topic")?;
    let config: TopicConfig = json::body(&mut call).await?;
    catalog::check(config.problems())?;
    check_schema(&config).await?;
    let topology = call.fresh().await?;
    let present = topology
        .topics
        .get(&name)
        .map(|route| route.topic.topic.version);
    let expect = etag::expect(&call.head.headers, present)?;
    let command = CatalogCommand::PutTopic {
        name,
        config,
        among: across::among(call.gateway.ledger()),
        expect,
    };
    match call.gateway.change(command).await? {
        Outcome::Topic { topic, created } => {
            let view = View::new(&topic.name, &topic.topic);
            let status = catalog::put_status(created);
            Ok(json::versioned(status, topic.topic.version, &view))
        }
        other => Err(unexpected(&other)),
    }
}

async fn check_schema(config: &TopicConfig) -> Result<(), Failure> {
    let Some(document) = &config.schema else {
        return Ok(());
    };
    match schema::compile_elsewhere(document.0.clone()).await? {
        Ok(_) => Ok(()),
        Err(mut problem) => {
            problem.pointer.insert_str(0, "/schema");
            catalog::check(vec![problem])
        }
    }
}

/// Deletes a topic, with `?cascade=true` its subscriptions too.
pub(crate) async fn delete(call: Call) -> Result<Response, Failure> {
    let cascade = call.query()?.flag("cascade");
    let name = call.name("topic")?;
    let topology = call.fresh().await?;
    let present = topology
        .topics
        .get(&name)
        .map(|route| route.topic.topic.version);
    let expect = etag::expect(&call.head.headers, present)?;
    let command = CatalogCommand::DeleteTopic {
        name,
        cascade,
        expect,
    };
    catalog::delete(&call.gateway, command).await
}
