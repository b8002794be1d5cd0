//! Makes the state of memory from the records of the live segments.

use std::collections::BTreeMap;

use millrace_model::GroupId;

use crate::fault::Damage;
use crate::log::checkpoint::{Checkpoint, GroupPoint};
use crate::log::group_state::GroupState;
use crate::log::index::{Place, Slot};
use crate::log::record::Kind;
use crate::log::scan::{Found, Scan};
use crate::log::segment::SegmentFile;
use crate::log::{LogError, SegmentId};

/// The state so far.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) groups: BTreeMap<GroupId, GroupState>,
    points: BTreeMap<GroupId, GroupPoint>,
    last_segment: Option<SegmentId>,
}

impl Replay {
    /// Takes in the records of the next segment.
    pub(crate) fn segment(&mut self, file: &SegmentFile, scan: &Scan) -> Result<(), LogError> {
        // Between segments that do not follow each other, others were given back: their records are not to be had, and
        // the checkpoint at the start stands for them.
        let mut follows = self
            .last_segment
            .is_some_and(|last| last.0 + 1 == file.id.0);
        for found in &scan.records {
            self.record(file, found, follows)?;
            follows = true;
        }
        self.last_segment = Some(file.id);
        Ok(())
    }

    fn record(&mut self, file: &SegmentFile, found: &Found, follows: bool) -> Result<(), LogError> {
        let header = &found.header;
        match header.kind {
            Kind::Checkpoint => return self.checkpoint(file, found, follows),
            Kind::Seal | Kind::End => return Ok(()),
            _ => {}
        }
        let point = self.points.entry(header.group).or_default();
        let group = self.groups.entry(header.group).or_default();
        match header.kind {
            Kind::Entry => {
                if point
                    .last
                    .is_some_and(|last| last.index + 1 != header.id.index)
                {
                    let reason = format!(
                        "{:?} of group {} does not follow {:?}",
                        header.id, header.group, point.last
                    );
                    return Err(Damage::new(&file.path, found.offset.into(), reason).into());
                }
                point.last = Some(header.id);
                let slot = Slot {
                    offset: found.offset,
                    body_len: header.body_len,
                };
                group.index.push(Place {
                    id: header.id,
                    segment: file.id,
                    slot,
                });
                group.pins.hold(file.id, header.id.index);
            }
            Kind::Vote => point.vote.clone_from(&found.body),
            Kind::Truncate => {
                point.last = header.optional_id();
                group
                    .index
                    .truncate_after(point.last.map(|last| last.index));
            }
            Kind::Purge => point.purge(header.id),
            Kind::Committed => point.committed = header.optional_id(),
            Kind::Seal | Kind::End | Kind::Checkpoint => {}
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        file: &SegmentFile,
        found: &Found,
        follows: bool,
    ) -> Result<(), LogError> {
        let written = decode_checkpoint(file, found)?;
        if follows && !self.agrees_with(&written) {
            let reason = "a checkpoint does not agree with the records before it";
            return Err(Damage::new(&file.path, found.offset.into(), reason).into());
        }
        for (id, point) in &written.groups {
            let last = point.last.map(|last| last.index);
            self.groups
                .entry(*id)
                .or_default()
                .index
                .truncate_after(last);
        }
        self.points = written.groups;
        Ok(())
    }

    /// Committed positions are left out: one that found no room for its record is in the checkpoint alone.
    fn agrees_with(&self, written: &Checkpoint) -> bool {
        let blank = |(id, point): (&GroupId, &GroupPoint)| {
            (
                *id,
                GroupPoint {
                    committed: None,
                    ..point.clone()
                },
            )
        };
        self.points
            .iter()
            .map(blank)
            .eq(written.groups.iter().map(blank))
    }

    /// The state at the end of the stream, whose live segments are `live`.
    pub(crate) fn finish(
        mut self,
        end: &SegmentFile,
        live: Checkpoint,
    ) -> Result<(BTreeMap<GroupId, GroupState>, Checkpoint), LogError> {
        for (id, point) in &mut self.points {
            let group = self.groups.entry(*id).or_default();
            // What is committed stands in the stream before what it speaks of, and that may have been torn off.
            point.committed = point.committed.min(point.last.or(point.purged));
            (group.vote, group.committed) = (point.vote.clone(), point.committed);
            (group.purged, group.last, group.purged_durably) =
                (point.purged, point.last, point.purged);
            let purged = point.purged.map(|purged| purged.index);
            let Some(last) = point.last.map(|last| last.index) else {
                continue;
            };
            if let Some(gap) = group.index.first_gap(purged, last) {
                let reason = format!(
                    "group {id}: entry {gap} is missing; the log has {purged:?} (purged) to {last}"
                );
                return Err(Damage::new(&end.path, 0, reason).into());
            }
        }
        Ok((
            self.groups,
            Checkpoint {
                groups: self.points,
                live: live.live,
            },
        ))
    }
}

/// The checkpoint in `found`.
pub(crate) fn decode_checkpoint(file: &SegmentFile, found: &Found) -> Result<Checkpoint, Damage> {
    let decoded = found.body.as_deref().and_then(Checkpoint::decode);
    decoded.ok_or_else(|| {
        Damage::new(
            &file.path,
            found.offset.into(),
            "a checkpoint cannot be understood",
        )
    })
}
