//! Which segments to empty.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::SegmentId;

/// When payloads are moved out of the log. `SpillOptions::default()` is for production; tests make everything small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpillOptions {
    /// Segments with at most this share of live bytes are always emptied, in percent: 25.
    pub sparse_percent: u64,
    /// Bytes on disk beyond one and a half times those that live, from which on fuller segments are emptied too,
    /// sparsest first, 128 MiB. With the segments in use and those that stand ready it makes up the 256 MiB that a
    /// node may take beyond one and a half times what lives.
    pub slack_bytes: u64,
    /// Most segments that one round empties, 16.
    pub segments_max: usize,
    /// Most bytes that one round moves, once it has one segment, 64 MiB.
    pub round_bytes_max: u64,
    /// The least time between two rounds, 5 s; kept by whoever calls them.
    pub pause: Duration,
    /// Most payloads that one round moves for one group, 1 Mi: 48 MiB of memory.
    pub round_payloads_max: usize,
}

impl Default for SpillOptions {
    fn default() -> Self {
        Self {
            sparse_percent: 25,
            slack_bytes: 128 << 20,
            segments_max: 16,
            round_bytes_max: 64 << 20,
            pause: Duration::from_secs(5),
            round_payloads_max: 1 << 20,
        }
    }
}

/// Emptying a fuller segment than this frees less than it copies, in percent.
const WORTHWHILE_PERCENT: u64 = 66;

/// A sealed segment that is kept for payloads alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: SegmentId,
    /// Bytes on disk.
    pub(crate) size: u64,
    /// Lengths of its live payloads, once for each reference: from above.
    pub(crate) referred: u64,
}

/// What was learned about segments, to estimate live bytes better than from above: a payload with a hundred references
/// is counted a hundred times in [`Kept::referred`].
#[derive(Debug, Default)]
pub(crate) struct Estimates(BTreeMap<SegmentId, (u64, u64)>);

impl Estimates {
    /// Forgets segments that are gone, and looks at new ones.
    pub(crate) fn look(&mut self, kept: &[Kept]) {
        self.0
            .retain(|id, _| kept.iter().any(|kept| kept.id == *id));
        for kept in kept {
            let first = (kept.referred, kept.referred.min(kept.size));
            self.0.entry(kept.id).or_insert(first);
        }
    }

    /// The payloads of a segment were looked at one by one: `live` bytes.
    pub(crate) fn measured(&mut self, kept: &Kept, live: u64) {
        self.0.insert(kept.id, (kept.referred, live));
    }

    /// Live bytes: they shrink as the references do.
    pub(crate) fn live(&self, kept: &Kept) -> u64 {
        let (then, live) = self.0.get(&kept.id).copied().unwrap_or((0, kept.size));
        if then == 0 {
            return kept.referred.min(kept.size);
        }
        let live = u128::from(live) * u128::from(kept.referred) / u128::from(then);
        u64::try_from(live).unwrap_or(u64::MAX).min(kept.size)
    }
}

/// The segments to empty now, sparsest first; `moved` are the bytes that lie outside the log already.
pub(crate) fn choose(
    kept: &[Kept],
    estimates: &Estimates,
    moved: u64,
    options: &SpillOptions,
) -> Vec<Kept> {
    let mut sparsest: Vec<_> = kept
        .iter()
        .map(|kept| (estimates.live(kept), *kept))
        .collect();
    sparsest.sort_by_key(|(live, kept)| (live * 1_000 / kept.size.max(1), kept.id));
    let mut disk = moved + kept.iter().map(|kept| kept.size).sum::<u64>();
    let alive = moved + sparsest.iter().map(|(live, _)| live).sum::<u64>();
    let bound = alive + alive / 2 + options.slack_bytes;
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    for (live, kept) in sparsest {
        let sparse = live * 100 <= kept.size * options.sparse_percent;
        let over = disk > bound && live * 100 <= kept.size * WORTHWHILE_PERCENT;
        let full = chosen.len() >= options.segments_max
            || (bytes + live > options.round_bytes_max && !chosen.is_empty());
        if !(sparse || over) || full {
            break;
        }
        bytes += live;
        disk = disk.saturating_sub(kept.size - live);
        chosen.push(kept);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: u64, referred: u64) -> Kept {
        Kept {
            id: SegmentId(id),
            size: 100,
            referred,
        }
    }

    fn chosen(kept: &[Kept], estimates: &Estimates, slack: u64) -> Vec<u64> {
        let options = SpillOptions {
            slack_bytes: slack,
            round_bytes_max: 100,
            ..SpillOptions::default()
        };
        let chosen = choose(kept, estimates, 0, &options);
        chosen.into_iter().map(|kept| kept.id.0).collect()
    }

    #[test]
    fn sparse_segments_go_always_and_fuller_ones_when_the_disk_is_over_its_bound() {
        let all = [
            kept(1, 90),
            kept(2, 60),
            kept(3, 5),
            kept(4, 50),
            kept(5, 25),
        ];
        let none = Estimates::default();
        assert_eq!(chosen(&all, &none, 1_000), [3, 5]);
        // 500 on disk, 230 live: the bound is 345; without 3 and 5, 330 are left.
        assert_eq!(chosen(&all, &none, 0), [3, 5]);
        let fuller = [kept(1, 90), kept(2, 60), kept(4, 30), kept(5, 30)];
        // 400 on disk, 210 live: the bound is 315, reached with two.
        assert_eq!(chosen(&fuller, &none, 0), [4, 5]);
        assert_eq!(chosen(&fuller, &none, 100), [0_u64; 0]);
        assert_eq!(chosen(&[kept(1, 90), kept(2, 70)], &none, 0), [0_u64; 0]);
    }

    #[test]
    fn a_fan_out_is_measured_once_and_estimated_from_there() {
        let mut estimates = Estimates::default();
        estimates.look(&[kept(1, 1_000)]);
        assert_eq!(estimates.live(&kept(1, 1_000)), 100);
        assert_eq!(estimates.live(&kept(1, 100)), 10, "as the references go");
        // It turned out that every payload has one reference left.
        estimates.measured(&kept(1, 100), 100);
        assert_eq!(estimates.live(&kept(1, 100)), 100);
        assert_eq!(estimates.live(&kept(1, 20)), 20);
        estimates.look(&[]);
        assert_eq!(estimates.live(&kept(1, 20)), 20);
    }
}
