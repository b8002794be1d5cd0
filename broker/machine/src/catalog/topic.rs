//! Topics of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_model::catalog::{Route, Subscription, Topic};
use millrace_model::command::{Change, Expect};
use millrace_model::subscription::DestinationRef;
use millrace_model::{GroupId, Name, Outcome, Refusal, Tables, TopicConfig, TopicId, limit, row};

use super::place::place;
use super::{Changed, Changing, check, within};
use crate::keys;

impl<T: Tables> Changing<'_, T> {
    pub(super) fn put_topic(
        &mut self,
        name: Name,
        config: TopicConfig,
        among: &[GroupId],
        expect: Expect,
    ) -> Changed {
        let before = self.topology.topics.get(&name).cloned();
        let present = before.as_ref().map(|route| &route.topic);
        check(expect, present.map(|topic| topic.topic.version))?;
        if let Some(topic) = present
            && topic.topic.config == config
        {
            let topic = topic.clone();
            return Ok(Outcome::Topic {
                topic,
                created: false,
            });
        }
        let (id, group) = match present {
            Some(topic) => (topic.id, topic.group),
            None => {
                let group = place(self.topology, &name, among).unwrap_or(GroupId::DATA);
                (self.new_topic()?, group)
            }
        };
        let topic = Arc::new(Topic {
            id,
            group,
            name: name.clone(),
            topic: self.versioned(present.map(|topic| &topic.topic), config),
        });
        let key = keys::numbered(keys::TOPIC, id.0);
        self.tables.put(&key, row::encode_json(&*topic));
        let created = before.is_none();
        let subscriptions = before.map_or_else(BTreeMap::new, |route| route.subscriptions.clone());
        let route = Arc::new(Route {
            topic: topic.clone(),
            subscriptions,
        });
        let topology = Arc::make_mut(self.topology);
        topology.topics.insert(name, route);
        if created {
            topology.placement.add_topic(group);
        }
        Ok(Outcome::Topic { topic, created })
    }

    fn new_topic(&mut self) -> Result<TopicId, Refusal> {
        super::limit(
            "topics",
            self.topology.topics.len(),
            limit::CATALOG_ITEMS_MAX,
        )?;
        self.state.topic += 1;
        Ok(TopicId(self.state.topic))
    }

    pub(super) fn delete_topic(&mut self, name: &Name, cascade: bool, expect: Expect) -> Changed {
        let route = self.topology.topics.get(name).cloned();
        let route = route.ok_or_else(|| Refusal::TopicNotFound(name.to_string()))?;
        let topic = &route.topic;
        check(expect, Some(topic.topic.version))?;
        if let Some(reason) = self.topic_use(name, &route, cascade) {
            return Err(Refusal::InUse(reason));
        }
        self.revise();
        for subscription in route.subscriptions.values() {
            let id = subscription.id;
            self.tables.remove(&keys::subscription(topic.id, id));
            self.tell_deleted(topic.group, id);
        }
        self.tables.remove(&keys::numbered(keys::TOPIC, topic.id.0));
        self.tell(topic.group, Change::TopicDeleted { id: topic.id });
        let topology = Arc::make_mut(self.topology);
        topology.topics.remove(name);
        topology.placement.remove_topic(topic.group);
        for subscription in route.subscriptions.values() {
            topology.placement.remove_subscription(subscription.id);
        }
        Ok(Outcome::Deleted)
    }

    /// Why a topic cannot be deleted.
    fn topic_use(&self, name: &Name, route: &Route, cascade: bool) -> Option<String> {
        let user = self.subscriptions().find(|(_, subscription)| {
            let to = &subscription.subscription.config.to;
            to.iter().any(|(_, to)| to == DestinationRef::Topic(name))
        });
        if let Some((topic, subscription)) = user {
            let user = within(topic, &subscription.name);
            return Some(format!(
                "topic {name:?} is used by subscription {user:?}: change or delete that first"
            ));
        }
        let count = route.subscriptions.len();
        (count > 0 && !cascade).then(|| {
            format!("topic {name:?} has {count} subscriptions: delete them, or use cascade=true")
        })
    }

    /// All subscriptions, with the names of their topics.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (&Name, &Arc<Subscription>)> {
        let topics = self.topology.topics.iter();
        topics.flat_map(|(name, route)| {
            let subscriptions = route.subscriptions.values();
            subscriptions.map(move |subscription| (name, subscription))
        })
    }
}
