//! Queues that move between groups.
//!
//! | | the group that the queue leaves | the group that it moves to |
//! |---|---|---|
//! | a revision begins the move | a queue like any other | *awaited*: the configuration is known, nothing is served yet |
//! | a revision lets it leave | *leaves*: the entry that adopts it freezes the queue; nothing of it is served here | awaited |
//! | [`Part::Begin`] | | the queue lives here, with entries that have not *come* yet; it serves everything |
//! | [`Part::Entries`], [`Part::Keys`] | frozen rows are read in order | they are taken in once, behind a cursor |
//! | a revision ends the move | *left*: the rows go | a queue like any other |
//!
//! The frozen rows are the outbox of the move: they stand still, so a part can be read and taken over as often as it
//! likes, and one cursor says how far it is. Whatever still comes to the old group for the queue is *sent on* through its
//! outbox. It comes behind the beginning: while the queue is awaited, its source is not taken in past what is sent on.

mod audit;
mod hand_over;
mod take_over;

use std::collections::BTreeMap;

use millrace_model::{Fault, GroupId, Outcome, PayloadRef, QueueId, Refusal, Revision, Tables};
use millrace_model::{Timestamp, command::CarriedTo, row};
use serde::{Deserialize, Serialize};

pub use hand_over::{Departure, Portion};

use crate::keys;
use crate::machine::Machine;
use crate::outbox::Outgoing;
use crate::queue::{Queue, Settings};
use crate::scan::{damaged, each_row};

/// The row of a queue that was here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Onward {
    /// Where what still comes is sent on to.
    to: GroupId,
    /// The revision that began the move.
    revision: Revision,
    /// Whether its entries are still here, to be handed over.
    leaves: bool,
}

/// A queue that was here.
#[derive(Debug)]
struct Away {
    onward: Onward,
    /// The frozen queue, while it leaves. Nothing changes it.
    frozen: Option<Queue>,
}

/// The row of a queue that will be handed over to this group. Its configuration has a row like that of any queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Awaited {
    from: GroupId,
    revision: Revision,
}

/// Queues that were here, and queues that are awaited.
///
/// Invariants:
/// - A queue is in one place: among the queues of the group, frozen, or awaited. One that was here and went on may be
///   awaited again.
/// - Between two batches the rows are as the lists are; those of a queue that leaves never change.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    away: BTreeMap<QueueId, Away>,
    awaited: BTreeMap<QueueId, Awaited>,
}

impl Moves {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        let mut moves = Self::default();
        let (from, until) = keys::all(keys::AWAY);
        each_row(tables, &from, &until, |key, value| {
            let id = QueueId(keys::number(key).ok_or_else(|| damaged("a queue that moves"))?);
            let onward: Onward = row::decode("a queue that moves", value)?;
            let frozen = onward.leaves.then(|| open_frozen(tables, id)).transpose()?;
            moves.away.insert(id, Away { onward, frozen });
            Ok(())
        })?;
        let (from, until) = keys::all(keys::AWAITED);
        each_row(tables, &from, &until, |key, value| {
            let id = QueueId(keys::number(key).ok_or_else(|| damaged("an awaited queue"))?);
            let awaited = row::decode("an awaited queue", value)?;
            moves.awaited.insert(id, awaited);
            Ok(())
        })?;
        Ok(moves)
    }

    /// Whether the queue has a configuration here and does not live here.
    pub(crate) fn is_elsewhere(&self, id: QueueId) -> bool {
        self.frozen(id).is_some() || self.awaited.contains_key(&id)
    }

    /// The queue, if it leaves.
    pub(crate) fn frozen(&self, id: QueueId) -> Option<&Queue> {
        self.away.get(&id)?.frozen.as_ref()
    }

    /// Where deliveries for a queue are sent on to, if it was here.
    pub(crate) fn onward(&self, id: QueueId) -> Option<GroupId> {
        self.away.get(&id).map(|away| away.onward.to)
    }

    /// Where a queue comes from that is awaited.
    pub(crate) fn awaited_from(&self, id: QueueId) -> Option<GroupId> {
        self.awaited.get(&id).map(|awaited| awaited.from)
    }

    fn put<T: Tables>(&mut self, tables: &mut T, id: QueueId, away: Away) {
        let key = keys::numbered(keys::AWAY, id.0);
        tables.put(&key, row::encode(&away.onward));
        self.away.insert(id, away);
    }

    fn take<T: Tables>(&mut self, tables: &mut T, id: QueueId) -> Option<Away> {
        tables.remove(&keys::numbered(keys::AWAY, id.0));
        self.away.remove(&id)
    }

    /// The queue is awaited no more.
    fn arrive<T: Tables>(&mut self, tables: &mut T, id: QueueId) -> Option<Awaited> {
        tables.remove(&keys::numbered(keys::AWAITED, id.0));
        self.awaited.remove(&id)
    }
}

