//! Which segments a group still needs: entries not purged or not flushed, and payloads referred to.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::SegmentId;

/// Why segments must not be reused yet, as far as one group goes. The contract is in [`crate::refs`].
///
/// After a crash the tables come back at some state between the last that was synced and the newest. That state
/// replays every entry behind it and reads every payload it refers to. So a segment is needed while it holds an entry
/// that is not purged, or one that the synced tables have not applied, or a payload that such a state refers to.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// The highest index that the group ever had in a segment. Truncation does not lower it: a later entry of the same
    /// index raises `purged` past it soon enough.
    last_index: BTreeMap<SegmentId, u64>,
    /// What the group's tables said last. Without it everything is needed.
    flushed: Option<Flushed>,
}

/// The state of a group's tables that is on disk.
#[derive(Debug)]
struct Flushed {
    applied: u64,
    live: BTreeSet<SegmentId>,
}

impl Pins {
    /// The group has entry `index` in `segment`.
    pub(crate) fn hold(&mut self, segment: SegmentId, index: u64) {
        let last = self.last_index.entry(segment).or_default();
        *last = index.max(*last);
    }

    /// The tables are synced up to `applied`, and refer to the segments in `live`.
    pub(crate) fn set_flushed(&mut self, applied: u64, live: BTreeSet<SegmentId>) {
        self.flushed = Some(Flushed { applied, live });
    }

    /// Whether the group needs `segment`, when its log is durably purged up to `purged`.
    pub(crate) fn needs(&self, segment: SegmentId, purged: Option<u64>) -> bool {
        let Some(last) = self.last_index.get(&segment).copied() else {
            return false;
        };
        let (Some(purged), Some(flushed)) = (purged, &self.flushed) else {
            return true;
        };
        last > purged || last > flushed.applied || flushed.live.contains(&segment)
    }

    /// Whether the group needs `segment` for payloads alone: every entry in it is purged and applied for good.
    pub(crate) fn needs_payloads_only(&self, segment: SegmentId, purged: Option<u64>) -> bool {
        let last = self.last_index.get(&segment);
        let gone = |index: u64| last.is_none_or(|last| *last <= index);
        let applied = self.flushed.as_ref().map(|flushed| flushed.applied);
        purged.is_some_and(gone) && applied.is_some_and(gone)
    }

    /// The highest index that the group ever had in one of `segments`.
    pub(crate) fn last_index_in(&self, segments: &BTreeSet<SegmentId>) -> Option<u64> {
        let last = |segment| self.last_index.get(segment).copied();
        segments.iter().filter_map(last).max()
    }

    /// `segment` is given back.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.last_index.remove(&segment);
    }
}
