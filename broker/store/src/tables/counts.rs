//! Live references to log entries, counted for each segment.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::Fault;

use crate::log::SegmentId;

/// What refers to one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// References; exact.
    pub(crate) references: u64,
    /// The lengths of the payloads, added once for each reference: an estimate, from above, of the bytes that live.
    pub(crate) bytes: u64,
}

/// A change of [`Live`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) references: i64,
    pub(crate) bytes: i64,
}

impl Live {
    /// As a row.
    pub(crate) fn encode(self) -> Vec<u8> {
        [self.references.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }

    /// Inverse of [`Live::encode`]. Rows of earlier brokers have no bytes.
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let (references, rest) = row.split_first_chunk()?;
        let bytes = match rest {
            [] => 0,
            rest => u64::from_be_bytes(rest.try_into().ok()?),
        };
        let references = u64::from_be_bytes(*references);
        Some(Self { references, bytes })
    }

    fn changed(self, change: Change) -> Option<Self> {
        Some(Self {
            references: self.references.checked_add_signed(change.references)?,
            bytes: self.bytes.saturating_add_signed(change.bytes),
        })
    }
}

/// Live references of each segment.
///
/// # Invariants
/// 1. A segment is in `counts` exactly if its count is not zero.
/// 2. A segment is in `zeroed` if its count is zero and was not in the state that is synced; never in both.
/// 3. `changed` holds every segment whose row in fjall differs, or will once the overlay in flight is written.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counts: BTreeMap<SegmentId, Live>,
    zeroed: BTreeMap<SegmentId, u64>,
    changed: BTreeSet<SegmentId>,
}

impl Counts {
    /// The counts that were read from synced rows.
    pub(crate) fn restored(counts: BTreeMap<SegmentId, Live>) -> Self {
        Self {
            counts,
            ..Self::default()
        }
    }

    /// Adds `change` to the count of `segment`, in commit number `seq`.
    ///
    /// # Errors
    /// More was released than there was.
    pub(crate) fn change(
        &mut self,
        segment: SegmentId,
        change: Change,
        seq: u64,
    ) -> Result<(), Fault> {
        let before = self.counts.get(&segment).copied().unwrap_or_default();
        let Some(after) = before.changed(change) else {
            let reason = format!(
                "segment {} has {} references, {} were added",
                segment.0, before.references, change.references
            );
            return Err(Fault::new("count references", reason));
        };
        if after.references == 0 && before.references > 0 {
            self.counts.remove(&segment);
            self.zeroed.insert(segment, seq);
        } else if after.references > 0 {
            self.counts.insert(segment, after);
            self.zeroed.remove(&segment);
        }
        if after != before {
            self.changed.insert(segment);
        }
        Ok(())
    }

    /// Drops all references to `segment` in commit number `seq`: they count elsewhere now.
    pub(crate) fn move_out(&mut self, segment: SegmentId, seq: u64) {
        if self.counts.remove(&segment).is_some() {
            self.zeroed.insert(segment, seq);
            self.changed.insert(segment);
        }
    }

    /// What changed since the last call, with the counts now; `None` for those that are zero.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (SegmentId, Option<Live>)> {
        let changed = std::mem::take(&mut self.changed);
        let count = |segment| (segment, self.counts.get(&segment).copied());
        changed.into_iter().map(count)
    }

    /// Everything up to commit number `seq` is synced.
    pub(crate) fn synced(&mut self, seq: u64) {
        self.zeroed.retain(|_, zeroed| *zeroed > seq);
    }

    /// The counts that are not zero.
    pub(crate) fn live(&self) -> &BTreeMap<SegmentId, Live> {
        &self.counts
    }

    /// Every segment that the synced state, the present one or one between refers to.
    pub(crate) fn needed(&self) -> BTreeSet<SegmentId> {
        self.counts
            .keys()
            .chain(self.zeroed.keys())
            .copied()
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn by(references: i64) -> Change {
        Change {
            references,
            bytes: references * 10,
        }
    }

    fn live(references: u64) -> Live {
        Live {
            references,
            bytes: references * 10,
        }
    }

    #[test]
    fn a_segment_is_needed_until_the_sync_that_knows_of_its_last_release() {
        let (one, two) = (SegmentId(1), SegmentId(2));
        let mut counts = Counts::default();
        counts.change(one, by(3), 1).unwrap();
        counts.change(two, by(1), 2).unwrap();
        counts.change(one, by(-3), 3).unwrap();
        counts.synced(2);
        assert_eq!(counts.needed(), BTreeSet::from([one, two]));
        assert_eq!(counts.live(), &BTreeMap::from([(two, live(1))]));
        counts.synced(3);
        assert_eq!(counts.needed(), BTreeSet::from([two]));
        counts.move_out(two, 4);
        assert_eq!((counts.live().len(), counts.needed().len()), (0, 1));
        counts.synced(4);
        assert_eq!(counts.needed(), BTreeSet::new());
    }

    #[test]
    fn changes_are_absolute_counts_and_told_once() {
        let mut counts = Counts::restored(BTreeMap::from([(SegmentId(7), live(2))]));
        counts.change(SegmentId(7), by(-2), 1).unwrap();
        counts.change(SegmentId(8), by(5), 1).unwrap();
        let changed: Vec<_> = counts.take_changed().collect();
        assert_eq!(
            changed,
            [(SegmentId(7), None), (SegmentId(8), Some(live(5)))]
        );
        assert_eq!(counts.take_changed().count(), 0);
    }

    #[test]
    fn releasing_more_than_there_is_is_a_fault() {
        let mut counts = Counts::default();
        counts.change(SegmentId(1), by(1), 1).unwrap();
        assert!(counts.change(SegmentId(1), by(-2), 2).is_err());
        assert_eq!(counts.live(), &BTreeMap::from([(SegmentId(1), live(1))]));
    }

    #[test]
    fn rows_come_back_those_of_earlier_brokers_too() {
        assert_eq!(Live::decode(&live(7).encode()), Some(live(7)));
        let old = Live::decode(&7_u64.to_be_bytes()).unwrap();
        assert_eq!((old.references, old.bytes), (7, 0));
        assert_eq!(Live::decode(&[0; 9]), None);
    }
}
