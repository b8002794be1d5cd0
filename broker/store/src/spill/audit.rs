//! Whether what lies outside the log is what rows refer to.

use std::collections::BTreeMap;
use std::iter::Peekable;

use millrace_model::{Fault, PayloadRef};

use crate::log::{Log, SegmentId};
use crate::spill::{ReferenceOf, window};
use crate::tables::TableSnapshot;

/// Payloads that are looked at in one pass over the rows.
const WINDOW: usize = 1 << 20;

/// Most findings that are told; the rest is counted.
const FINDINGS_MAX: usize = 32;

/// What does not hold of payloads and references, in words; empty when everything does: each payload that a row refers
/// to is in the log or outside, outside with the right number of references and sound bytes; nothing else is outside;
/// each segment has as many references as were counted. Reads every row and every payload outside the log.
///
/// # Errors
/// A [`Fault`] when rows cannot be read.
pub fn audit(
    snapshot: &TableSnapshot,
    log: &Log,
    reference: ReferenceOf,
) -> Result<Vec<String>, Fault> {
    let mut audit = Audit::new(snapshot, log)?;
    let mut after = None;
    loop {
        let found = window(snapshot, reference, after, WINDOW, |_| true)?;
        after = found.keys().next_back().copied();
        for (place, count) in &found {
            audit.referred(*place, *count)?;
        }
        if found.len() < WINDOW {
            break;
        }
    }
    audit.finish()
}

/// Payloads with their counts outside the log, in order.
type Counted<'a> = Box<dyn Iterator<Item = Result<(PayloadRef, u64), Fault>> + 'a>;

struct Audit<'a> {
    snapshot: &'a TableSnapshot,
    group: crate::log::GroupLog,
    spilled: crate::tables::spilled::Spilled,
    /// Counts outside the log that no row has been found for yet, in order.
    counted: Peekable<Counted<'a>>,
    inside: BTreeMap<SegmentId, u64>,
    outside: (u64, u64),
    findings: Vec<String>,
    more: u64,
}

impl<'a> Audit<'a> {
    fn new(snapshot: &'a TableSnapshot, log: &Log) -> Result<Self, Fault> {
        let counted: Counted<'a> = Box::new(snapshot.counted());
        Ok(Self {
            snapshot,
            group: log.group(snapshot.group()),
            spilled: snapshot.spilled()?,
            counted: counted.peekable(),
            inside: BTreeMap::new(),
            outside: (0, 0),
            findings: Vec::new(),
            more: 0,
        })
    }

    fn tell(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Rows refer to `place`, `count` times.
    fn referred(&mut self, place: PayloadRef, count: u64) -> Result<(), Fault> {
        let segment = self.group.segment_of(place.index);
        match segment.filter(|_| !self.spilled.holds(place.index, segment)) {
            Some(segment) => *self.inside.entry(segment).or_default() += count,
            None => self.outside(place, count)?,
        }
        Ok(())
    }

    fn outside(&mut self, place: PayloadRef, count: u64) -> Result<(), Fault> {
        let counted = self.counted_for(place)?;
        self.outside.0 += 1;
        self.outside.1 += u64::from(place.len);
        let PayloadRef { index, offset, .. } = place;
        if counted != Some(count) {
            let counted = counted.unwrap_or(0);
            self.tell(format!("the payload at {offset} of entry {index} has {count} references, {counted} are counted outside the log"));
        }
        match self.snapshot.payload(place) {
            Ok(Some(_)) => {}
            Ok(None) => self.tell(format!("the payload at {offset} of entry {index} is lost: it is neither in the log nor outside")),
            Err(fault) => self.tell(fault.to_string()),
        }
        Ok(())
    }

    /// The count of `place`; those before it belong to no row.
    fn counted_for(&mut self, place: PayloadRef) -> Result<Option<u64>, Fault> {
        while let Some(next) = self
            .counted
            .next_if(|next| !matches!(next, Ok((at, _)) if *at >= place))
        {
            let (orphan, _) = next?;
            self.orphan(orphan);
        }
        let found = self
            .counted
            .next_if(|next| matches!(next, Ok((at, _)) if *at == place));
        Ok(found.transpose()?.map(|(_, count)| count))
    }

    fn orphan(&mut self, place: PayloadRef) {
        let PayloadRef { index, offset, .. } = place;
        if !self.spilled.copying {
            self.tell(format!("the payload at {offset} of entry {index} is kept outside the log, and no row refers to it"));
        }
    }

    fn finish(mut self) -> Result<Vec<String>, Fault> {
        while let Some(orphan) = self.counted.next() {
            self.orphan(orphan?.0);
        }
        self.check_stored()?;
        for (segment, live) in self.snapshot.live()? {
            let found = self.inside.remove(&segment).unwrap_or(0);
            if found != live.references {
                let counted = live.references;
                self.tell(format!(
                    "rows refer {found} times to segment {}, {counted} are counted",
                    segment.0
                ));
            }
        }
        for (segment, found) in std::mem::take(&mut self.inside) {
            self.tell(format!(
                "rows refer {found} times to segment {}, none are counted",
                segment.0
            ));
        }
        if self.outside != (self.spilled.payloads, self.spilled.bytes) {
            let ((payloads, bytes), spilled) = (self.outside, &self.spilled);
            let finding = format!(
                "{payloads} payloads of {bytes} bytes lie outside the log, the sums say {} of {}",
                spilled.payloads, spilled.bytes
            );
            self.tell(finding);
        }
        if self.more > 0 {
            self.findings.push(format!("and {} more", self.more));
        }
        Ok(self.findings)
    }

    /// Bytes that have no count.
    fn check_stored(&mut self) -> Result<(), Fault> {
        let mut counted = self.snapshot.counted().peekable();
        for stored in self.snapshot.stored() {
            let stored = stored?;
            while let Some(next) =
                counted.next_if(|next| !matches!(next, Ok((at, _)) if *at >= stored))
            {
                next?;
            }
            if counted
                .next_if(|next| matches!(next, Ok((at, _)) if *at == stored))
                .is_none()
            {
                self.orphan(stored);
            }
        }
        Ok(())
    }
}
