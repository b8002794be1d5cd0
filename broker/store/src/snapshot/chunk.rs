//! One chunk of a snapshot.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_model::Fault;

/// The newest form of a snapshot that this broker reads, and the one it writes.
pub const FORMAT: u16 = 1;

/// Most bytes of a chunk behind its header.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Bytes of a chunk's header.
pub const CHUNK_HEADER_BYTES: usize = 28;

const MAGIC: &[u8; 4] = b"MRSC";

/// Where the checksum stands.
const SUM_AT: usize = CHUNK_HEADER_BYTES - 4;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    First = 1,
    Middle = 2,
    Last = 3,
}

/// A chunk without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) stream: u64,
    pub(crate) sequence: u32,
}

/// What went wrong with a chunk or with their order.
pub(crate) fn bad(reason: impl std::fmt::Display) -> Fault {
    Fault::new("receive a snapshot", reason)
}

impl Header {
    /// The chunk of `payload`.
    pub(crate) fn encode(self, payload: &[u8]) -> Bytes {
        assert!(payload.len() <= CHUNK_BYTES_MAX, "chunks are cut before");
        let mut chunk = BytesMut::with_capacity(CHUNK_HEADER_BYTES + payload.len());
        chunk.put_slice(MAGIC);
        chunk.put_u16_le(FORMAT);
        chunk.put_u8(self.kind as u8);
        chunk.put_u8(0);
        chunk.put_u64_le(self.stream);
        chunk.put_u32_le(self.sequence);
        chunk.put_u32_le(u32::try_from(payload.len()).expect("at most 1 MiB"));
        chunk.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&chunk), payload));
        chunk.put_slice(payload);
        chunk.freeze()
    }

    /// Header and payload of a chunk that came from outside.
    pub(crate) fn decode(chunk: &Bytes) -> Result<(Self, Bytes), Fault> {
        if chunk.len() > CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX {
            return Err(bad(format!("a chunk of {} bytes is too long", chunk.len())));
        }
        let Some(header) = chunk.first_chunk::<CHUNK_HEADER_BYTES>() else {
            return Err(bad(format!("a chunk of {} bytes is cut off", chunk.len())));
        };
        let [m0, m1, m2, m3, f0, f1, kind, _, rest @ ..] = *header;
        if [m0, m1, m2, m3] != *MAGIC {
            return Err(bad("this is no chunk of a snapshot"));
        }
        let format = u16::from_le_bytes([f0, f1]);
        if format != FORMAT {
            let reason = format!(
                "the snapshot has form {format}, this broker reads {FORMAT}: the sender is newer"
            );
            return Err(bad(reason));
        }
        let [
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
            q0,
            q1,
            q2,
            q3,
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
        ] = rest;
        let sequence = u32::from_le_bytes([q0, q1, q2, q3]);
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let payload = chunk.slice(CHUNK_HEADER_BYTES..);
        if payload.len() != len {
            let reason = format!("chunk {sequence} has {} bytes of {len}", payload.len());
            return Err(bad(reason));
        }
        let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..SUM_AT]), &payload);
        if sum != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(bad(format!(
                "the checksum of chunk {sequence} is wrong: it was damaged on the way"
            )));
        }
        let kind = match kind {
            1 => Kind::First,
            2 => Kind::Middle,
            3 => Kind::Last,
            other => {
                return Err(bad(format!(
                    "chunk {sequence} is of the unknown kind {other}"
                )));
            }
        };
        let stream = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let header = Self {
            kind,
            stream,
            sequence,
        };
        Ok((header, payload))
    }
}
