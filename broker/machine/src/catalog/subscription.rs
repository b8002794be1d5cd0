//! Subscriptions of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_model::catalog::{Route, Subscription};
use millrace_model::command::{Change, Expect};
use millrace_model::subscription::DestinationRef;
use millrace_model::{
    GroupId, Name, Outcome, Refusal, SubscriptionConfig, SubscriptionId, Tables, Topology, limit,
    row,
};

use super::{Changed, Changing, check, within};
use crate::keys;

impl<T: Tables> Changing<'_, T> {
    pub(super) fn put_subscription(
        &mut self,
        topic: &Name,
        name: Name,
        config: SubscriptionConfig,
        expect: Expect,
    ) -> Changed {
        let route = self.route(topic)?;
        let before = route.subscriptions.get(&name).cloned();
        check(
            expect,
            before.as_ref().map(|before| before.subscription.version),
        )?;
        if let Some(subscription) = &before
            && subscription.subscription.config == config
        {
            let subscription = subscription.clone();
            return Ok(Outcome::Subscription {
                subscription,
                created: false,
            });
        }
        self.check_destinations(&route, &name, &config)?;
        self.check_plugin(&config)?;
        let id = match &before {
            Some(before) => before.id,
            None => self.new_subscription(&route)?,
        };
        let before = before.as_ref().map(|before| &before.subscription);
        let subscription = Arc::new(Subscription {
            id,
            name: name.clone(),
            subscription: self.versioned(before, config),
        });
        let key = keys::subscription(route.topic.id, id);
        self.tables.put(&key, row::encode_json(&*subscription));
        let put = subscription.clone();
        let group = route.topic.group;
        // A route that nobody else holds is changed in place.
        drop(route);
        self.change_route(topic, |subscriptions| {
            subscriptions.insert(name, put);
        });
        let placement = &mut Arc::make_mut(self.topology).placement;
        placement.add_subscription(id, group);
        Ok(Outcome::Subscription {
            subscription,
            created: before.is_none(),
        })
    }

    pub(super) fn delete_subscription(
        &mut self,
        topic: &Name,
        name: &Name,
        expect: Expect,
    ) -> Changed {
        let route = self.route(topic)?;
        let subscription = route.subscriptions.get(name);
        let subscription =
            subscription.ok_or_else(|| Refusal::SubscriptionNotFound(within(topic, name)))?;
        check(expect, Some(subscription.subscription.version))?;
        let id = subscription.id;
        self.revise();
        self.tell_deleted(route.topic.group, id);
        self.tables.remove(&keys::subscription(route.topic.id, id));
        drop(route);
        self.change_route(topic, |subscriptions| {
            subscriptions.remove(name);
        });
        let placement = &mut Arc::make_mut(self.topology).placement;
        placement.remove_subscription(id);
        Ok(Outcome::Deleted)
    }

    /// Tells the group of a topic that a subscription is deleted. With several groups, something may be on its way to
    /// the subscription's parked list.
    pub(super) fn tell_deleted(&mut self, group: GroupId, id: SubscriptionId) {
        self.tell(group, Change::SubscriptionDeleted { id });
        if self.topology.placement.groups().count() > 1 {
            self.tell(group, Change::SubscriptionGone { id });
        }
    }

    fn route(&self, topic: &Name) -> Result<Arc<Route>, Refusal> {
        let route = self.topology.topics.get(topic).cloned();
        route.ok_or_else(|| Refusal::TopicNotFound(topic.to_string()))
    }

    fn new_subscription(&mut self, route: &Route) -> Result<SubscriptionId, Refusal> {
        let count = route.subscriptions.len();
        super::limit(
            "subscriptions of a topic",
            count,
            limit::TOPIC_SUBSCRIPTIONS_MAX,
        )?;
        self.state.subscription += 1;
        Ok(SubscriptionId(self.state.subscription))
    }

    fn change_route(
        &mut self,
        topic: &Name,
        change: impl FnOnce(&mut BTreeMap<Name, Arc<Subscription>>),
    ) {
        let topics = &mut Arc::make_mut(self.topology).topics;
        let route = topics.get_mut(topic).expect("the topic was found");
        change(&mut Arc::make_mut(route).subscriptions);
    }

    /// Whether all destinations exist, in whatever groups, and close no cycle and no long chain.
    fn check_destinations(
        &self,
        route: &Route,
        name: &Name,
        config: &SubscriptionConfig,
    ) -> Result<(), Refusal> {
        let most = limit::DESTINATIONS_MAX;
        super::limit(
            "destinations",
            config.to.iter().count().saturating_sub(1),
            most,
        )?;
        let mut topics = Vec::new();
        for (_, to) in config.to.iter() {
            match to {
                DestinationRef::Queue(name) => {
                    let queue = self.topology.queues.get(name);
                    queue.ok_or_else(|| Refusal::QueueNotFound(name.to_string()))?;
                }
                DestinationRef::Topic(name) => {
                    topics.push(name);
                    self.route(name)?;
                }
            }
        }
        check_chain(self.topology, &route.topic.name, name, &topics)
    }

    fn check_plugin(&self, config: &SubscriptionConfig) -> Result<(), Refusal> {
        let Some(plugin) = &config.plugin else {
            return Ok(());
        };
        match self.topology.plugin(&plugin.name, &plugin.version) {
            Some(_) => Ok(()),
            None => {
                let name = format!("{}@{}", plugin.name, plugin.version);
                Err(Refusal::PluginNotFound(name))
            }
        }
    }
}

