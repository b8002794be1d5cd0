//! The body of a log entry: many commands with their payloads.
//!
//! ```text
//! body   = length of header: u32 LE | header | payloads, one after the other
//! header = version: u8 | postcard of (at, items)      the newest version that one of its commands is of
//! ```
//! The body is made once, by the leader, and stays the same bytes in the log, on the wire and in memory; a
//! payload is referred to by its place in it.

use bytes::{BufMut, Bytes, BytesMut};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::command::Command;
use crate::fault::Fault;
use crate::id::PayloadRef;
use crate::time::Timestamp;
use crate::version::{self, FormatVersion};

/// A command on its way to the log, with its payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The command.
    pub command: Command,
    /// Its payloads, which the command names by ordinal.
    pub payloads: Vec<Bytes>,
}

impl Proposal {
    /// A command without payloads.
    #[must_use]
    pub fn bare(command: Command) -> Self {
        Self {
            command,
            payloads: Vec::new(),
        }
    }

    /// About how many bytes it takes in a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// A command of few receipts or deliveries; the larger ones are bounded by their payloads.
        const COMMAND_BYTES: usize = 64;
        COMMAND_BYTES + self.payloads.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A decoded batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's clock when the batch was made. The machine never lets time go back.
    pub at: Timestamp,
    /// The commands, in order.
    pub items: Vec<Item>,
}

/// One command of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The command.
    pub command: Command,
    /// The lengths of its payloads.
    pub payload_lens: Vec<u32>,
}

impl Batch {
    /// Makes the body of a log entry. Inverse of [`Batch::decode`].
    #[must_use]
    pub fn encode<'p, I>(at: Timestamp, proposals: I) -> Bytes
    where
        I: IntoIterator<Item = &'p Proposal, IntoIter: Clone>,
    {
        let proposals = proposals.into_iter();
        let total = proposals.clone().map(Proposal::bytes).sum::<usize>();
        let version = proposals.clone().map(|proposal| proposal.command.since());
        let version = version.fold(FormatVersion::MIN, FormatVersion::max);
        let mut body = BytesMut::with_capacity(total + 64);
        body.put_u32_le(0);
        body.put_u8(u8::try_from(version.0).expect("far fewer versions than 256"));
        let header = Header {
            at,
            items: Items(proposals.clone()),
        };
        let header = postcard::to_extend(&header, Extender(body));
        let mut body = header
            .expect("commands have a binary form, and memory takes every write")
            .0;
        let header_len = length(body.len() - size_of::<u32>());
        body[..size_of::<u32>()].copy_from_slice(&header_len.to_le_bytes());
        let payloads = proposals.flat_map(|proposal| &proposal.payloads);
        payloads.for_each(|payload| body.put_slice(payload));
        body.freeze()
    }

    /// Reads the header of a body, and where its payloads begin.
    ///
    /// # Errors
    /// A [`Fault`] when the body is not one that [`Batch::encode`] made: the log is damaged, or newer.
    pub fn decode(body: &[u8]) -> Result<(Self, u32), Fault> {
        let fault = |reason: &str| Fault::new("decode a batch", reason);
        let (length, rest) = body.split_first_chunk().ok_or_else(|| fault("too short"))?;
        let header_len = u32::from_le_bytes(*length);
        let header = rest
            .get(..header_len as usize)
            .ok_or_else(|| fault("header past the end"))?;
        let (&version, header) = header.split_first().ok_or_else(|| fault("no version"))?;
        if !(FormatVersion::MIN.0..=FormatVersion::MAX.0).contains(&u16::from(version)) {
            return Err(fault(&version::newer("it", version, FormatVersion::MAX)));
        }
        let batch: Self =
            postcard::from_bytes(header).map_err(|error| fault(&error.to_string()))?;
        let start = header_len + 4;
        let payload_bytes: u64 = batch
            .items
            .iter()
            .flat_map(|item| &item.payload_lens)
            .map(|len| u64::from(*len))
            .sum();
        if u64::from(start) + payload_bytes != body.len() as u64 {
            return Err(fault("payloads do not fill the body"));
        }
        Ok((batch, start))
    }

