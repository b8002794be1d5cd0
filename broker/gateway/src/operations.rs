//! What operators ask: health, metrics, and the description of this very interface.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use millrace_model::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::Response;
use crate::call::Call;
use crate::metrics::OPENMETRICS;
use crate::problem::Failure;
use crate::{json, openapi};

/// Health.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Says that the process lives.
pub(crate) async fn live(call: Call) -> Result<Response, Failure> {
    call.query()?;
    Ok(json::answer(StatusCode::OK, &Health { status: "ok" }))
}

/// Says whether the node can serve, and if not, why.
pub(crate) async fn ready(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let reasons = call.gateway.ledger().status().reasons;
    if reasons.is_empty() {
        return Ok(json::answer(StatusCode::OK, &Health { status: "ok" }));
    }
    let problem = |reason: String| Problem::new("", "not_ready", reason);
    let problems = reasons.into_iter().map(problem).collect();
    Err(Failure::problems(StatusCode::SERVICE_UNAVAILABLE, problems).retry_after(1))
}

/// Gives the metrics of all rooms.
pub(crate) async fn metrics(call: Call) -> Result<Response, Failure> {
    call.query()?;
    let gateway = &call.gateway;
    let rooms = [gateway.ledger().metrics(), gateway.planner().metrics()];
    let text = gateway.metrics().text(&rooms)?;
    Ok(typed(text, OPENMETRICS))
}

/// Describes this interface.
pub(crate) async fn description(call: Call) -> Result<Response, Failure> {
    call.query()?;
    Ok(typed(openapi::text(), json::JSON))
}

fn typed(text: impl Into<Bytes>, content_type: &'static str) -> Response {
    let mut response = json::raw(StatusCode::OK, text);
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
