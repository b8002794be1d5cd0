//! JSON Schemas: of a topic's data, and of a plugin's configuration.
//!
//! Schemas come from clients, so nothing is fetched, and patterns run on an engine of linear time.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonschema::{Draft, PatternOptions, Validator};
use millrace_model::catalog::Topic;
use millrace_model::{Event, Problem, Revision, TopicId, Topology};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::problem::{ERRORS_MAX, Failure};

/// Largest compiled pattern, in bytes: the default of the regex crate is ten times as much.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Data up to this size has all its errors told; larger data the first alone, since all are collected
/// before any can be read.
const DATA_WITH_ALL_ERRORS_BYTES_MAX: usize = 64 * 1024;

/// Data of one request up to this size, in bytes, is checked where it came in; more of it off the threads that serve connections.
pub(crate) const CHECKED_HERE_BYTES_MAX: usize = 32 * 1024;

/// The code of data and configurations that break their schema.
const VIOLATION: &str = "schema_violation";

/// Compiled schemas of topics.
#[derive(Debug)]
pub(crate) struct Schemas {
    compiled: RwLock<BTreeMap<TopicId, (Revision, Arc<Validator>)>>,
    /// Checks that take long run in a lane half as wide as the machine: they hold up each other, and no other request.
    lane: Arc<Semaphore>,
}

impl Default for Schemas {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            compiled: RwLock::default(),
            lane: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }
}

impl Schemas {
    /// The compiled schema of a topic, if it has one.
    ///
    /// # Errors
    /// 500: it was checked when the topic was put.
    pub(crate) async fn of(
        &self,
        topology: &Topology,
        topic: &Topic,
    ) -> Result<Option<Arc<Validator>>, Failure> {
        let Some(schema) = &topic.topic.config.schema else {
            return Ok(None);
        };
        if let Some(known) = self.known(topic) {
            return Ok(Some(known));
        }
        // Boxed: the first event after a change pays for it, and not every one.
        let compiled = Box::pin(compile_elsewhere(schema.0.clone())).await?;
        let compiled =
            compiled.map_err(|_| Failure::internal("a stored schema does not compile"))?;
        let compiled = Arc::new(compiled);
        let mut cache = self
            .compiled
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Topics that are gone leave nothing behind.
        let ids: Vec<_> = topology
            .topics
            .values()
            .map(|route| route.topic.id)
            .collect();
        cache.retain(|id, _| ids.contains(id));
        cache.insert(topic.id, (topic.topic.version, Arc::clone(&compiled)));
        Ok(Some(compiled))
    }

    /// Runs a check that takes long off the threads that serve connections, in turn.
    ///
    /// # Errors
    /// 500: it panicked.
    pub(crate) async fn elsewhere<R: Send + 'static>(
        &self,
        check: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let lane = Arc::clone(&self.lane);
        let place = lane.acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let checked = tokio::task::spawn_blocking(move || {
            let result = check();
            // Kept until here: a client that goes away ends no check.
            drop(place);
            result
        });
        checked
            .await
            .map_err(|_| Failure::internal("a check of data panicked"))
    }

    fn known(&self, topic: &Topic) -> Option<Arc<Validator>> {
        let cache = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
        let (version, validator) = cache.get(&topic.id)?;
        (*version == topic.topic.version).then(|| Arc::clone(validator))
    }
}

/// Compiles a schema off the threads that serve connections.
///
/// # Errors
/// The outer one is 500; the inner one says what is wrong with the schema.
pub(crate) async fn compile_elsewhere(
    schema: Value,
) -> Result<Result<Validator, Problem>, Failure> {
    let compiled = tokio::task::spawn_blocking(move || compile(&schema)).await;
    compiled.map_err(|_| Failure::internal("the compilation of a schema panicked"))
}

/// Compiles a schema. The problem's pointer is into the schema.
fn compile(schema: &Value) -> Result<Validator, Problem> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    let options = options.offline().with_pattern_options(patterns);
    let compiled = options.build(schema);
    compiled.map_err(|error| {
        let detail = format!("the schema cannot be used: {}", error.masked());
        Problem::new(error.instance_path().as_str(), "invalid_schema", detail)
    })
}

/// What is wrong with `value`; pointers are into it.
pub(crate) fn violations(validator: &Validator, value: &Value, all: bool) -> Vec<Problem> {
    let Err(first) = validator.validate(value) else {
        return Vec::new();
    };
    let problem = |error: &jsonschema::ValidationError<'_>| {
        let pointer = error.instance_path().as_str();
        Problem::new(pointer, VIOLATION, error.masked().to_string())
    };
    if !all {
        return vec![problem(&first)];
    }
    let errors = validator.iter_errors(value).take(ERRORS_MAX);
    errors.map(|error| problem(&error)).collect()
}

/// What is wrong with the data of an event; pointers are from `/data` on.
pub(crate) fn data_problems(schema: &Validator, event: &Event) -> Vec<Problem> {
    let Some(data) = event.json_data() else {
        let detail = "the topic has a schema, and the data is not JSON that can be read";
        return vec![Problem::new("/data", VIOLATION, detail)];
    };
    let all = event.data.bytes().len() <= DATA_WITH_ALL_ERRORS_BYTES_MAX;
    let mut problems = violations(schema, &data, all);
    problems
        .iter_mut()
        .for_each(|problem| problem.pointer.insert_str(0, "/data"));
    problems
}
