//! A queue that was begun here and whose entries are still coming from the group that it left.

use millrace_model::command::{Leaving, Moved};
use millrace_model::outcome::Taken;
use millrace_model::{PayloadRef, Revision, Tables, Timestamp, row as form};
use serde::{Deserialize, Serialize};

use super::Queue;
use super::entry::{Entry, Source, Term};
use super::row::QueueRow;
use super::rules::Rules;
use crate::keys;

/// What is still to come of a queue.
///
/// Invariants: `next <= until`, and nothing of what came with the move has a sequence from `next` to before `until`; the
/// counts are 0 when they are equal. Entries from `until` on joined the queue here: they are not received before all others
/// have come, so that the order stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coming {
    /// The revision that began the move.
    revision: Revision,
    /// All entries below have come.
    pub(super) next: u64,
    /// Where the entries end that come.
    pub(super) until: u64,
    /// How many of those to come are ready.
    pub(super) ready: u64,
    /// How many are leased.
    pub(super) leased: u64,
    /// How many are delayed.
    pub(super) delayed: u64,
    /// The sum of their sizes, in bytes.
    pub(super) bytes: u64,
    /// The last key of the remembered requests that came.
    keys_after: Option<[u8; 16]>,
}

/// Entries that come at once.
pub(crate) struct Chunk<'a> {
    /// It is all that there is from this sequence …
    pub(crate) from: u64,
    /// … to before this one.
    pub(crate) until: u64,
    pub(crate) entries: &'a [Moved],
    /// Their events, stored here.
    pub(crate) places: &'a [PayloadRef],
}

impl Coming {
    /// How many entries are to come.
    pub(super) fn entries(&self) -> u64 {
        self.ready + self.leased + self.delayed
    }

    /// Whether it is as the invariants say, in a queue whose next entry is `tail`.
    pub(super) fn agrees(&self, tail: u64) -> bool {
        let is_empty = self.next == self.until;
        self.next <= self.until && self.until <= tail && is_empty == (self.entries() == 0)
    }

    fn discount(&mut self, entry: &Entry) {
        let count = match (entry.lease, entry.due) {
            (Some(_), _) => &mut self.leased,
            (None, Some(_)) => &mut self.delayed,
            (None, None) => &mut self.ready,
        };
        assert!(
            *count > 0 && self.bytes >= entry.bytes(),
            "what was announced comes"
        );
        *count -= 1;
        self.bytes -= entry.bytes();
    }

    /// Nothing of it comes any more.
    fn drop_rest(&mut self) {
        self.next = self.until;
        (self.ready, self.leased, self.delayed, self.bytes) = (0, 0, 0, 0);
    }
}

impl Queue {
    /// A queue as it stood when it left another group, with all of its entries still to come.
    pub(crate) fn begin(leaving: &Leaving, rules: Rules, revision: Revision) -> Self {
        let row = QueueRow {
            head: leaving.head,
            fresh: leaving.fresh,
            tail: leaving.tail,
            ..QueueRow::default()
        };
        let mut queue = Self::with_row(leaving.queue, rules, row);
        queue.coming = Some(Coming {
            revision,
            next: leaving.head,
            until: leaving.tail,
            ready: leaving.ready,
            leased: leaving.leased,
            delayed: leaving.delayed,
            bytes: leaving.bytes,
            keys_after: None,
        });
        queue.skip_gap();
        queue
    }

    /// Where no entry is to come, nothing is waited for.
    fn skip_gap(&mut self) {
        if let Some(coming) = &mut self.coming
            && coming.entries() == 0
        {
            coming.drop_rest();
        }
    }

    /// Where it stands: what it would be handed over with.
    pub(crate) fn cursors(&self) -> Leaving {
        Leaving {
            queue: self.id,
            head: self.row.head,
            fresh: self.row.fresh,
            tail: self.row.tail,
            ready: self.ready(),
            leased: self.leases.len(),
            delayed: self.delays.len(),
            bytes: self.row.bytes,
        }
    }

    pub(crate) fn coming(&self) -> Option<&Coming> {
        self.coming.as_ref()
    }

    /// How far it is taken over by the move that `revision` began.
    pub(crate) fn taken(&self, revision: Revision) -> Taken {
        match &self.coming {
            Some(coming) if coming.revision == revision && coming.next < coming.until => {
                Taken::Entries { next: coming.next }
            }
            Some(coming) if coming.revision == revision => Taken::Keys {
                after: coming.keys_after,
            },
            _ => Taken::Done,
        }
    }

    /// Whether entries are still to come below `until`.
    pub(super) fn gap(&self) -> Option<&Coming> {
        self.coming
            .as_ref()
            .filter(|coming| coming.next < coming.until)
    }

    /// Where entries end that may be received.
    pub(super) fn reach(&self) -> u64 {
        self.gap().map_or(self.row.tail, |coming| coming.next)
    }

    /// Ready entries that wait behind those that have not come.
    pub(super) fn held(&self) -> u64 {
        self.gap().map_or(0, |coming| {
            self.row.tail - coming.until - self.delayed_behind
        })
    }

    /// How many entries are still to come.
    pub(crate) fn missing(&self) -> u64 {
        self.coming.as_ref().map_or(0, Coming::entries)
    }

