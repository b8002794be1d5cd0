//! Slices of entries: where they come from, and which are read together.

use std::sync::Arc;

use millrace_model::{GroupId, PayloadRef};

use crate::log::index::Place;
use crate::log::segment::SegmentFile;
use crate::log::{LogEntry, LogError};

/// Bytes between two payloads of an entry up to which one read is cheaper than two.
const GAP_BYTES: usize = 64 << 10;

/// Where an entry is to be had.
pub(crate) enum Source {
    Memory(LogEntry),
    /// Holding the file keeps its segment from being reused.
    Disk {
        file: Arc<SegmentFile>,
        place: Place,
    },
}

impl Source {
    pub(crate) fn body_len(&self) -> usize {
        match self {
            Self::Memory(entry) => entry.body.len(),
            Self::Disk { place, .. } => place.slot.body_len as usize,
        }
    }
}

/// Refuses a payload that does not lie within its entry.
pub(crate) fn check(group: GroupId, source: &Source, place: &PayloadRef) -> Result<(), LogError> {
    let end = u64::from(place.offset) + u64::from(place.len);
    if end <= source.body_len() as u64 {
        return Ok(());
    }
    let body = u32::try_from(source.body_len()).expect("a body is smaller than a segment");
    Err(LogError::OutOfBody {
        group,
        index: place.index,
        body,
        end,
    })
}

/// Payloads of one entry that are read together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Neighbours {
    pub(crate) index: u64,
    /// The bytes of the body that hold them all.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Which of the places asked for.
    pub(crate) members: Vec<usize>,
}

/// Groups `places` by what is best read at once.
pub(crate) fn neighbours(places: &[PayloadRef]) -> Vec<Neighbours> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|at| places[*at]);
    let mut groups: Vec<Neighbours> = Vec::new();
    for at in order {
        let place = places[at];
        let (from, to) = (
            place.offset as usize,
            place.offset as usize + place.len as usize,
        );
        match groups
            .last_mut()
            .filter(|last| last.index == place.index && from <= last.to + GAP_BYTES)
        {
            Some(last) => {
                last.to = last.to.max(to);
                last.members.push(at);
            }
            None => groups.push(Neighbours {
                index: place.index,
                from,
                to,
                members: vec![at],
            }),
        }
    }
    groups
}