fn open_frozen<T: Tables>(tables: &T, id: QueueId) -> Result<Queue, Fault> {
    let settings = read_settings(tables, id)?;
    Queue::open(tables, id, (&settings).into())
}

/// The configuration of a queue.
fn read_settings<T: Tables>(tables: &T, id: QueueId) -> Result<Settings, Fault> {
    let value = tables.get(&keys::numbered(keys::QUEUE_CONFIG, id.0))?;
    Settings::decode(&value.ok_or_else(|| damaged("a queue's configuration"))?)
}

impl<T: Tables> Machine<T> {
    /// A queue leaves: from here on it is frozen.
    pub(crate) fn queue_leaves(&mut self, id: QueueId, to: GroupId, revision: Revision) {
        let Some(mut queue) = self.queues.remove(id) else {
            return;
        };
        queue.freeze(&mut self.tables);
        let onward = Onward {
            to,
            revision,
            leaves: true,
        };
        let frozen = Some(queue);
        self.moves
            .put(&mut self.tables, id, Away { onward, frozen });
    }

    /// A queue will be handed over to this group, where it may have been before.
    pub(crate) fn queue_awaited(
        &mut self,
        id: QueueId,
        settings: &Settings,
        from: GroupId,
        revision: Revision,
    ) {
        assert!(
            !self.moves.is_elsewhere(id) && self.queues.get(id).is_none(),
            "queue {id} is in one place"
        );
        let key = keys::numbered(keys::QUEUE_CONFIG, id.0);
        self.tables.put(&key, settings.encode());
        let awaited = Awaited { from, revision };
        let key = keys::numbered(keys::AWAITED, id.0);
        self.tables.put(&key, row::encode(&awaited));
        self.moves.awaited.insert(id, awaited);
    }

    /// A queue that was awaited stays where it is.
    pub(crate) fn queue_stays(&mut self, id: QueueId) {
        if self.moves.arrive(&mut self.tables, id).is_some() {
            self.tables
                .remove(&keys::numbered(keys::QUEUE_CONFIG, id.0));
        }
    }

    /// A queue was handed over: its rows go, and what still comes is sent on.
    pub(crate) fn queue_left(&mut self, id: QueueId, revision: Revision) {
        let Some(mut away) = self.moves.take(&mut self.tables, id) else {
            return;
        };
        if away.onward.revision == revision
            && let Some(frozen) = away.frozen.take()
        {
            self.sweep_queue(id, frozen);
            away.onward.leaves = false;
        }
        self.moves.put(&mut self.tables, id, away);
    }

    /// A queue is deleted that does not live here.
    pub(crate) fn forget_move(&mut self, id: QueueId) {
        let away = self.moves.take(&mut self.tables, id);
        if let Some(frozen) = away.and_then(|away| away.frozen) {
            self.sweep_queue(id, frozen);
        }
        self.queue_stays(id);
    }

    /// Lets all rows of a queue be swept.
    pub(crate) fn sweep_queue(&mut self, id: QueueId, mut queue: Queue) {
        let (_, dead) = queue.purge();
        self.sweeps.entries(&mut self.tables, id, dead);
        for tag in [keys::QUEUE_CONFIG, keys::QUEUE, keys::COMING] {
            self.tables.remove(&keys::numbered(tag, id.0));
        }
    }

    /// The refusal of a command for a queue that does not live here.
    pub(crate) fn no_queue(&self, id: QueueId) -> Refusal {
        let text = id.to_string();
        if self.moves.onward(id).is_some() || self.moves.awaited_from(id).is_some() {
            Refusal::QueueMoving(text)
        } else {
            Refusal::QueueNotFound(text)
        }
    }

    /// [`Machine::no_queue`], as the outcome of a command.
    pub(crate) fn refuse_queue(&self, id: QueueId) -> Outcome {
        Outcome::Refused(self.no_queue(id))
    }

    /// Sends an event on to the group where its queue is, or comes from. The reference to the payload is the caller's to
    /// count.
    pub(crate) fn send_on(
        &mut self,
        to: GroupId,
        payload: PayloadRef,
        accepted_at: Timestamp,
        place: CarriedTo,
    ) {
        let outgoing = Outgoing {
            payload,
            // There it must be known that the queue is there.
            revision: self.state.revision,
            accepted_at,
            to: place,
        };
        self.outboxes.push(&mut self.tables, to, &outgoing);
    }
}
