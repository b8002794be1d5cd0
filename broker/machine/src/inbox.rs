//! What other groups have accepted for this one is taken in, exactly once.
//!
//! Each source numbers what it carries; the last number taken in is a row here. Whoever carries the same twice, because
//! an answer was lost or the leader changed, changes nothing the second time.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::command::{Carried, CarriedTo, Deliver, Park};
use millrace_model::{
    Fault, GroupId, Outcome, PayloadRef, QueueId, Refusal, SubscriptionId, Tables, Timestamp, row,
};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::machine::Machine;
use crate::publish::place;
use crate::queue::Arrival;
use crate::scan::{damaged, each_row};

/// How far one source was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inbox {
    /// The last sequence of the source's outbox that was taken in.
    last: u64,
    /// How many of them had no place any more: their queue or subscription was deleted.
    dropped: u64,
}

/// How far each source was taken in.
///
/// Invariants: between two batches the rows are as the list is; `last` never goes back.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    boxes: BTreeMap<GroupId, Inbox>,
    touched: BTreeSet<GroupId>,
}

impl Inboxes {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        Ok(Self {
            boxes: read(tables)?,
            touched: BTreeSet::new(),
        })
    }

    /// Whether nothing ever came from another group.
    pub(crate) fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// The inbox for a source, to be changed.
    pub(crate) fn touch(&mut self, source: GroupId) -> &mut Inbox {
        self.touched.insert(source);
        self.boxes.entry(source).or_default()
    }

    /// Ends a batch: writes what it touched.
    pub(crate) fn finish<T: Tables>(&mut self, tables: &mut T) {
        for source in std::mem::take(&mut self.touched) {
            let key = keys::numbered(keys::INBOX, source.0);
            tables.put(&key, row::encode(&self.boxes[&source]));
        }
    }

    /// What does not hold of the rows.
    pub(crate) fn audit<T: Tables>(
        &self,
        tables: &T,
        own: GroupId,
        violations: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let rows = read(tables)?;
        if rows != self.boxes {
            violations.push(format!("inboxes are {:?}, their rows {rows:?}", self.boxes));
        }
        if self.boxes.contains_key(&own) {
            violations.push("the group has an inbox for itself".to_owned());
        }
        if self.boxes.values().any(|inbox| inbox.dropped > inbox.last) {
            violations.push(format!("more was dropped than taken in: {:?}", self.boxes));
        }
        Ok(())
    }
}

fn read<T: Tables>(tables: &T) -> Result<BTreeMap<GroupId, Inbox>, Fault> {
    let mut boxes = BTreeMap::new();
    let (from, until) = keys::all(keys::INBOX);
    each_row(tables, &from, &until, |key, value| {
        let source = keys::number(key).ok_or_else(|| damaged("an inbox"))?;
        boxes.insert(GroupId(source), row::decode("an inbox", value)?);
        Ok(())
    })?;
    Ok(boxes)
}

impl<T: Tables> Machine<T> {
    /// Takes in what another group accepted. What it has already is left out; behind a gap nothing is taken in, nor behind
    /// what is sent on by the group that hands a queue over, before the queue has begun here.
    pub(crate) fn take_in(
        &mut self,
        deliver: Deliver,
        places: &[PayloadRef],
    ) -> Result<Outcome, Fault> {
        if deliver.revision > self.state.revision {
            return Ok(Outcome::Refused(Refusal::StalePlan(self.state.revision)));
        }
        let last = self.inboxes.touch(deliver.source).last;
        if deliver.first > last + 1 {
            return Ok(Outcome::Carried(last));
        }
        for (sequence, carried) in (deliver.first..).zip(deliver.items) {
            let payload = place(places, carried.payload)?;
            if sequence <= self.inboxes.touch(deliver.source).last {
                continue;
            }
            if self.must_wait(deliver.source, &carried.to) {
                break;
            }
            let has_place = self.take_in_one(carried, payload)?;
            let inbox = self.inboxes.touch(deliver.source);
            inbox.last = sequence;
            inbox.dropped += u64::from(!has_place);
        }
        let last = self.inboxes.touch(deliver.source).last;
        Ok(Outcome::Carried(last))
    }

    /// Whether something must wait until its queue has begun here: then its place in the queue is known.
    fn must_wait(&self, source: GroupId, to: &CarriedTo) -> bool {
        match to {
            CarriedTo::Queue { queue, .. } => self.moves.awaited_from(*queue) == Some(source),
            CarriedTo::Parked { .. } => false,
        }
    }

    /// Where something is sent on to: after a queue that was here, or to the group that hands a queue over, which sends it
    /// back in time.
    fn sent_on_to(&self, queue: QueueId) -> Option<GroupId> {
        let onward = self.moves.onward(queue);
        onward.or_else(|| self.moves.awaited_from(queue))
    }

    /// Whether it had a place to go. A full queue or list takes it: it was acknowledged.
    fn take_in_one(&mut self, carried: Carried, payload: PayloadRef) -> Result<bool, Fault> {
        // The clock of the other leader may be ahead.
        let at = carried.accepted_at.min(self.state.at);
        let has_place = match carried.to {
            CarriedTo::Queue { queue, delay_ms } => match self.queues.touch(queue) {
                Some(queue) => {
                    let arrival = Arrival {
                        payload,
                        delay_ms,
                        source: None,
                        accepted_at: Some(at),
                    };
                    queue.append(&mut self.tables, self.state.at, arrival);
                    true
                }
                None => match self.sent_on_to(queue) {
                    Some(group) => {
                        let place = CarriedTo::Queue { queue, delay_ms };
                        self.send_on(group, payload, at, place);
                        true
                    }
                    None => false,
                },
            },
            CarriedTo::Parked {
                subscription,
                code,
                detail,
                plugin,
            } => {
                let park = Park {
                    subscription,
                    payload: carried.payload,
                    code,
                    detail,
                    plugin,
                };
                self.park_carried(at, &park, payload)?
            }
        };
        if has_place {
            self.tables.retain(payload, 1);
        }
        Ok(has_place)
    }

    fn park_carried(
        &mut self,
        at: Timestamp,
        park: &Park,
        payload: PayloadRef,
    ) -> Result<bool, Fault> {
        let gone = keys::numbered(keys::GONE, park.subscription.0);
        if self.tables.get(&gone)?.is_some() {
            return Ok(false);
        }
        self.parked.park(&mut self.tables, at, park, payload);
        Ok(true)
    }

    /// Notes that a subscription is gone for good: what is parked for it and still under way goes when it comes.
    pub(crate) fn subscription_gone(&mut self, id: SubscriptionId) {
        let key = keys::numbered(keys::GONE, id.0);
        self.tables.put(&key, Vec::new());
    }

    /// How much was carried here from each other group and found no place any more.
    pub fn dropped(&self) -> impl Iterator<Item = (GroupId, u64)> {
        let boxes = self.inboxes.boxes.iter();
        boxes.map(|(source, inbox)| (*source, inbox.dropped))
    }
}
