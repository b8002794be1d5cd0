//! Queues of the catalog.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_model::catalog::Queue;
use millrace_model::command::{Change, Expect};
use millrace_model::subscription::DestinationRef;
use millrace_model::{GroupId, Name, Outcome, QueueConfig, QueueId, Refusal, Tables, limit, row};

use super::place::place;
use super::{Changed, Changing, check, within};
use crate::keys;

impl<T: Tables> Changing<'_, T> {
    pub(super) fn put_queue(
        &mut self,
        name: Name,
        config: QueueConfig,
        (group, among): (GroupId, &[GroupId]),
        expect: Expect,
    ) -> Changed {
        let before = self.topology.queues.get(&name).cloned();
        check(expect, before.as_ref().map(|queue| queue.queue.version))?;
        if let Some(queue) = &before
            && queue.queue.config == config
        {
            let queue = queue.clone();
            return Ok(Outcome::Queue {
                queue,
                created: false,
            });
        }
        let group = match &before {
            Some(queue) => queue.group,
            None => self.place_queue(&name, &config, among).unwrap_or(group),
        };
        let dead_letter = self.dead_letter(&name, &config, group)?;
        self.check_moves(&config, before.as_deref())?;
        let id = self.queue_id(&name, &config, before.as_deref())?;
        let queue = self.versioned(before.as_ref().map(|before| &before.queue), config);
        let queue = Arc::new(Queue {
            id,
            group,
            name: name.clone(),
            queue,
            moving: before.as_ref().and_then(|before| before.moving),
            left: before.as_ref().map_or_else(Vec::new, |it| it.left.clone()),
        });
        self.tell_queue(&queue, dead_letter);
        self.write_queue(&queue);
        let topology = Arc::make_mut(self.topology);
        topology.queues.insert(name, queue.clone());
        if before.is_none() {
            topology.placement.add_queue(id, group);
        }
        Ok(Outcome::Queue {
            queue,
            created: before.is_none(),
        })
    }

    /// Where a new queue goes, if there is a choice: with its dead-letter queue, if it names one.
    fn place_queue(&self, name: &Name, config: &QueueConfig, among: &[GroupId]) -> Option<GroupId> {
        let dead_letter = config.dead_letter.as_ref().filter(|_| !among.is_empty());
        let dead_letter = dead_letter.and_then(|it| self.topology.queues.get(&it.queue));
        let group = dead_letter.map(|queue| queue.group);
        group.or_else(|| place(self.topology, name, among))
    }

    /// The dead-letter queue that a configuration names.
    fn dead_letter(
        &self,
        name: &Name,
        config: &QueueConfig,
        group: GroupId,
    ) -> Result<Option<QueueId>, Refusal> {
        let Some(dead_letter) = &config.dead_letter else {
            return Ok(None);
        };
        let target = &dead_letter.queue;
        if target == name {
            let reason = format!("queue {name:?} cannot be its own dead-letter queue");
            return Err(Refusal::InUse(reason));
        }
        let queue = self.topology.queues.get(target);
        let queue = queue.ok_or_else(|| Refusal::QueueNotFound(target.to_string()))?;
        if queue.group != group {
            return Err(apart(&format!("dead-letter queue {target:?}"), queue.group));
        }
        Ok(Some(queue.id))
    }

    /// The id of a queue, which must not change what cannot change.
    fn queue_id(
        &mut self,
        name: &Name,
        config: &QueueConfig,
        before: Option<&Queue>,
    ) -> Result<QueueId, Refusal> {
        if let Some(before) = before {
            if before.queue.config.fifo != config.fifo {
                let reason = format!("queue {name:?} exists with another value of fifo");
                return Err(Refusal::AlreadyExists(reason));
            }
            return Ok(before.id);
        }
        super::limit(
            "queues",
            self.topology.queues.len(),
            limit::CATALOG_ITEMS_MAX,
        )?;
        self.state.queue += 1;
        Ok(QueueId(self.state.queue))
    }

    /// Writes the row of a queue.
    pub(super) fn write_queue(&mut self, queue: &Queue) {
        let key = keys::numbered(keys::CATALOG_QUEUE, queue.id.0);
        self.tables.put(&key, row::encode_json(queue));
    }

    fn tell_queue(&mut self, queue: &Queue, dead_letter: Option<QueueId>) {
        let change = Change::Queue {
            id: queue.id,
            name: queue.name.clone(),
            config: queue.queue.config.clone(),
            dead_letter,
        };
        let target = Some(queue.target()).filter(|target| *target != queue.group);
        for group in target.into_iter().chain([queue.group]) {
            self.tell(group, change.clone());
        }
    }

    pub(super) fn delete_queue(&mut self, name: &Name, expect: Expect) -> Changed {
        let queue = self.topology.queues.get(name).cloned();
        let queue = queue.ok_or_else(|| Refusal::QueueNotFound(name.to_string()))?;
        check(expect, Some(queue.queue.version))?;
        if let Some(user) = self.queue_user(name) {
            let reason = format!("queue {name:?} is used by {user}: change or delete that first");
            return Err(Refusal::InUse(reason));
        }
        self.revise();
        let mut groups = BTreeSet::from([queue.group, queue.delivered_to(), queue.target()]);
        groups.extend(&queue.left);
        for group in groups {
            self.tell(group, Change::QueueDeleted { id: queue.id });
        }
        let key = keys::numbered(keys::CATALOG_QUEUE, queue.id.0);
        self.tables.remove(&key);
        let topology = Arc::make_mut(self.topology);
        topology.queues.remove(name);
        let placement = &mut topology.placement;
        placement.remove_queue(queue.id, queue.delivered_to());
        if let Some(moving) = queue.moving {
            placement.remove_queue(queue.id, moving.to);
        }
        Ok(Outcome::Deleted)
    }

    /// Who refers to a queue, in words.
    fn queue_user(&self, name: &Name) -> Option<String> {
        let dead_letters = self.topology.queues.values().find(|queue| {
            let dead_letter = queue.queue.config.dead_letter.as_ref();
            dead_letter.is_some_and(|dead_letter| dead_letter.queue == *name)
        });
        if let Some(queue) = dead_letters {
            return Some(format!("queue {:?}", queue.name));
        }
        self.subscriptions()
            .find(|(_, subscription)| {
                let to = &subscription.subscription.config.to;
                to.iter().any(|(_, to)| to == DestinationRef::Queue(name))
            })
            .map(|(topic, subscription)| {
                format!("subscription {:?}", within(topic, &subscription.name))
            })
    }
}

/// The refusal to make a queue the dead-letter queue of one in another group: an entry moves between them within one
/// entry of the log.
fn apart(what: &str, group: GroupId) -> Refusal {
    Refusal::AlreadyExists(format!(
        "{what} is placed in group {group}: use one in the same group; a new queue that names it is placed there"
    ))
}
