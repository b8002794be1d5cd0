//! `PUT|GET|DELETE /v1/queues/{queue}` and `GET /v1/queues`.

use http::StatusCode;
use millrace_model::command::CatalogCommand;
use millrace_model::{Answer, GroupId, Outcome, Query as Question, QueueConfig};

use super::located::located;
use crate::body::Response;
use crate::call::Call;
use crate::gateway::unexpected;
use crate::moving::MoveView;
use crate::problem::Failure;
use crate::view::View;
use crate::{across, catalog, etag, json, page};

/// A queue as answers show it.
pub(crate) type QueueView<'a> = View<'a, QueueConfig>;

/// Lists queues, without their counters.
pub(crate) async fn list(call: Call) -> Result<Response, Failure> {
    let query = call.query()?;
    let topology = call.fresh().await?;
    let page = page::by_name(&topology.queues, &query, |name, queue| {
        View::new(name, &queue.queue).placed(queue.group, MoveView::of(queue))
    });
    Ok(json::answer(StatusCode::OK, &page))
}

/// Shows a queue with its counters.
pub(crate) async fn show(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let ledger = call.gateway.ledger();
    let topology = call.fresh().await?;
    let queue = call.queue(&topology)?;
    if etag::is_known(&call.head.headers, queue.queue.version)? {
        return Ok(catalog::not_modified(queue.queue.version));
    }
    let (queue, counters) = located(&call, |_, queue| async move {
        let question = Question::Counters(queue.id);
        Ok(match ledger.query(queue.group, question).await? {
            Answer::Counters(counters) => Ok((queue, counters)),
            Answer::Refused(refusal) => Err(refusal),
            _ => {
                return Err(Failure::internal(
                    "counters were answered with something else",
                ));
            }
        })
    })
    .await?;
    let moving = MoveView::counted(ledger, &queue).await;
    let view = View::new(&queue.name, &queue.queue)
        .counted(counters)
        .placed(queue.group, moving);
    Ok(json::versioned(StatusCode::OK, queue.queue.version, &view))
}

/// Creates, updates or confirms a queue.
pub(crate) async fn put(mut call: Call) -> Result<Response, Failure> {
    call.query()?;
    let name = call.name("queue")?;
    let config: QueueConfig = json::body(&mut call).await?;
    catalog::check(config.problems())?;
    let ledger = call.gateway.ledger();
    let present = call
        .fresh()
        .await?
        .queues
        .get(&name)
        .map(|queue| queue.queue.version);
    let command = CatalogCommand::PutQueue {
        group: GroupId::DATA,
        among: across::among(ledger),
        name,
        config,
        expect: etag::expect(&call.head.headers, present)?,
    };
    match call.gateway.change(command).await? {
        Outcome::Queue { queue, created } => {
            let view = View::new(&queue.name, &queue.queue);
            let view = view.placed(queue.group, MoveView::of(&queue));
            Ok(json::versioned(
                catalog::put_status(created),
                queue.queue.version,
                &view,
            ))
        }
        other => Err(unexpected(&other)),
    }
}

/// Deletes a queue with all that is in it.
pub(crate) async fn delete(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let name = call.name("queue")?;
    let topology = call.fresh().await?;
    let present = topology.queues.get(&name).map(|queue| queue.queue.version);
    let expect = etag::expect(&call.head.headers, present)?;
    catalog::delete(&call.gateway, CatalogCommand::DeleteQueue { name, expect }).await
}
