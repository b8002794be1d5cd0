//! A data group learns what changed in the catalog.

use millrace_model::command::{Adopt, Change};
use millrace_model::{Outcome, QueueId, Tables};

use crate::keys;
use crate::machine::Machine;
use crate::queue::{Queue, Settings};

impl<T: Tables> Machine<T> {
    /// Takes over all changes up to a revision. An older one changes nothing, nor do changes of which some are known: whoever
    /// proposed them asks what the group is now.
    pub(crate) fn adopt(&mut self, adopt: Adopt) -> Outcome {
        let have = self.state.revision;
        let follows = adopt.after.is_none_or(|after| after == have);
        if adopt.revision > have && follows {
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
            } => {
                let settings = Settings {
                    name,
                    config,
                    dead_letter,
                };
                self.set_queue(id, &settings);
            }
            Change::QueueAwaited {
                id,
                name,
                config,
                dead_letter,
                from,
                revision,
            } => {
                let settings = Settings {
                    name,
                    config,
                    dead_letter,
                };
                self.queue_awaited(id, &settings, from, revision);
            }
            Change::QueueLeaves { id, to, revision } => self.queue_leaves(id, to, revision),
            Change::QueueStays { id } => self.queue_stays(id),
            Change::QueueLeft { id, revision } => self.queue_left(id, revision),
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
            // It begins with what its row says then.
            None if self.moves.is_elsewhere(id) => {}
            None => self.queues.insert(id, Queue::new(id, settings.into())),
        }
    }

    fn drop_queue(&mut self, id: QueueId) {
        match self.queues.remove(id) {
            Some(queue) => self.sweep_queue(id, queue),
            None => self.forget_move(id),
        }
    }
}
