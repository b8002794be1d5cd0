//! What the messages between nodes say, as bytes.
//!
//! A message is a head in binary form, with its length before it, and what it carries behind it as it is: the bodies of
//! log entries are the same bytes on the wire as in the log, stored events the same as in their entries.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_store::log::{LogEntry, LogId};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::types::{Position, TypeConfig, Vote};

/// A position on the wire: term and index.
type At = (u64, u64);

fn at(position: &Position) -> At {
    let LogId { term, index } = codec::to_log(position);
    (term, index)
}

fn position((term, index): At) -> Position {
    crate::types::position(term, index)
}

/// A vote on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteForm {
    term: u64,
    node: u64,
    committed: bool,
}

impl From<&Vote> for VoteForm {
    fn from(vote: &Vote) -> Self {
        let leader = vote.leader_id();
        Self {
            term: leader.term,
            node: leader.voted_for,
            committed: vote.is_committed(),
        }
    }
}

impl VoteForm {
    /// The term that it is for.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }
}

impl From<VoteForm> for Vote {
    fn from(form: VoteForm) -> Self {
        if form.committed {
            Self::new_committed(form.term, form.node)
        } else {
            Self::new(form.term, form.node)
        }
    }
}

/// A head with its length, to be sent before what it speaks of.
pub(crate) fn head<T: Serialize>(head: &T) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32_le(0);
    let head = postcard::to_stdvec(head).expect("messages have a binary form");
    bytes.put_slice(&head);
    let length = u32::try_from(head.len()).expect("a head is far below 4 GiB");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes.freeze()
}