    /// Whether an entry has not come yet.
    pub(super) fn is_missing(&self, sequence: u64) -> bool {
        self.gap()
            .is_some_and(|coming| (coming.next..coming.until).contains(&sequence))
    }

    /// Whether an entry joined behind those that come.
    pub(super) fn is_behind(&self, sequence: u64) -> bool {
        self.gap().is_some_and(|coming| sequence >= coming.until)
    }

    /// Takes in entries that come; those that came before are left out, and behind a gap there are none.
    pub(crate) fn take_over<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        chunk: &Chunk<'_>,
    ) {
        let Some((next, end)) = self.gap().map(|coming| (coming.next, coming.until)) else {
            return;
        };
        if chunk.from > next {
            return;
        }
        assert!(chunk.until <= end, "what comes was there when it began");
        for (moved, payload) in chunk.entries.iter().zip(chunk.places) {
            if moved.sequence >= next {
                self.take_one(tables, at, moved, *payload);
            }
        }
        if let Some(coming) = &mut self.coming {
            coming.next = next.max(chunk.until);
        }
        self.skip_gap();
        if self.gap().is_none() {
            assert_eq!(self.missing(), 0, "all that was announced has come");
            self.delayed_behind = 0;
        }
    }

    fn take_one<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        moved: &Moved,
        payload: PayloadRef,
    ) {
        let sequence = moved.sequence;
        let source = moved.dead_letter_source.clone();
        let mut entry = Entry::new(
            payload,
            moved.enqueued_at,
            source.map(|(queue, name)| Box::new(Source { queue, name })),
        );
        entry.receive_count = moved.receive_count;
        entry.first_received_at = moved.first_received_at;
        entry.lease = moved
            .lease
            .map(|(nonce, visible_at)| Term { nonce, visible_at });
        if let Some(due) = moved.due {
            self.delay(tables, sequence, &mut entry, due);
            // It may have ended while it was on its way.
            self.row.delayed_from = self.row.delayed_from.min(due);
        }
        tables.insert(&keys::entry(self.id, sequence), entry.encode());
        tables.retain(payload, 1);
        if self.row.entries == 0 || entry.enqueued_at < self.row.oldest {
            // The clock of the other group may be ahead.
            self.row.oldest = entry.enqueued_at.min(at);
        }
        self.row.entries += 1;
        self.row.bytes += entry.bytes();
        if let Some(coming) = &mut self.coming {
            coming.discount(&entry);
        }
        self.list_moved(sequence, entry);
    }

    /// Lists an entry that came by its state.
    fn list_moved(&mut self, sequence: u64, entry: Entry) {
        let is_ready = entry.lease.is_none() && entry.due.is_none();
        if entry.lease.is_some() {
            self.leases.insert(sequence, entry);
        } else if sequence >= self.row.fresh {
            self.window.appended(sequence, &entry, is_ready);
        } else if is_ready {
            self.returned.insert(sequence);
        }
    }

    /// Remembered requests came up to a key; all of them, if they are the last.
    pub(crate) fn keys_came<T: Tables>(
        &mut self,
        tables: &mut T,
        last: Option<[u8; 16]>,
        is_last: bool,
    ) {
        assert!(self.gap().is_none(), "keys come behind the entries");
        if is_last {
            self.coming = None;
            tables.remove(&keys::numbered(keys::COMING, self.id.0));
        } else if let Some(coming) = &mut self.coming {
            coming.keys_after = last.or(coming.keys_after);
        }
    }

    /// Reads what is to come.
    pub(super) fn open_coming<T: Tables>(
        &mut self,
        tables: &T,
    ) -> Result<(), millrace_model::Fault> {
        let value = tables.get(&keys::numbered(keys::COMING, self.id.0))?;
        let coming = value.map(|value| form::decode("a queue that comes", &value));
        self.coming = coming.transpose()?;
        let behind = self.gap().map(|coming| coming.until);
        self.delayed_behind = behind.map_or(0, |from| self.delays.sequences(from).count() as u64);
        Ok(())
    }

    /// Writes what is to come: with the cursors.
    pub(super) fn write_coming<T: Tables>(&self, tables: &mut T) {
        if let Some(coming) = &self.coming {
            let key = keys::numbered(keys::COMING, self.id.0);
            tables.put(&key, form::encode(coming));
        }
    }

    /// What was to come is dropped with all that is here: how many entries that are.
    pub(super) fn purge_coming(&mut self) -> u64 {
        let missing = self.missing();
        if let Some(coming) = &mut self.coming {
            coming.drop_rest();
        }
        self.delayed_behind = 0;
        missing
    }

    /// The queue leaves: it is written as it is, and never changes again.
    pub(crate) fn freeze<T: Tables>(&mut self, tables: &mut T) {
        assert!(
            self.coming.is_none(),
            "queue {} leaves when it is whole",
            self.id
        );
        self.write(tables);
        self.touched = false;
        self.listed = None;
    }

    /// The sequence of the next entry.
    pub(crate) fn tail(&self) -> u64 {
        self.row.tail
    }

    /// When the delay of an entry ends, if it is delayed.
    pub(crate) fn due_of(&self, sequence: u64) -> Option<Timestamp> {
        self.delays.get(sequence)
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> u64 {
        self.row.entries
    }
}
