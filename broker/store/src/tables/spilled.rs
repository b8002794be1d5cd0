//! What was moved out of the log: which references count outside of it, and what changes while a move is under way.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::{Fault, PayloadRef};

use crate::log::SegmentId;

/// What of a group's payloads lies outside the log.
///
/// A reference counts outside the log when its entry lies at or below `floor`, in a segment of `segments`, or in no
/// segment that is left. Each payload outside has a row with its count, which changes in the same unit as the rows
/// that refer; when the count is gone the flusher removes row and bytes in one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spilled {
    /// Everything up to this entry came with a snapshot: what the log may still hold of it means nothing.
    pub(crate) floor: u64,
    /// Segments whose payloads were moved, until the log has given them back.
    pub(crate) segments: BTreeSet<SegmentId>,
    /// Payloads outside the log.
    pub(crate) payloads: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// A move has begun and not ended: there may be bytes outside that nothing refers to.
    pub(crate) copying: bool,
}

/// The version of the row's form.
const VERSION: u8 = 1;

impl Spilled {
    /// The row.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION, u8::from(self.copying)];
        for number in [self.floor, self.payloads, self.bytes] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        for segment in &self.segments {
            row.extend_from_slice(&segment.0.to_be_bytes());
        }
        row
    }

    /// Inverse of [`Spilled::encode`].
    ///
    /// # Errors
    /// Damage, or a newer form.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, Fault> {
        let bad = |reason: String| Fault::new("read what was moved out of the log", reason);
        let (version, rest) = row
            .split_first()
            .ok_or_else(|| bad("an empty row".into()))?;
        if *version != VERSION {
            return Err(bad(format!("form {version}, this broker reads {VERSION}")));
        }
        let (copying, numbers) = rest
            .split_first()
            .ok_or_else(|| bad("a short row".into()))?;
        let (numbers, left) = numbers.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let (Some(floor), Some(payloads), Some(bytes), []) =
            (numbers.next(), numbers.next(), numbers.next(), left)
        else {
            return Err(bad("a row of a wrong length".into()));
        };
        Ok(Self {
            floor,
            segments: numbers.map(SegmentId).collect(),
            payloads,
            bytes,
            copying: *copying != 0,
        })
    }

    /// Whether references to entry `index`, which the log has in `segment`, count outside the log.
    pub(crate) fn holds(&self, index: u64, segment: Option<SegmentId>) -> bool {
        index <= self.floor || segment.is_none_or(|segment| self.segments.contains(&segment))
    }
}

/// Changes of references to the segments that are being moved, since the move began.
#[derive(Debug)]
pub(crate) struct Watch {
    /// What is being moved.
    pub(crate) segments: BTreeSet<SegmentId>,
    /// Whether an earlier move had not ended when this one began.
    pub(crate) copying: bool,
    changes: Vec<(u64, PayloadRef, i64)>,
    /// There were more changes than are kept: the move has to begin again.
    pub(crate) overrun: bool,
}

/// Most changes that are kept, 32 bytes each.
const CHANGES_MAX: usize = 64 << 10;

impl Watch {
    pub(crate) fn new(segments: BTreeSet<SegmentId>, copying: bool) -> Self {
        Self {
            segments,
            copying,
            changes: Vec::new(),
            overrun: false,
        }
    }

    /// Takes note of a change made in commit number `seq`.
    pub(crate) fn note(&mut self, seq: u64, payload: PayloadRef, change: i64) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push((seq, payload, change));
        } else {
            self.overrun = true;
        }
    }

    /// What changed after commit number `seq`, by payload.
    pub(crate) fn since(&self, seq: u64) -> BTreeMap<PayloadRef, i64> {
        let mut sums = BTreeMap::new();
        for (at, payload, change) in &self.changes {
            if *at > seq {
                *sums.entry(*payload).or_default() += change;
            }
        }
        sums
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_row_comes_back_and_damage_is_a_fault() {
        let spilled = Spilled {
            floor: 9,
            segments: [SegmentId(3), SegmentId(5)].into(),
            payloads: 2,
            bytes: 700,
            copying: true,
        };
        let row = spilled.encode();
        assert_eq!(Spilled::decode(&row).unwrap(), spilled);
        for cut in (0..row.len()).filter(|cut| *cut < 26 || cut % 8 != 2) {
            assert!(Spilled::decode(&row[..cut]).is_err(), "{cut}");
        }
        let mut newer = row;
        newer[0] += 1;
        assert!(Spilled::decode(&newer).is_err());
    }

    #[test]
    fn an_entry_is_outside_by_floor_by_segment_or_for_want_of_one() {
        let spilled = Spilled {
            floor: 9,
            segments: [SegmentId(3)].into(),
            ..Spilled::default()
        };
        assert!(spilled.holds(9, Some(SegmentId(8))));
        assert!(spilled.holds(10, Some(SegmentId(3))));
        assert!(spilled.holds(10, None));
        assert!(!spilled.holds(10, Some(SegmentId(8))));
    }
}
