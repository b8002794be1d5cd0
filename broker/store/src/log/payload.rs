//! Payloads, which are slices of entries: where they come from, and which are read together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use millrace_model::{GroupId, PayloadRef};

use crate::log::index::Place;
use crate::log::read::{self, Fill};
use crate::log::segment::SegmentFile;
use crate::log::{GroupLog, LogEntry, LogError};

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

impl GroupLog {
    /// `len` bytes from `offset` of the body of entry `index`, purged or not. From memory it costs no copy; else the
    /// 16 KiB blocks around it are read and their checksums verified.
    ///
    /// # Errors
    /// `Missing`, `OutOfBody`, `Io`, `Damage`.
    pub fn payload(&self, index: u64, offset: u32, len: u32) -> Result<Bytes, LogError> {
        let place = PayloadRef { index, offset, len };
        let source = self.source(&self.shared.lock(), index)?;
        check(self.group, &source, &place)?;
        let from = offset as usize;
        self.resolve(&source, from, from + len as usize, SegmentFile::read_at)
    }

    /// Many payloads, answered in the order asked; neighbours are read from disk together.
    ///
    /// # Errors
    /// As [`GroupLog::payload`], for the first that fails.
    pub fn payloads(&self, places: &[PayloadRef]) -> Result<Vec<Bytes>, LogError> {
        let sources = self.sources_of(places)?;
        self.resolve_all(&sources, places, SegmentFile::read_at)
    }

    /// As [`GroupLog::payloads`], of those that are in memory or in the page cache: waits for no disk. `None` when one of them is
    /// not there, or anything else is wrong, which [`GroupLog::payloads`] tells.
    pub fn payloads_at_hand(&self, places: &[PayloadRef]) -> Option<Vec<Bytes>> {
        let sources = self.sources_of(places).ok()?;
        let found = self.resolve_all(&sources, places, SegmentFile::read_cached);
        found.ok()
    }

    /// Where the entries of `places` are to be had.
    fn sources_of(&self, places: &[PayloadRef]) -> Result<BTreeMap<u64, Source>, LogError> {
        let mut sources = BTreeMap::new();
        let state = self.shared.lock();
        for place in places {
            if let Entry::Vacant(vacant) = sources.entry(place.index) {
                vacant.insert(self.source(&state, place.index)?);
            }
        }
        Ok(sources)
    }

    fn resolve_all(
        &self,
        sources: &BTreeMap<u64, Source>,
        places: &[PayloadRef],
        fill: Fill,
    ) -> Result<Vec<Bytes>, LogError> {
        for place in places {
            check(self.group, &sources[&place.index], place)?;
        }
        let mut found = vec![Bytes::new(); places.len()];
        for neighbours in neighbours(places) {
            let source = &sources[&neighbours.index];
            let bytes = self.resolve(source, neighbours.from, neighbours.to, fill)?;
            for at in neighbours.members {
                let from = places[at].offset as usize - neighbours.from;
                found[at] = bytes.slice(from..from + places[at].len as usize);
            }
        }
        Ok(found)
    }

    fn resolve(
        &self,
        source: &Source,
        from: usize,
        to: usize,
        fill: Fill,
    ) -> Result<Bytes, LogError> {
        match source {
            Source::Memory(entry) => Ok(entry.body.slice(from..to)),
            Source::Disk { file, place } => {
                let bytes = read::slice(file, self.group, place, from, to, fill)?;
                self.count_disk_read(to - from);
                Ok(bytes)
            }
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