    /// The places of all payloads of the batch, those of one item after those of the one before, for a body whose payloads
    /// begin at `start`.
    pub fn payloads(&self, index: u64, start: u32) -> impl Iterator<Item = PayloadRef> + '_ {
        let mut offset = start;
        let lens = self.items.iter().flat_map(|item| &item.payload_lens);
        lens.map(move |&len| {
            let place = PayloadRef { index, offset, len };
            offset += len;
            place
        })
    }
}

/// A [`Batch`] as it is written, of commands that stay where they are.
#[derive(Serialize)]
struct Header<I: Serialize> {
    at: Timestamp,
    items: I,
}

/// Its items.
struct Items<I>(I);

/// One [`Item`].
#[derive(Serialize)]
struct Written<'p> {
    command: &'p Command,
    payload_lens: Lengths<'p>,
}

struct Lengths<'p>(&'p [Bytes]);

impl<'p, I: Iterator<Item = &'p Proposal> + Clone> Serialize for Items<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The binary form begins with the number, which an iterator need not know.
        let mut items = serializer.serialize_seq(Some(self.0.clone().count()))?;
        for Proposal { command, payloads } in self.0.clone() {
            let payload_lens = Lengths(payloads);
            items.serialize_element(&Written {
                command,
                payload_lens,
            })?;
        }
        items.end()
    }
}

impl Serialize for Lengths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|payload| length(payload.len())))
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("limits keep a batch far below 4 GiB")
}

/// Lets the encoder write into a buffer that keeps its capacity.
struct Extender(BytesMut);

impl Extend<u8> for Extender {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Delivery, Publish, Routed, Send};
    use crate::id::{QueueId, Revision, TopicId};

    fn proposals() -> Vec<Proposal> {
        let send = Command::Send(Send {
            queue: QueueId(3),
            deduplication: None,
            delay_ms: Some(5),
        });
        let delivery = Delivery {
            queue: QueueId(1),
            payload: 1,
            delay_ms: None,
        };
        let routed = Routed {
            payloads: 2,
            deliveries: vec![delivery],
            parked: vec![],
        };
        let publish = Publish {
            topic: TopicId(1),
            revision: Revision(9),
            deduplication: None,
            events: vec![routed],
        };
        vec![
            Proposal {
                command: send,
                payloads: vec!["one".into(), "".into()],
            },
            Proposal::bare(Command::Tick),
            Proposal {
                command: Command::Publish(publish),
                payloads: vec!["two".into(), "three".into()],
            },
        ]
    }

    #[test]
    fn decoding_gives_what_was_encoded_and_where_the_payloads_lie() {
        let proposals = proposals();
        let body = Batch::encode(Timestamp(42), &proposals);
        let (batch, start) = Batch::decode(&body).expect("just encoded");
        assert_eq!(batch.at, Timestamp(42));
        let mut places = batch.payloads(7, start);
        for (item, proposal) in batch.items.iter().zip(&proposals) {
            assert_eq!(item.command, proposal.command);
            let own = places.by_ref().take(item.payload_lens.len());
            let bytes: Vec<_> = own
                .map(|at| body.slice(at.offset as usize..(at.offset + at.len) as usize))
                .collect();
            assert_eq!(bytes, proposal.payloads);
        }
        assert_eq!(places.next(), None);
    }

    #[test]
    fn a_batch_is_of_the_version_of_its_newest_command_and_a_newer_one_is_refused() {
        let version = |proposals: &[Proposal]| Batch::encode(Timestamp(42), proposals)[4];
        assert_eq!(version(&proposals()), 1, "older brokers read it");
        let to = FormatVersion::MAX;
        let raise = Command::Catalog(crate::command::CatalogCommand::RaiseVersion { to });
        let mut proposals = proposals();
        proposals.push(Proposal::bare(raise));
        assert_eq!(u16::from(version(&proposals)), to.0);
        let mut newer = Batch::encode(Timestamp(42), &proposals).to_vec();
        newer[4] += 1;
        let refused = Batch::decode(&newer).expect_err("newer").to_string();
        assert!(refused.contains("start the newer broker"), "{refused}");
    }

    #[test]
    fn damage_is_a_fault_and_never_a_panic() {
        let body = Batch::encode(Timestamp(42), &proposals());
        for cut in 0..body.len() {
            assert!(Batch::decode(&body[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 0xff;
            let _ = Batch::decode(&damaged);
        }
    }
}
