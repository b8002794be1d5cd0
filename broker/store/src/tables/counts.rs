//! Live references to log entries, counted for each segment.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::Fault;

use crate::log::SegmentId;

/// Live references of each segment.
///
/// # Invariants
/// 1. A segment is in `counts` exactly if its count is not zero.
/// 2. A segment is in `zeroed` if its count is zero and was not in the state that is synced; never in both.
/// 3. `changed` holds every segment whose row in fjall differs, or will once the overlay in flight is written.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counts: BTreeMap<SegmentId, u64>,
    zeroed: BTreeMap<SegmentId, u64>,
    changed: BTreeSet<SegmentId>,
}

impl Counts {
    /// The counts that were read from synced rows.
    pub(crate) fn restored(counts: BTreeMap<SegmentId, u64>) -> Self {
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
        change: i64,
        seq: u64,
    ) -> Result<(), Fault> {
        let before = self.counts.get(&segment).copied().unwrap_or(0);
        let Some(after) = before.checked_add_signed(change) else {
            let reason = format!(
                "segment {} has {before} references, {change} were added",
                segment.0
            );
            return Err(Fault::new("count references", reason));
        };
        if after == 0 && before > 0 {
            self.counts.remove(&segment);
            self.zeroed.insert(segment, seq);
        } else if after > 0 {
            self.counts.insert(segment, after);
            self.zeroed.remove(&segment);
        }
        if after != before {
            self.changed.insert(segment);
        }
        Ok(())
    }

    /// What changed since the last call, with the counts now.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (SegmentId, u64)> {
        let changed = std::mem::take(&mut self.changed);
        let count = |segment| (segment, self.counts.get(&segment).copied().unwrap_or(0));
        changed.into_iter().map(count)
    }

    /// Everything up to commit number `seq` is synced.
    pub(crate) fn synced(&mut self, seq: u64) {
        self.zeroed.retain(|_, zeroed| *zeroed > seq);
    }

    /// The counts that are not zero.
    pub(crate) fn live(&self) -> &BTreeMap<SegmentId, u64> {
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

    #[test]
    fn a_segment_is_needed_until_the_sync_that_knows_of_its_last_release() {
        let (one, two) = (SegmentId(1), SegmentId(2));
        let mut counts = Counts::default();
        counts.change(one, 3, 1).unwrap();
        counts.change(two, 1, 2).unwrap();
        counts.change(one, -3, 3).unwrap();
        counts.synced(2);
        assert_eq!(counts.needed(), BTreeSet::from([one, two]));
        assert_eq!(counts.live(), &BTreeMap::from([(two, 1)]));
        counts.synced(3);
        assert_eq!(counts.needed(), BTreeSet::from([two]));
    }

    #[test]
    fn changes_are_absolute_counts_and_told_once() {
        let mut counts = Counts::restored(BTreeMap::from([(SegmentId(7), 2)]));
        counts.change(SegmentId(7), -2, 1).unwrap();
        counts.change(SegmentId(8), 5, 1).unwrap();
        let changed: Vec<_> = counts.take_changed().collect();
        assert_eq!(changed, [(SegmentId(7), 0), (SegmentId(8), 5)]);
        assert_eq!(counts.take_changed().count(), 0);
    }

    #[test]
    fn releasing_more_than_there_is_is_a_fault() {
        let mut counts = Counts::default();
        counts.change(SegmentId(1), 1, 1).unwrap();
        assert!(counts.change(SegmentId(1), -2, 2).is_err());
        assert_eq!(counts.live(), &BTreeMap::from([(SegmentId(1), 1)]));
    }
}
