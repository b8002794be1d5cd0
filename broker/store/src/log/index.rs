//! Where a group's entries lie on disk: 8 bytes an entry.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{LogId, SegmentId};

/// The place of a record in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) offset: u32,
    pub(crate) body_len: u32,
}

/// Where one entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: LogId,
    pub(crate) segment: SegmentId,
    pub(crate) slot: Slot,
}

/// Consecutive entries of one term in one segment.
#[derive(Debug)]
struct Run {
    segment: SegmentId,
    term: u64,
    slots: Vec<Slot>,
}

/// Where a group's entries lie. Holds what is on disk: purged entries too, as long as their segment lives.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By first index. Runs do not overlap; gaps are where purged segments were given back.
    runs: BTreeMap<u64, Run>,
}

impl Index {
    /// Adds an entry; its index is beyond all others.
    pub(crate) fn push(&mut self, place: Place) {
        if let Some((first, run)) = self.runs.iter_mut().next_back() {
            let next = first + run.slots.len() as u64;
            assert!(
                place.id.index >= next,
                "entry {} overlaps the index, which reaches {next}",
                place.id.index
            );
            if place.id.index == next && run.term == place.id.term && run.segment == place.segment {
                run.slots.push(place.slot);
                return;
            }
            run.slots.shrink_to_fit();
        }
        let run = Run {
            segment: place.segment,
            term: place.id.term,
            slots: vec![place.slot],
        };
        self.runs.insert(place.id.index, run);
    }

    /// Where the entry at `index` lies.
    pub(crate) fn get(&self, index: u64) -> Option<Place> {
        let (first, run) = self.runs.range(..=index).next_back()?;
        let slot = *run.slots.get(usize::try_from(index - first).ok()?)?;
        Some(Place {
            id: LogId::new(run.term, index),
            segment: run.segment,
            slot,
        })
    }

    /// The entries in `segments`, as runs of consecutive ones in order: first, last, and the segment.
    pub(crate) fn runs_in(&self, segments: &BTreeSet<SegmentId>) -> Vec<(u64, u64, SegmentId)> {
        let runs = self.runs.iter();
        let within = runs.filter(|(_, run)| segments.contains(&run.segment));
        let bounds =
            within.map(|(first, run)| (*first, first + run.slots.len() as u64, run.segment));
        let some = bounds.filter(|(first, end, _)| first < end);
        some.map(|(first, end, segment)| (first, end - 1, segment))
            .collect()
    }

    /// Forgets every entry after `last`, or all.
    pub(crate) fn truncate_after(&mut self, last: Option<u64>) {
        let Some(last) = last else {
            self.runs.clear();
            return;
        };
        self.runs.split_off(&(last + 1));
        if let Some((first, run)) = self.runs.iter_mut().next_back() {
            run.slots
                .truncate(usize::try_from(last - first + 1).unwrap_or(usize::MAX));
        }
    }

    /// Forgets the entries in `segment`.
    pub(crate) fn drop_segment(&mut self, segment: SegmentId) {
        self.runs.retain(|_, run| run.segment != segment);
    }

    /// The first index after `purged` that is missing up to `last`.
    pub(crate) fn first_gap(&self, purged: Option<u64>, last: u64) -> Option<u64> {
        let from = purged.map_or(0, |purged| purged + 1);
        // Before the first purge, the log begins wherever its first entry stands.
        let start = purged
            .is_none()
            .then(|| self.runs.keys().next().copied())
            .flatten()
            .unwrap_or(from);
        let mut next = start;
        for (first, run) in self.runs.range(
            self.runs
                .range(..=start)
                .next_back()
                .map_or(start, |(first, _)| *first)..,
        ) {
            if *first > next || next > last {
                break;
            }
            next = next.max(first + run.slots.len() as u64);
        }
        (next <= last).then_some(next)
    }
}
