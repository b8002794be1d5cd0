//! What this group accepted for others, until they have taken it in.
//!
//! The entry that accepts an event writes a row for each delivery into another group; the leader carries rows over in
//! order ([`crate::Cargo`]) and drops those that were taken in. A row holds a reference, so that the payload stays.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::command::{Carried, CarriedTo, Deliver, Delivered};
use millrace_model::{
    Fault, GroupId, Outcome, PayloadRef, Refusal, Revision, Tables, Timestamp, limit, row,
};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::machine::Machine;
use crate::scan::{damaged, each_row};

/// The row of one delivery or park that another group has to take in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    /// The stored event.
    pub(crate) payload: PayloadRef,
    /// What its plan was made against.
    pub(crate) revision: Revision,
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// Where it goes.
    pub(crate) to: CarriedTo,
}

impl Outgoing {
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Fault> {
        row::decode("an event for another group", value)
    }
}

/// How much waits for one other group.
///
/// Invariants: `first <= next`; the rows have the sequences from `first` to before `next`, without a gap; `bytes` sums
/// the sizes of their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// The sequence of the first row.
    pub first: u64,
    /// The sequence of the next row.
    pub next: u64,
    /// The sum of the sizes of their events, in bytes, each counted once a row.
    pub bytes: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            first: 1,
            next: 1,
            bytes: 0,
        }
    }
}

impl Outbox {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.next - self.first
    }
}

/// The outboxes for all groups that anything was ever accepted for.
///
/// Invariant: between two batches the rows are as the list is, and nothing is touched.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    boxes: BTreeMap<GroupId, Outbox>,
    touched: BTreeSet<GroupId>,
}

impl Outboxes {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        Ok(Self {
            boxes: read(tables)?,
            touched: BTreeSet::new(),
        })
    }

    pub(crate) fn get(&self, to: GroupId) -> Outbox {
        self.boxes.get(&to).copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (GroupId, Outbox)> {
        self.boxes.iter().map(|(to, outbox)| (*to, *outbox))
    }

    /// Whether more may wait for all of `groups`.
    pub(crate) fn room(&self, groups: impl IntoIterator<Item = GroupId>) -> Result<(), Refusal> {
        for group in groups {
            let outbox = self.get(group);
            if outbox.rows() >= limit::OUTBOX_ROWS_MAX || outbox.bytes >= limit::OUTBOX_BYTES_MAX {
                return Err(Refusal::OutboxFull(group));
            }
        }
        Ok(())
    }

    /// Adds a row. The reference to the payload is the caller's to count.
    pub(crate) fn push<T: Tables>(&mut self, tables: &mut T, to: GroupId, outgoing: &Outgoing) {
        let outbox = self.boxes.entry(to).or_default();
        let key = keys::sequenced(keys::OUTGOING, to.0, outbox.next);
        tables.insert(&key, row::encode(outgoing));
        outbox.next += 1;
        outbox.bytes += u64::from(outgoing.payload.len);
        self.touched.insert(to);
    }

    /// Drops rows up to `upto`, and their references.
    fn drop_upto<T: Tables>(
        &mut self,
        tables: &mut T,
        to: GroupId,
        upto: u64,
    ) -> Result<(), Fault> {
        let Some(outbox) = self.boxes.get_mut(&to) else {
            return Ok(());
        };
        let end = upto.saturating_add(1).min(outbox.next);
        let mut rows = Vec::new();
        let from = keys::sequenced(keys::OUTGOING, to.0, outbox.first);
        let until = keys::sequenced(keys::OUTGOING, to.0, end);
        each_row(tables, &from, &until, |key, value| {
            rows.push((key.to_vec(), Outgoing::decode(value)?.payload));
            Ok(())
        })?;
        for (key, payload) in rows {
            tables.remove(&key);
            tables.release(payload, 1);
            outbox.bytes -= u64::from(payload.len);
        }
        outbox.first = outbox.first.max(end);
        self.touched.insert(to);
        Ok(())
    }

    /// Ends a batch: writes what it touched.
    pub(crate) fn finish<T: Tables>(&mut self, tables: &mut T) {
        for to in std::mem::take(&mut self.touched) {
            let key = keys::numbered(keys::OUTBOX, to.0);
            tables.put(&key, row::encode(&self.boxes[&to]));
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
            violations.push(format!(
                "outboxes are {:?}, their rows {rows:?}",
                self.boxes
            ));
        }
        let mut found = BTreeMap::<GroupId, Outbox>::new();
        let (from, until) = keys::all(keys::OUTGOING);
        each_row(tables, &from, &until, |key, value| {
            let row = keys::number(key).zip(keys::sequence(key));
            let (to, sequence) = row.ok_or_else(|| damaged("an event for another group"))?;
            let bytes = u64::from(Outgoing::decode(value)?.payload.len);
            let start = Outbox {
                first: sequence,
                next: sequence,
                bytes: 0,
            };
            let outbox = found.entry(GroupId(to)).or_insert(start);
            if sequence != outbox.next {
                violations.push(format!("the outbox for group {to} has a gap at {sequence}"));
            }
            outbox.next = sequence + 1;
            outbox.bytes += bytes;
            Ok(())
        })?;
        let empty = |(_, outbox): &(&GroupId, &Outbox)| outbox.rows() > 0;
        let listed: BTreeMap<_, _> = self.boxes.iter().filter(empty).collect();
        if !listed.into_iter().eq(&found) {
            violations.push(format!(
                "outboxes are {:?}, they hold {found:?}",
                self.boxes
            ));
        }
        if self.boxes.contains_key(&own) {
            violations.push("the group has an outbox for itself".to_owned());
        }
        Ok(())
    }
}

