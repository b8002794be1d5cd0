//! How votes, memberships, entries and positions become bytes and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use millrace_store::log::{LogEntry, LogId};
use openraft::EntryPayload;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::types::{Body, Entry, Member, Membership, Position, StoredMembership, Vote, position};

/// What the body of a record is.
const TAG_BLANK: u8 = 0;
const TAG_BATCH: u8 = 1;
const TAG_MEMBERSHIP: u8 = 2;

/// A vote as a record.
#[derive(Serialize, Deserialize)]
struct VoteRecord {
    term: u64,
    node: u64,
    committed: bool,
}

/// A membership as a record and as a row.
#[derive(Serialize, Deserialize)]
struct MembershipRecord {
    /// Position of the entry that set it; only in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<(u64, u64)>,
    voters: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, Member>,
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys, and a vector takes every write")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A vote as bytes.
pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let leader = vote.leader_id();
    encode(&VoteRecord {
        term: leader.term,
        node: leader.voted_for,
        committed: vote.is_committed(),
    })
}

/// Inverse of [`encode_vote`].
pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let VoteRecord {
        term,
        node,
        committed,
    } = decode(bytes)?;
    Ok(if committed {
        Vote::new_committed(term, node)
    } else {
        Vote::new(term, node)
    })
}

/// A position as bytes.
pub(crate) fn encode_position(at: &Position) -> Vec<u8> {
    let at = to_log(at);
    encode(&(at.term, at.index))
}

/// Inverse of [`encode_position`].
pub(crate) fn decode_position(bytes: &[u8]) -> io::Result<Position> {
    let (term, index) = decode(bytes)?;
    Ok(position(term, index))
}

fn membership_record(at: Option<&Position>, membership: &Membership) -> MembershipRecord {
    MembershipRecord {
        at: at.map(to_log).map(|at| (at.term, at.index)),
        voters: membership.get_joint_config().clone(),
        nodes: membership
            .nodes()
            .map(|(node, member)| (*node, member.clone()))
            .collect(),
    }
}

fn membership_of(record: MembershipRecord) -> io::Result<Membership> {
    Membership::new(record.voters, record.nodes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// A membership with its position, as the bytes of a row.
pub(crate) fn encode_membership(stored: &StoredMembership) -> Vec<u8> {
    encode(&membership_record(
        stored.log_id().as_ref(),
        stored.membership(),
    ))
}

/// Inverse of [`encode_membership`].
pub(crate) fn decode_membership(bytes: &[u8]) -> io::Result<StoredMembership> {
    let record: MembershipRecord = decode(bytes)?;
    let at = record.at.map(|(term, index)| position(term, index));
    Ok(StoredMembership::new(at, membership_of(record)?))
}

/// An entry as a record of the log. The body of a batch is shared, never copied.
pub(crate) fn to_record(entry: Entry) -> LogEntry {
    let (tag, body) = match entry.payload {
        EntryPayload::Blank => (TAG_BLANK, Bytes::new()),
        EntryPayload::Normal(Body(body)) => (TAG_BATCH, body),
        EntryPayload::Membership(membership) => (
            TAG_MEMBERSHIP,
            encode(&membership_record(None, &membership)).into(),
        ),
    };
    let id = to_log(&entry.log_id);
    LogEntry {
        term: id.term,
        index: id.index,
        tag,
        body,
    }
}

/// Inverse of [`to_record`].
pub(crate) fn to_entry(record: LogEntry) -> io::Result<Entry> {
    let payload = match record.tag {
        TAG_BLANK => EntryPayload::Blank,
        TAG_BATCH => EntryPayload::Normal(Body(record.body)),
        TAG_MEMBERSHIP => EntryPayload::Membership(membership_of(decode(&record.body)?)?),
        tag => {
            let reason = format!(
                "entry {} has the unknown tag {tag}: it was written by a newer broker",
                record.index
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
    };
    Ok(Entry {
        log_id: position(record.term, record.index),
        payload,
    })
}

/// A position of openraft as one of the log.
pub(crate) fn to_log(position: &Position) -> LogId {
    LogId::new(**position.committed_leader_id(), position.index)
}

/// A position of the log as one of openraft.
pub(crate) fn from_log(id: LogId) -> Position {
    position(id.term, id.index)
}
