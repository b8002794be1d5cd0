//! The state of the stream at one point of it: what the records so far amount to, without the entries themselves.
//!
//! Every segment begins with one, so that votes and purges outlive the segments they were written in; dropping a
//! segment from the list is how it is given back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_model::GroupId;

use crate::log::record::{u32_at, u64_at};
use crate::log::{LogId, SegmentId};

/// What the records of one group amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupPoint {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    /// The last entry, or `purged` when there is none.
    pub(crate) last: Option<LogId>,
}

impl GroupPoint {
    /// Everything up to `upto`, which lies beyond what was purged, is gone.
    pub(crate) fn purge(&mut self, upto: LogId) {
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }
}

/// What the records of the stream amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) groups: BTreeMap<GroupId, GroupPoint>,
    /// The segments in use, the one being written included.
    pub(crate) live: BTreeSet<SegmentId>,
}

impl Checkpoint {
    /// Bytes of [`Checkpoint::encode`], without doing it.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let votes: usize = self
            .groups
            .values()
            .map(|group| group.vote.as_ref().map_or(0, Bytes::len))
            .sum();
        8 + self.live.len() * 8 + self.groups.len() * (8 + 3 * 17) + votes
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        put_len(&mut bytes, self.live.len());
        for segment in &self.live {
            bytes.extend_from_slice(&segment.0.to_le_bytes());
        }
        put_len(&mut bytes, self.groups.len());
        for (group, point) in &self.groups {
            bytes.extend_from_slice(&group.0.to_le_bytes());
            // A vote is never empty, so that no length means no vote.
            let vote = point.vote.as_deref().unwrap_or_default();
            put_len(&mut bytes, vote.len());
            bytes.extend_from_slice(vote);
            for id in [point.committed, point.purged, point.last] {
                put_id(&mut bytes, id);
            }
        }
        debug_assert_eq!(
            bytes.len(),
            self.encoded_bytes(),
            "room for a checkpoint is reserved by its size"
        );
        bytes.into()
    }

    /// The checkpoint in `body`; `None` when it is none (its checksum was sound: another version wrote it).
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = Rest(body);
        let live = (0..rest.u32()?)
            .map(|_| rest.u64().map(SegmentId))
            .collect::<Option<_>>()?;
        let mut groups = BTreeMap::new();
        for _ in 0..rest.u32()? {
            let group = GroupId(rest.u32()?);
            let vote = rest.u32()? as usize;
            let vote = rest.take(vote)?;
            let vote = (!vote.is_empty()).then(|| Bytes::copy_from_slice(vote));
            let (committed, purged, last) = (rest.id()?, rest.id()?, rest.id()?);
            groups.insert(
                group,
                GroupPoint {
                    vote,
                    committed,
                    purged,
                    last,
                },
            );
        }
        rest.0.is_empty().then_some(Self { groups, live })
    }
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend_from_slice(
        &u32::try_from(len)
            .expect("fewer than 2^32 groups, segments or vote bytes")
            .to_le_bytes(),
    );
}

fn put_id(bytes: &mut Vec<u8>, id: Option<LogId>) {
    bytes.push(u8::from(id.is_some()));
    let id = id.unwrap_or(LogId::new(0, 0));
    bytes.extend_from_slice(&id.term.to_le_bytes());
    bytes.extend_from_slice(&id.index.to_le_bytes());
}

/// What is left to decode.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32_at(bytes, 0))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|bytes| u64_at(bytes, 0))
    }

    #[expect(clippy::option_option, reason = "the outer one is a decoding failure")]
    fn id(&mut self) -> Option<Option<LogId>> {
        let there = self.take(1)?[0] != 0;
        let id = LogId::new(self.u64()?, self.u64()?);
        Some(there.then_some(id))
    }
}
