//! [`Configured`]: an instance with its configuration, ready for batches.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use millrace_model::event::{Data, Event};
use millrace_model::time::Timestamp;

use crate::contract;
use crate::failure::{CallError, Failure};
use crate::instance::{Decision, Instance};

/// Attributes that an instance may ask for.
const WISHES_MAX: usize = 64;

/// An instance that said yes to its configuration, with what it wants of each event.
pub(crate) struct Configured {
    instance: Instance,
    wishes: contract::Wishes,
}

impl Configured {
    /// Hands over the configuration. The inner error is the plugin's "no".
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails, or asks for more than it may.
    pub(crate) async fn new(
        mut instance: Instance,
        setup: contract::Setup<'_>,
    ) -> Result<Result<Self, Vec<contract::Problem>>, CallError> {
        let wishes = match instance.configure(setup).await? {
            Ok(wishes) => wishes,
            Err(problems) => return Ok(Err(problems)),
        };
        let known = wishes.attributes.iter().all(|name| is_attribute(name));
        if wishes.attributes.len() > WISHES_MAX || !known {
            let detail = format!(
                "wishes name at most {WISHES_MAX} attributes, of lower-case letters and digits"
            );
            return Err(CallError::Failed(Failure::contract(detail)));
        }
        Ok(Ok(Self { instance, wishes }))
    }

    /// Whether the plugin reads the data.
    pub(crate) fn wants_body(&self) -> bool {
        self.wishes.body
    }

    /// Whether it has not run a batch yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.instance.is_fresh()
    }

    /// How long the last call ran, waiting left out.
    pub(crate) fn ran(&self) -> Duration {
        self.instance.ran()
    }

    /// Whether it may be kept for later batches.
    pub(crate) fn keeps(&self) -> bool {
        self.instance.keeps()
    }

    /// Hands over of each event what the plugin wants, in three allocations a batch, and runs it.
    ///
    /// # Errors
    /// [`CallError`] when the call fails as a whole.
    pub(crate) async fn run(
        &mut self,
        events: &[&Event],
        accepted_at: Timestamp,
    ) -> Result<Vec<Result<Decision, Failure>>, CallError> {
        let names = &self.wishes.attributes;
        let values: Vec<Option<Cow<'_, str>>> = events
            .iter()
            .flat_map(|event| names.iter().map(|name| event.attribute(name)))
            .collect();
        let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
        let bodies: Vec<Option<Bytes>> = if self.wishes.body {
            events.iter().map(|event| body(event)).collect()
        } else {
            Vec::new()
        };
        let handed = (0..events.len()).map(|at| contract::Event {
            attributes: &values[at * names.len()..(at + 1) * names.len()],
            accepted_at_ms: accepted_at.0,
            body: bodies.get(at).and_then(Option::as_deref),
        });
        let batch: Vec<contract::Event<'_>> = handed.collect();
        self.instance.run(&batch).await
    }
}

fn body(event: &Event) -> Option<Bytes> {
    match &event.data {
        Data::None => None,
        data => Some(data.bytes()),
    }
}

fn is_attribute(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
