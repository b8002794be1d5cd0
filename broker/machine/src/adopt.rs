//! A data group learns what changed in the catalog.

use millrace_model::command::{Adopt, Change};
use millrace_model::{Outcome, QueueId, Tables};

use crate::keys;
use crate::machine::Machine;
use crate::queue::{Queue, Settings};

impl<T: Tables> Machine<T> {
    /// Takes over all changes up to a revision. An older one changes nothing.
    pub(crate) fn adopt(&mut self, adopt: Adopt) -> Outcome {
        if adopt.revision > self.state.revision {
            for change in adopt.changes {
                self.change(change);
            }
            self.state.revision = adopt.revision;
        }
        Outcome::Adopted(self.state.revision)
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::SubscriptionGone { id } => self.subscription_gone(id),
            Change::Queue {
                id,
                name,
                config,
                dead_letter,
            } => self.set_queue(
                id,
                &Settings {
                    name,
                    config,
                    dead_letter,
                },
            ),
            Change::QueueDeleted { id } => self.drop_queue(id),
            Change::TopicDeleted { id } => self.topics.remove(&mut self.tables, id),
            Change::SubscriptionDeleted { id } => {
                if let Some(dead) = self.parked.delete(&mut self.tables, id) {
                    self.sweeps.parked(&mut self.tables, id, dead);
                }
            }
        }
    }

    fn set_queue(&mut self, id: QueueId, settings: &Settings) {
        let key = keys::numbered(keys::QUEUE_CONFIG, id.0);
        self.tables.put(&key, settings.encode());
        match self.queues.touch(id) {
            Some(queue) => queue.configure(settings.into()),
            None => self.queues.insert(id, Queue::new(id, settings.into())),
        }
    }

    fn drop_queue(&mut self, id: QueueId) {
        let Some(mut queue) = self.queues.remove(id) else {
            return;
        };
        let (_, dead) = queue.purge();
        self.sweeps.entries(&mut self.tables, id, dead);
        for tag in [keys::QUEUE_CONFIG, keys::QUEUE] {
            self.tables.remove(&keys::numbered(tag, id.0));
        }
    }
}
