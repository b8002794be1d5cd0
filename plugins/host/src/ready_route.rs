//! [`ReadyRoute`]: a topic's subscriptions, made ready for events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use millrace_model::catalog::{Route, Subscription, Topology};
use millrace_model::filter::Filter;
use millrace_model::id::{Revision, TopicId};
use millrace_model::router::PlanError;

use crate::binding::Binding;
use crate::shared::Shared;
use crate::targets::Targets;

/// A subscription with its filter compiled, its destinations resolved and its plugin bound.
pub(crate) struct Ready {
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) filter: Option<Arc<Filter>>,
    pub(crate) targets: Targets,
    pub(crate) binding: Option<Arc<Binding>>,
}

/// All subscriptions of a topic, by name, at one revision of the catalog.
pub(crate) struct ReadyRoute {
    revision: Revision,
    pub(crate) topic: millrace_model::Name,
    pub(crate) subscriptions: Vec<Ready>,
}

/// The routes in use. One a topic: the newest that was asked for.
#[derive(Default)]
pub(crate) struct Routes(Mutex<HashMap<TopicId, Arc<ReadyRoute>>>);

impl Routes {
    /// The route of a topic at the revision of `topology`. What did not change since the last one is used again: a change
    /// of one subscription must not restart the plugins of the others.
    ///
    /// # Errors
    /// [`PlanError::Unavailable`] when a bound plugin is not in the catalog.
    pub(crate) fn get(
        &self,
        shared: &Arc<Shared>,
        route: &Route,
        topology: &Topology,
    ) -> Result<Arc<ReadyRoute>, PlanError> {
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&route.topic.id)
            .cloned();
        if let Some(known) = &known
            && known.revision == topology.revision
        {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(ReadyRoute::new(shared, route, topology, known.as_deref())?);
        if known.is_none_or(|known| known.revision < fresh.revision) {
            self.keep(route.topic.id, &fresh, topology);
        }
        Ok(fresh)
    }

    fn keep(&self, topic: TopicId, fresh: &Arc<ReadyRoute>, topology: &Topology) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Topics that are gone leave once they are the larger part.
        if routes.len() > 2 * topology.topics.len() + 16 {
            let live: std::collections::BTreeSet<TopicId> = topology
                .topics
                .values()
                .map(|route| route.topic.id)
                .collect();
            routes.retain(|topic, _| live.contains(topic));
        }
        routes.insert(topic, Arc::clone(fresh));
    }
}

impl ReadyRoute {
    fn new(
        shared: &Arc<Shared>,
        route: &Route,
        topology: &Topology,
        before: Option<&Self>,
    ) -> Result<Self, PlanError> {
        let subscriptions = route.subscriptions.values().map(|subscription| {
            let before = before.and_then(|before| before.find(subscription));
            Ready::new(shared, route, subscription, topology, before)
        });
        Ok(Self {
            revision: topology.revision,
            topic: route.topic.name.clone(),
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    }

    /// The ready form of exactly this subscription, at exactly this version.
    pub(crate) fn find(&self, subscription: &Subscription) -> Option<&Ready> {
        let at = self
            .subscriptions
            .binary_search_by(|ready| ready.subscription.name.cmp(&subscription.name))
            .ok()?;
        let ready = &self.subscriptions[at];
        let same = ready.subscription.id == subscription.id
            && ready.subscription.subscription.version == subscription.subscription.version;
        same.then_some(ready)
    }
}

impl Ready {
    /// Makes a subscription ready. `before` is its ready form at an older revision, if its configuration did not change.
    ///
    /// # Errors
    /// [`PlanError::Unavailable`] when its plugin is not in the catalog, or its filter is not good.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        route: &Route,
        subscription: &Arc<Subscription>,
        topology: &Topology,
        before: Option<&Self>,
    ) -> Result<Self, PlanError> {
        let config = &subscription.subscription.config;
        let targets = Targets::new(&config.to, topology);
        let (filter, binding) = match before {
            Some(before) => (before.filter.clone(), before.binding.clone()),
            None => (
                filter(subscription)?,
                binding(shared, route, subscription, topology, &targets)?,
            ),
        };
        Ok(Self {
            subscription: Arc::clone(subscription),
            filter,
            targets,
            binding,
        })
    }
}

fn filter(subscription: &Subscription) -> Result<Option<Arc<Filter>>, PlanError> {
    let Some(config) = &subscription.subscription.config.filter else {
        return Ok(None);
    };
    // The gateway compiled it before it was stored.
    let bad = |_| {
        PlanError::Unavailable(format!(
            "the filter of subscription {} is not good",
            subscription.name
        ))
    };
    Filter::compile(config)
        .map(|filter| Some(Arc::new(filter)))
        .map_err(bad)
}

fn binding(
    shared: &Arc<Shared>,
    route: &Route,
    subscription: &Subscription,
    topology: &Topology,
    targets: &Targets,
) -> Result<Option<Arc<Binding>>, PlanError> {
    let Some(binding) = &subscription.subscription.config.plugin else {
        return Ok(None);
    };
    let Some(version) = topology.plugin(&binding.name, &binding.version) else {
        return Err(PlanError::Unavailable(format!(
            "{}@{} is not in the catalog",
            binding.name, binding.version
        )));
    };
    let subscriber = format!("{}/{}", route.topic.name, subscription.name);
    let config = binding.config.0.to_string();
    Ok(Some(Arc::new(Binding::new(
        shared,
        Arc::clone(version),
        config,
        targets.names(),
        &subscriber,
    ))))
}