/// Parts a message into its head and what is behind it.
///
/// # Errors
/// `InvalidData` for what is no such message.
pub(crate) fn open<T: DeserializeOwned>(body: &Bytes) -> io::Result<(T, Bytes)> {
    let (length, rest) = body.split_first_chunk().ok_or_else(|| invalid("cut"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let head = rest.get(..length).ok_or_else(|| invalid("cut"))?;
    let head = postcard::from_bytes(head).map_err(|error| invalid(&error.to_string()))?;
    Ok((head, body.slice(4 + length..)))
}

/// Cuts `bytes` into pieces of these lengths, which must fill it.
///
/// # Errors
/// `InvalidData` when they do not.
pub(crate) fn cut(
    mut bytes: Bytes,
    lengths: impl IntoIterator<Item = u32>,
) -> io::Result<Vec<Bytes>> {
    let mut pieces = Vec::new();
    for length in lengths {
        if length as usize > bytes.len() {
            return Err(invalid("a length past the end"));
        }
        pieces.push(bytes.split_to(length as usize));
    }
    if bytes.is_empty() {
        Ok(pieces)
    } else {
        Err(invalid("more than the lengths say"))
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message: {reason}"))
}

/// The length of a piece.
pub(crate) fn length(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).expect("limits keep events and entries far below 4 GiB")
}

/// The head of an append.
#[derive(Serialize, Deserialize)]
pub(crate) struct AppendHead {
    pub(crate) group: u32,
    /// Which stream of appends it belongs to; the receiver forgets the one before.
    pub(crate) stream: u64,
    vote: VoteForm,
    previous: Option<At>,
    committed: Option<At>,
    entries: Vec<EntryHead>,
}

/// An entry without its body.
#[derive(Serialize, Deserialize)]
struct EntryHead {
    term: u64,
    index: u64,
    tag: u8,
    length: u32,
}

/// An append as parts of a frame.
pub(crate) fn append(
    group: u32,
    stream: u64,
    request: AppendEntriesRequest<TypeConfig>,
) -> Vec<Bytes> {
    let records = request.entries.into_iter().map(codec::to_record);
    let mut parts = vec![Bytes::new()];
    let mut entries = Vec::new();
    for record in records {
        entries.push(EntryHead {
            term: record.term,
            index: record.index,
            tag: record.tag,
            length: length(&record.body),
        });
        parts.push(record.body);
    }
    parts[0] = head(&AppendHead {
        group,
        stream,
        vote: (&request.vote).into(),
        previous: request.prev_log_id.as_ref().map(at),
        committed: request.leader_commit.as_ref().map(at),
        entries,
    });
    parts
}

/// Inverse of [`append`].
///
/// # Errors
/// `InvalidData` for what is no append.
pub(crate) fn open_append(
    body: &Bytes,
) -> io::Result<(u32, u64, AppendEntriesRequest<TypeConfig>)> {
    let (head, bodies) = open::<AppendHead>(body)?;
    let bodies = cut(bodies, head.entries.iter().map(|entry| entry.length))?;
    let record = |(entry, body): (EntryHead, Bytes)| {
        codec::to_entry(LogEntry {
            term: entry.term,
            index: entry.index,
            tag: entry.tag,
            body,
        })
    };
    let entries = head.entries.into_iter().zip(bodies).map(record);
    let request = AppendEntriesRequest {
        vote: head.vote.into(),
        prev_log_id: head.previous.map(position),
        leader_commit: head.committed.map(position),
        entries: entries.collect::<io::Result<_>>()?,
    };
    Ok((head.group, head.stream, request))
}

/// What came of an append.
#[derive(Serialize, Deserialize)]
pub(crate) enum AppendReply {
    /// All up to here is there.
    Matches(Option<At>),
    /// This is not there: look further back.
    Conflict(At),
    /// There is a newer leader or candidate.
    HigherVote(VoteForm),
}

impl From<&StreamAppendResult<TypeConfig>> for AppendReply {
    fn from(result: &StreamAppendResult<TypeConfig>) -> Self {
        match result {
            Ok(matches) => Self::Matches(matches.as_ref().map(at)),
            Err(StreamAppendError::Conflict(conflict)) => Self::Conflict(at(conflict)),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<AppendReply> for StreamAppendResult<TypeConfig> {
    fn from(reply: AppendReply) -> Self {
        match reply {
            AppendReply::Matches(matches) => Ok(matches.map(position)),
            AppendReply::Conflict(conflict) => Err(StreamAppendError::Conflict(position(conflict))),
            AppendReply::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        }
    }
}

/// A request for a vote, or for the promise of one.
#[derive(Serialize, Deserialize)]
pub(crate) struct VoteForward {
    pub(crate) group: u32,
    vote: VoteForm,
    last: Option<At>,
    transfer: bool,
}

impl VoteForward {
    pub(crate) fn new(group: u32, request: &VoteRequest<TypeConfig>) -> Self {
        Self {
            group,
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(at),
            transfer: request.leadership_transfer,
        }
    }

    pub(crate) fn request(self) -> VoteRequest<TypeConfig> {
        let mut request = VoteRequest::new(self.vote.into(), self.last.map(position));
        request.leadership_transfer = self.transfer;
        request
    }
}

/// The answer to it.
#[derive(Serialize, Deserialize)]
pub(crate) struct VoteAnswer {
    vote: VoteForm,
    granted: bool,
    last: Option<At>,
}

impl From<&VoteResponse<TypeConfig>> for VoteAnswer {
    fn from(response: &VoteResponse<TypeConfig>) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(at),
        }
    }
}

impl From<VoteAnswer> for VoteResponse<TypeConfig> {
    fn from(answer: VoteAnswer) -> Self {
        Self {
            vote: answer.vote.into(),
            vote_granted: answer.granted,
            last_log_id: answer.last.map(position),
        }
    }
}

/// The leader hands over.
#[derive(Serialize, Deserialize)]
pub(crate) struct TransferForward {
    pub(crate) group: u32,
    from: VoteForm,
    to: u64,
    last: Option<At>,
}

impl TransferForward {
    pub(crate) fn new(group: u32, request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            group,
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(at),
        }
    }

    pub(crate) fn request(self) -> TransferLeaderRequest<TypeConfig> {
        TransferLeaderRequest::new(self.from.into(), self.to, self.last.map(position))
    }
}

/// What came of it; the log of the one that was asked says more.
#[derive(Serialize, Deserialize)]
pub(crate) enum TransferAnswer {
    /// It stands for election.
    Accepted,
    /// It has another vote by now.
    VoteChanged(VoteForm, VoteForm),
    /// It does not have the whole log yet.
    NotFlushed(Option<At>, Option<At>),
}

type TransferResult = openraft::raft::TransferLeaderResponse<TypeConfig>;
type TransferError = openraft::raft::TransferLeaderError<TypeConfig>;

impl From<&TransferResult> for TransferAnswer {
    fn from(result: &TransferResult) -> Self {
        match result {
            Ok(()) => Self::Accepted,
            Err(TransferError::VoteChanged { expected, actual }) => {
                Self::VoteChanged(expected.into(), actual.into())
            }
            Err(TransferError::LogNotFlushed { expected, actual }) => {
                Self::NotFlushed(expected.as_ref().map(at), actual.as_ref().map(at))
            }
        }
    }
}

impl From<TransferAnswer> for TransferResult {
    fn from(answer: TransferAnswer) -> Self {
        match answer {
            TransferAnswer::Accepted => Ok(()),
            TransferAnswer::VoteChanged(expected, actual) => Err(TransferError::VoteChanged {
                expected: expected.into(),
                actual: actual.into(),
            }),
            TransferAnswer::NotFlushed(expected, actual) => Err(TransferError::LogNotFlushed {
                expected: expected.map(position),
                actual: actual.map(position),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Body;
    use openraft::{Entry, EntryPayload};

    #[test]
    fn an_append_comes_back_and_its_bodies_are_not_copied() {
        let body = Bytes::from(vec![b'x'; 1000]);
        let entry = |index, payload| Entry {
            log_id: position((3, index)),
            payload,
        };
        let request = || AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(position((2, 6))),
            leader_commit: Some(position((2, 5))),
            entries: vec![
                entry(7, EntryPayload::Blank),
                entry(8, EntryPayload::Normal(Body(body.clone()))),
            ],
        };
        let parts = append(1, 9, request());
        assert_eq!(parts[2].as_ptr(), body.as_ptr());
        let wire = Bytes::from(parts.concat());
        let (group, stream, back) = open_append(&wire).expect("sound");
        assert_eq!((group, stream), (1, 9));
        assert_eq!(back.entries, request().entries);
        assert_eq!(
            (back.vote, back.prev_log_id, back.leader_commit),
            (
                request().vote,
                request().prev_log_id,
                request().leader_commit
            )
        );
        for cut in 0..wire.len() {
            assert!(open_append(&wire.slice(..cut)).is_err(), "cut at {cut}");
        }
        for at in 0..60 {
            let mut damaged = wire.to_vec();
            damaged[at] ^= 0xff;
            let _ = open_append(&damaged.into());
        }
    }
}