fn read<T: Tables>(tables: &T) -> Result<BTreeMap<GroupId, Outbox>, Fault> {
    let mut boxes = BTreeMap::new();
    let (from, until) = keys::all(keys::OUTBOX);
    each_row(tables, &from, &until, |key, value| {
        let to = keys::number(key).ok_or_else(|| damaged("an outbox"))?;
        boxes.insert(GroupId(to), row::decode("an outbox", value)?);
        Ok(())
    })?;
    Ok(boxes)
}

/// What is carried to another group at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cargo {
    /// The command for the other group; its payloads are still to be read.
    pub deliver: Deliver,
    /// Where they are stored here.
    pub places: Vec<PayloadRef>,
}

impl Cargo {
    /// The sequence of the last item.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.deliver.first + self.deliver.items.len() as u64 - 1
    }

    fn add(&mut self, outgoing: Outgoing) {
        // Neighbours to the same payload, which is nearly all of a fan-out, carry it once.
        if self.places.last() != Some(&outgoing.payload) {
            self.places.push(outgoing.payload);
        }
        let payload = u32::try_from(self.places.len() - 1).expect("a cargo is bounded");
        self.deliver.revision = self.deliver.revision.max(outgoing.revision);
        self.deliver.items.push(Carried {
            payload,
            accepted_at: outgoing.accepted_at,
            to: outgoing.to,
        });
    }
}

impl<T: Tables> Machine<T> {
    /// How much waits for group `to`.
    #[must_use]
    pub fn outbox(&self, to: GroupId) -> Outbox {
        self.outboxes.get(to)
    }

    /// How much waits for each other group.
    pub fn outboxes(&self) -> impl Iterator<Item = (GroupId, Outbox)> {
        self.outboxes.iter()
    }

    /// What is to be carried to group `to` next, behind the sequence `after`; `None` when nothing waits there. Bounded
    /// by [`limit::CARRY_ROWS_MAX`] and [`limit::CARRY_BYTES_MAX`].
    ///
    /// # Errors
    /// A [`Fault`] when a row cannot be read or is damaged.
    pub fn cargo(&self, to: GroupId, after: u64) -> Result<Option<Cargo>, Fault> {
        let outbox = self.outboxes.get(to);
        let first = outbox.first.max(after.saturating_add(1));
        let from = keys::sequenced(keys::OUTGOING, to.0, first);
        let until = keys::sequenced(keys::OUTGOING, to.0, outbox.next);
        if first >= outbox.next {
            return Ok(None);
        }
        let rows = self.tables.scan(&from, &until, limit::CARRY_ROWS_MAX)?;
        let mut cargo = Cargo {
            deliver: Deliver {
                source: self.group,
                first,
                revision: Revision(0),
                items: Vec::with_capacity(rows.len()),
            },
            places: Vec::new(),
        };
        let mut bytes = 0;
        for (_, value) in &rows {
            let outgoing = Outgoing::decode(value)?;
            let is_new = cargo.places.last() != Some(&outgoing.payload);
            bytes += if is_new {
                outgoing.payload.len as usize
            } else {
                0
            };
            if is_new && bytes > limit::CARRY_BYTES_MAX && !cargo.places.is_empty() {
                break;
            }
            cargo.add(outgoing);
        }
        Ok(Some(cargo))
    }

    /// Drops what another group has taken in.
    pub(crate) fn delivered(&mut self, delivered: &Delivered) -> Result<Outcome, Fault> {
        let (to, upto) = (delivered.to, delivered.upto);
        self.outboxes.drop_upto(&mut self.tables, to, upto)?;
        Ok(Outcome::Carried(self.outboxes.get(to).first - 1))
    }
}
