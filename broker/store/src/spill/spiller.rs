//! Rounds of moving payloads out of sparse segments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use millrace_model::Fault;

use crate::clock::Instant;
use crate::log::{Log, SegmentId};
use crate::spill::choose::{Estimates, Kept, choose};
use crate::spill::round::Round;
use crate::spill::{ReferenceOf, SpillOptions};
use crate::tables::TableHandle;

/// Moves payloads out of sparse segments, a round at a time.
pub struct Spiller {
    log: Arc<Log>,
    groups: Vec<TableHandle>,
    reference: ReferenceOf,
    options: SpillOptions,
    estimates: Estimates,
    counted: Arc<Moved>,
    /// When tables were tidied last.
    tidied: Option<Instant>,
}

/// The least time between two compactions.
const TIDY_PAUSE: Duration = Duration::from_secs(60);

/// What was moved since the start.
#[derive(Debug, Default)]
pub struct Moved {
    /// Segments emptied.
    pub segments: AtomicU64,
    /// Payloads copied out of the log.
    pub payloads: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

impl Spiller {
    /// For `groups`, all of which have their entries in `log`; `reference` reads their rows.
    pub fn new(
        log: Arc<Log>,
        groups: Vec<TableHandle>,
        reference: ReferenceOf,
        options: SpillOptions,
    ) -> Self {
        Self {
            log,
            groups,
            reference,
            options,
            estimates: Estimates::default(),
            counted: Arc::default(),
            tidied: None,
        }
    }

    /// What was moved since the start.
    pub fn moved(&self) -> Arc<Moved> {
        Arc::clone(&self.counted)
    }

    /// Looks whether segments are to be emptied and empties some. Nearly free when there are none; else it reads every
    /// row, and takes seconds: call it where blocking is fine, and not without a pause. How many segments were emptied.
    ///
    /// # Errors
    /// A payload or row is damaged or gone, references do not add up, the tables are closed: nothing was changed.
    pub fn round(&mut self) -> Result<usize, Fault> {
        self.log.expire_pins(crate::snapshot::AGE_MAX);
        let kept = self.kept();
        self.estimates.look(&kept);
        let outside = self.groups.iter().map(|group| group.outside().bytes).sum();
        let chosen = choose(&kept, &self.estimates, outside, &self.options);
        if chosen.is_empty() {
            return Ok(0);
        }
        let mut emptied = BTreeSet::new();
        for group in self.groups.clone() {
            let live = group.live();
            let some = |kept: &&Kept| live.contains_key(&kept.id);
            let segments: Vec<_> = chosen.iter().filter(some).copied().collect();
            if !segments.is_empty() {
                emptied.extend(self.empty(&group, &segments)?);
            }
        }
        self.counted
            .segments
            .fetch_add(emptied.len() as u64, Relaxed);
        Ok(emptied.len())
    }

    /// Gives room back that payloads and rows have left: [`TableHandle::tidy`]. Not again within a minute of one that
    /// did something: while a snapshot is read, what is dead stays, and trying would only rewrite what lives.
    ///
    /// # Errors
    /// The disk refused; the tables are closed.
    pub fn tidy(&mut self, slack_bytes: u64) -> Result<(), Fault> {
        if self.tidied.is_some_and(|at| at.elapsed() < TIDY_PAUSE) {
            return Ok(());
        }
        for group in &self.groups {
            if group.tidy(slack_bytes)? {
                self.tidied = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Moves the payloads of one group out of `segments`; those that were not worth it stay.
    fn empty(&mut self, group: &TableHandle, segments: &[Kept]) -> Result<Vec<SegmentId>, Fault> {
        let ids = segments.iter().map(|kept| kept.id).collect();
        let mut round = Round::begin(group, self.log.group(group.id()), ids)?;
        let Some(live) = round.collect(self.reference, self.options.round_payloads_max)? else {
            // Too many: one of them alone may do, and one that is too much by itself is not sparse.
            drop(round);
            return match segments {
                [one] => {
                    self.estimates.measured(one, one.size);
                    Ok(Vec::new())
                }
                [first, ..] => self.empty(group, &[*first]),
                [] => Ok(Vec::new()),
            };
        };
        let mut worth = Vec::new();
        for kept in segments {
            let live = live.get(&kept.id).copied().unwrap_or(0);
            self.estimates.measured(kept, live);
            let again = choose(
                &[*kept],
                &self.estimates,
                0,
                &SpillOptions {
                    slack_bytes: 0,
                    ..self.options
                },
            );
            worth.extend(again.iter().map(|kept| kept.id));
        }
        if worth.is_empty() {
            return Ok(worth);
        }
        let present = self
            .log
            .segments()
            .iter()
            .map(|segment| segment.id)
            .collect();
        let (payloads, bytes) = round.move_out(&worth, &present)?;
        self.counted.payloads.fetch_add(payloads, Relaxed);
        self.counted.bytes.fetch_add(bytes, Relaxed);
        tracing::info!(group = %group.id(), segments = worth.len(), payloads, bytes, "moved payloads out of sparse segments");
        Ok(worth)
    }

    fn kept(&self) -> Vec<Kept> {
        let segments = self.log.kept_for_payloads();
        if segments.is_empty() {
            return Vec::new();
        }
        let mut referred: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for group in &self.groups {
            for (id, live) in group.live() {
                *referred.entry(id).or_default() += live.bytes;
            }
        }
        let kept = |(id, size)| {
            let referred = referred.get(&id).copied()?;
            Some(Kept { id, size, referred })
        };
        segments.into_iter().filter_map(kept).collect()
    }
}

impl fmt::Debug for Spiller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spiller")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
