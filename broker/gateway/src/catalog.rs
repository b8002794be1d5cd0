//! What all things of the catalog have in common when they are put, read and deleted.

use http::header::ETAG;
use http::{HeaderValue, StatusCode};
use millrace_model::command::CatalogCommand;
use millrace_model::{Outcome, Problem, Revision};

use crate::Gateway;
use crate::body::Response;
use crate::gateway::unexpected;
use crate::problem::Failure;

/// Refuses a configuration that has problems.
///
/// # Errors
/// 422, with the first problem's code.
pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::problems(
        StatusCode::UNPROCESSABLE_ENTITY,
        problems,
    ))
}

/// 201 for what was created, 200 for what was updated or confirmed.
pub(crate) fn put_status(created: bool) -> StatusCode {
    if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

/// Deletes something: 204.
///
/// # Errors
/// As [`Gateway::change`].
pub(crate) async fn delete(
    gateway: &Gateway,
    command: CatalogCommand,
) -> Result<Response, Failure> {
    match gateway.change(command).await? {
        Outcome::Deleted => Ok(empty(StatusCode::NO_CONTENT)),
        other => Err(unexpected(&other)),
    }
}

/// 304: the client knows this version.
pub(crate) fn not_modified(version: Revision) -> Response {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    let etag = HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotes");
    response.headers_mut().insert(ETAG, etag);
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
