//! What does not hold of the catalog.

use millrace_model::subscription::DestinationRef;
use millrace_model::{Fault, GroupId, Tables, Topology};

use super::{Catalog, subscription, within};
use crate::machine::Machine;

impl<T: Tables> Machine<T> {
    /// The topology is what the rows say, and everything that it refers to exists (group 0).
    pub(crate) fn audit_catalog(&self, violations: &mut Vec<String>) -> Result<(), Fault> {
        if self.group != GroupId::META {
            return Ok(());
        }
        let topology = self.topology();
        let rows = Catalog::open(&self.tables, self.state.revision)?;
        if rows.topology() != topology {
            violations.push("the topology is not what the rows say".to_owned());
        }
        audit_ids(&topology, self.state.topic, self.state.queue, violations);
        audit_dead_letters(&topology, violations);
        audit_moves(&topology, violations);
        audit_subscriptions(&topology, violations);
        violations.extend(subscription::audit_chains(&topology));
        for plugin in topology.plugins.values() {
            let bytes = self.component(&plugin.digest)?;
            if bytes.is_none_or(|bytes| bytes.len() as u64 != plugin.bytes) {
                violations.push(format!("plugin {} has other bytes", plugin.name));
            }
        }
        Ok(())
    }
}

fn audit_ids(topology: &Topology, topic: u32, queue: u32, violations: &mut Vec<String>) {
    let topics = topology.topics.values().map(|route| route.topic.id.0).max();
    let queues = topology.queues.values().map(|queue| queue.id.0).max();
    if topics.is_some_and(|last| last > topic) || queues.is_some_and(|last| last > queue) {
        violations.push("an id was given that is not counted".to_owned());
    }
}

fn audit_dead_letters(topology: &Topology, violations: &mut Vec<String>) {
    for queue in topology.queues.values() {
        let Some(dead_letter) = &queue.queue.config.dead_letter else {
            continue;
        };
        let target = topology.queues.get(&dead_letter.queue);
        if target.is_none_or(|target| target.group != queue.group || target.id == queue.id) {
            let name = &queue.name;
            violations.push(format!("the dead-letter queue of {name} is not to be had"));
        }
    }
}

fn audit_moves(topology: &Topology, violations: &mut Vec<String>) {
    for queue in topology.queues.values() {
        let name = &queue.name;
        if queue.delivered_to() != topology.placement.queue(queue.id) {
            violations.push(format!("the placement of {name} is another"));
        }
        let is_placed = queue.moving.is_none_or(|moving| {
            let group = if moving.leaves {
                moving.to
            } else {
                moving.from
            };
            moving.from != moving.to && queue.group == group
        });
        if !is_placed || queue.left.contains(&queue.group) {
            violations.push(format!("{name} is not where its move says"));
        }
    }
}

fn audit_subscriptions(topology: &Topology, violations: &mut Vec<String>) {
    for (topic, route) in &topology.topics {
        for subscription in route.subscriptions.values() {
            let config = &subscription.subscription.config;
            let reached = config.to.iter().all(|(_, to)| match to {
                DestinationRef::Queue(name) => topology.queues.contains_key(name),
                DestinationRef::Topic(name) => topology.topics.contains_key(name),
            });
            let plugin = config.plugin.as_ref();
            let bound = plugin.is_none_or(|it| topology.plugin(&it.name, &it.version).is_some());
            if !reached || !bound {
                let name = within(topic, &subscription.name);
                violations.push(format!("subscription {name} refers to what is not there"));
            }
        }
    }
}
