//! The machine: rows in, batches in, outcomes out.

use std::sync::Arc;

use millrace_model::command::Elsewhere;
use millrace_model::{
    Batch, Command, Fault, GroupId, Item, Outcome, PayloadRef, QueueId, Revision, Tables, Topology,
};

use crate::catalog::Catalog;
use crate::deduplication::Deduplications;
use crate::inbox::Inboxes;
use crate::moves::Moves;
use crate::outbox::Outboxes;
use crate::parked::ParkedLists;
use crate::queue::Queue;
use crate::queues::Queues;
use crate::state::State;
use crate::sweep::Sweeps;
use crate::topics::Topics;

/// The state machine of one group.
///
/// Invariants:
/// - The time of the group never goes back: a batch with an earlier time is applied at the time of the last.
/// - Between two batches the rows hold everything: a machine opened from them goes on in the same way.
/// - A command is refused as a whole or event by event; what is refused changes no row but cursors that only
///   save work.
/// - Every live entry, every parked event and every event for another group holds exactly one reference to its payload,
///   and so does every dead row that waits to be swept.
#[derive(Debug)]
pub struct Machine<T: Tables> {
    pub(crate) group: GroupId,
    pub(crate) tables: T,
    pub(crate) state: State,
    pub(crate) catalog: Catalog,
    pub(crate) queues: Queues,
    pub(crate) topics: Topics,
    pub(crate) parked: ParkedLists,
    pub(crate) deduplications: Deduplications,
    pub(crate) sweeps: Sweeps,
    pub(crate) outboxes: Outboxes,
    pub(crate) inboxes: Inboxes,
    pub(crate) moves: Moves,
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One outcome a command, in order.
    pub outcomes: Vec<Outcome>,
    /// Queues whose number of ready entries may have changed, with that number; `None` when deleted.
    pub touched: Vec<(QueueId, Option<u64>)>,
    /// Whether the catalog changed (group 0).
    pub topology_changed: bool,
}

impl<T: Tables> Machine<T> {
    /// Opens a machine on its rows; empty tables are a new group. Reads cursors, configuration and what was
    /// received or delayed, but never the entries of a backlog.
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read or is damaged.
    pub fn open(group: GroupId, tables: T) -> Result<Self, Fault> {
        let state = State::open(&tables)?;
        let moves = Moves::open(&tables)?;
        Ok(Self {
            group,
            catalog: Catalog::open(&tables, state.revision)?,
            queues: Queues::open(&tables, &moves)?,
            topics: Topics::open(&tables)?,
            parked: ParkedLists::open(&tables)?,
            deduplications: Deduplications::open(&tables, &state)?,
            sweeps: Sweeps::open(&tables)?,
            outboxes: Outboxes::open(&tables)?,
            inboxes: Inboxes::open(&tables)?,
            moves,
            state,
            tables,
        })
    }

    /// Applies the body of the log entry `index`, as [`Batch::encode`] made it. All its writes are made when
    /// this returns; making them one with the position is the tables' business.
    ///
    /// # Errors
    /// A [`Fault`] when the body or a row is damaged. The tables must not be kept then.
    pub fn apply(&mut self, index: u64, body: &[u8]) -> Result<Applied, Fault> {
        let (batch, start) = Batch::decode(body)?;
        let before = self.state.clone();
        self.state.at = self.state.at.max(batch.at);
        let places: Vec<_> = batch.payloads(index, start).collect();
        let mut places = &places[..];
        let mut outcomes = Vec::with_capacity(batch.items.len());
        for Item {
            command,
            payload_lens,
        } in batch.items
        {
            let (own, others) = places.split_at(payload_lens.len());
            outcomes.push(self.run(command, own, body)?);
            places = others;
        }
        let touched = self.finish(&before);
        Ok(Applied {
            outcomes,
            touched,
            topology_changed: self.group == GroupId::META && self.state.revision != before.revision,
        })
    }

