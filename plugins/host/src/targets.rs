//! [`Targets`]: the destinations of a subscription, resolved to ids.

use millrace_model::catalog::Topology;
use millrace_model::id::QueueId;
use millrace_model::name::Name;
use millrace_model::subscription::{DESTINATION_DEFAULT, DestinationRef, Destinations};

use crate::failure::Failure;

/// Where a delivery goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into a queue.
    Queue(QueueId, Name),
    /// On to a topic.
    Topic(Name),
    /// Nowhere: the catalog has no such queue. It refuses to delete one that is in use, so this is not expected.
    Missing(Name),
}

/// The destinations of one subscription, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets(Vec<(String, Target)>);

impl Targets {
    /// Resolves `destinations` in `topology`.
    pub(crate) fn new(destinations: &Destinations, topology: &Topology) -> Self {
        let resolve = |destination| match destination {
            DestinationRef::Topic(name) => Target::Topic(name.clone()),
            DestinationRef::Queue(name) => match topology.queues.get(name) {
                Some(queue) => Target::Queue(queue.id, name.clone()),
                None => Target::Missing(name.clone()),
            },
        };
        let named = destinations.iter().map(|(name, destination)| {
            (
                name.map_or_else(|| DESTINATION_DEFAULT.to_owned(), ToString::to_string),
                resolve(destination),
            )
        });
        Self(named.collect())
    }

    /// The names that a plugin may use.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<&Target> {
        self.0.iter().map(|(_, target)| target).collect()
    }

    /// Those that a plugin named, each once.
    ///
    /// # Errors
    /// A [`Failure`] `unknown_destination` when the subscription declares one of them not.
    pub(crate) fn named(&self, names: &[String]) -> Result<Vec<&Target>, Failure> {
        let mut found: Vec<&Target> = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                continue;
            }
            let Some((_, target)) = self.0.iter().find(|(known, _)| known == name) else {
                let name: String = name
                    .chars()
                    .take(millrace_model::limit::NAME_BYTES_MAX)
                    .collect();
                return Err(Failure::new(
                    "unknown_destination",
                    format!("the subscription declares no destination {name:?}"),
                ));
            };
            found.push(target);
        }
        Ok(found)
    }
}

impl Target {
    /// The name of the queue or topic.
    pub(crate) fn name(&self) -> &Name {
        match self {
            Self::Queue(_, name) | Self::Topic(name) | Self::Missing(name) => name,
        }
    }
}