/// Whether events may go from `topic` on to `targets` by its subscription `name`, which is not counted as it
/// was before.
fn check_chain(
    topology: &Topology,
    topic: &Name,
    name: &Name,
    targets: &[&Name],
) -> Result<(), Refusal> {
    if targets.is_empty() {
        return Ok(());
    }
    let graph = Graph::new(topology, Some((topic, name)));
    let mut onward = 0;
    for target in targets {
        let lengths = graph.lengths(&graph.next, target);
        if lengths.contains_key(topic) {
            return Err(Refusal::TopicCycle(target.to_string()));
        }
        onward = onward.max(lengths[target]);
    }
    let before = graph.lengths(&graph.previous, topic)[topic];
    if before + 1 + onward > limit::TOPIC_HOPS_MAX {
        return Err(Refusal::TooManyHops(limit::TOPIC_HOPS_MAX as u64));
    }
    Ok(())
}

/// Topics that begin a chain that is too long. A cycle would be one without an end; it is cut off.
pub(super) fn audit_chains(topology: &Topology) -> Vec<String> {
    let graph = Graph::new(topology, None);
    let mut reached: Vec<&Name> = topology.topics.keys().collect();
    for _ in 0..=limit::TOPIC_HOPS_MAX {
        let onward = reached.iter().filter_map(|topic| graph.next.get(topic));
        let mut onward: Vec<_> = onward.flatten().copied().collect();
        onward.sort_unstable();
        onward.dedup();
        reached = onward;
    }
    let text = |topic: &Name| format!("topic {topic} ends a chain that is too long");
    reached.into_iter().map(text).collect()
}

type Edges<'a> = BTreeMap<&'a Name, Vec<&'a Name>>;

/// Which topics lead to which. Without cycles, and of short chains: so the catalog was kept.
struct Graph<'a> {
    next: Edges<'a>,
    previous: Edges<'a>,
}

impl<'a> Graph<'a> {
    /// The graph of all subscriptions but one, named by topic and name.
    fn new(topology: &'a Topology, but: Option<(&Name, &Name)>) -> Self {
        let (mut next, mut previous) = (Edges::new(), Edges::new());
        for (from, route) in &topology.topics {
            for subscription in route.subscriptions.values() {
                if but == Some((from, &subscription.name)) {
                    continue;
                }
                for (_, to) in subscription.subscription.config.to.iter() {
                    if let DestinationRef::Topic(to) = to {
                        next.entry(from).or_default().push(to);
                        previous.entry(to).or_default().push(from);
                    }
                }
            }
        }
        Self { next, previous }
    }

    /// For every topic that `from` leads to, itself included, how long the longest chain onward is. Chains
    /// are short, so the depth of the recursion is bounded.
    fn lengths(&self, edges: &Edges<'a>, from: &'a Name) -> BTreeMap<&'a Name, usize> {
        let mut lengths = BTreeMap::new();
        longest(edges, from, &mut lengths);
        lengths
    }
}

fn longest<'a>(
    edges: &Edges<'a>,
    from: &'a Name,
    lengths: &mut BTreeMap<&'a Name, usize>,
) -> usize {
    if let Some(length) = lengths.get(from) {
        return *length;
    }
    let onward = edges.get(from).into_iter().flatten();
    let length = onward
        .map(|to| 1 + longest(edges, to, lengths))
        .max()
        .unwrap_or(0);
    lengths.insert(from, length);
    length
}