    fn run(
        &mut self,
        command: Command,
        places: &[PayloadRef],
        body: &[u8],
    ) -> Result<Outcome, Fault> {
        Ok(match command {
            Command::Catalog(command) => return self.run_catalog(command, places, body),
            Command::Adopt(adopt) => self.adopt(adopt),
            Command::Publish(publish) => {
                return self.publish(&publish, &Elsewhere::default(), places);
            }
            Command::Send(send) => return self.send(&send, places),
            Command::Receive(receive) => return self.receive(&receive),
            Command::Ack(ack) => self.ack(&ack),
            Command::Nack(nack) => self.nack(&nack),
            Command::Extend(extend) => self.extend(&extend),
            Command::Purge(queue) => self.purge(queue),
            Command::Redrive(redrive) => return self.redrive(&redrive),
            Command::Unpark(unpark) => return self.unpark(&unpark, &Elsewhere::default(), places),
            Command::Tick => return self.tick(),
            Command::PublishAcross(across) => {
                return self.publish(&across.publish, &across.elsewhere, places);
            }
            Command::UnparkAcross(across) => {
                return self.unpark(&across.unpark, &across.elsewhere, places);
            }
            Command::RedriveAcross(across) => return self.redrive_across(&across),
            Command::Deliver(deliver) => return self.take_in(deliver, places),
            Command::Delivered(delivered) => return self.delivered(&delivered),
            Command::TakeOver(take_over) => return self.take_over(take_over, places),
        })
    }

    fn finish(&mut self, before: &State) -> Vec<(QueueId, Option<u64>)> {
        assert!(
            self.state.at >= before.at && self.state.revision >= before.revision,
            "time and revision of group {} do not go back",
            self.group
        );
        self.topics.finish(&mut self.tables);
        self.parked.finish(&mut self.tables);
        self.outboxes.finish(&mut self.tables);
        self.inboxes.finish(&mut self.tables);
        if self.state != *before {
            self.state.write(&mut self.tables);
        }
        self.queues.finish(&mut self.tables)
    }

    /// Reads everything from the rows again, after their keeper replaced them by those of a snapshot.
    ///
    /// # Errors
    /// As [`Machine::open`]; the machine must not be used then.
    pub fn reload(&mut self) -> Result<(), Fault> {
        self.state = State::open(&self.tables)?;
        self.catalog = Catalog::open(&self.tables, self.state.revision)?;
        self.moves = Moves::open(&self.tables)?;
        self.queues = Queues::open(&self.tables, &self.moves)?;
        self.topics = Topics::open(&self.tables)?;
        self.parked = ParkedLists::open(&self.tables)?;
        self.deduplications = Deduplications::open(&self.tables, &self.state)?;
        self.sweeps = Sweeps::open(&self.tables)?;
        self.outboxes = Outboxes::open(&self.tables)?;
        self.inboxes = Inboxes::open(&self.tables)?;
        Ok(())
    }

    /// How many entries of a queue are ready; `None` when there is no such queue.
    pub fn ready(&self, queue: QueueId) -> Option<u64> {
        self.queues.get(queue).map(Queue::ready)
    }

    /// How many entries of each queue are ready.
    pub fn queues_ready(&self) -> Vec<(QueueId, u64)> {
        let queues = self.queues.iter();
        queues.map(|(id, queue)| (id, queue.ready())).collect()
    }

    /// The catalog (group 0; empty in a data group).
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        self.catalog.topology()
    }

    /// The revision: of the catalog in group 0, the adopted one in a data group.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    /// The group's time: that of the last entry, or of an earlier one that was later.
    #[must_use]
    pub fn at(&self) -> millrace_model::Timestamp {
        self.state.at
    }

    /// The rows.
    #[must_use]
    pub fn tables(&self) -> &T {
        &self.tables
    }

    /// The rows, for what their keeper does to them: to make a batch last, or to close them.
    pub fn tables_mut(&mut self) -> &mut T {
        &mut self.tables
    }
}
