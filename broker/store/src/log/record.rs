//! The frame of a record: 40 bytes of header, block checksums of a large body, the body, zeros up to 8 bytes.

use bytes::Bytes;
use millrace_model::GroupId;

use crate::log::LogId;

/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: usize = 40;
/// Every record begins at a multiple of this.
pub(crate) const ALIGN: usize = 8;
/// A body larger than this has a checksum for each block of this size, so that a slice can be verified alone.
pub(crate) const BLOCK_BYTES: usize = 16 << 10;

/// Tells records from anything else at a glance when damage is searched for what follows it.
const MAGIC: [u8; 2] = *b"mr";

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A Raft entry at (term, index).
    Entry = 1,
    /// The group's vote, in the body.
    Vote = 2,
    /// Entries after (term, index) are gone; all of them when the tag is 0.
    Truncate = 3,
    /// Entries up to (term, index) are gone.
    Purge = 4,
    /// The group has committed (term, index); nothing when the tag is 0.
    Committed = 5,
    /// Nothing but the `synced` hint.
    Seal = 6,
    /// The state of all groups and the list of live segments, in the body.
    Checkpoint = 7,
    /// The last record of a full segment.
    End = 8,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        const ALL: [Kind; 8] = [
            Kind::Entry,
            Kind::Vote,
            Kind::Truncate,
            Kind::Purge,
            Kind::Committed,
            Kind::Seal,
            Kind::Checkpoint,
            Kind::End,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What makes a checksum valid in one life of one segment file only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    pub(crate) fn new(segment: u64, nonce: u64) -> Self {
        Self(crc32c::crc32c_append(
            crc32c::crc32c(&nonce.to_le_bytes()),
            &segment.to_le_bytes(),
        ))
    }

    /// The offset is part of the salt: a record is valid in its own place only.
    fn at(self, offset: u32) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The caller's mark of an entry; elsewhere 1 when `id` is meant and 0 when there is none.
    pub(crate) tag: u8,
    pub(crate) group: GroupId,
    pub(crate) id: LogId,
    pub(crate) body_len: u32,
    /// Checksum of the body, or of its block checksums when it is larger than a block.
    pub(crate) body_sum: u32,
    /// Up to where this segment was known to be on disk when the record was written.
    pub(crate) synced: u32,
}

impl Header {
    /// A record of `kind` with no body, about `id`.
    pub(crate) fn bare(kind: Kind, group: GroupId, id: Option<LogId>) -> Self {
        let tag = u8::from(id.is_some());
        let id = id.unwrap_or(LogId::new(0, 0));
        Self {
            kind,
            tag,
            group,
            id,
            body_len: 0,
            body_sum: 0,
            synced: 0,
        }
    }

    /// The same header for a record with `body`.
    pub(crate) fn with_body(self, body: &Body) -> Self {
        let body_len = u32::try_from(body.bytes.len()).expect("a body is smaller than a segment");
        Self {
            body_len,
            body_sum: body.sum,
            ..self
        }
    }

    /// The id of a kind whose tag says whether there is one.
    pub(crate) fn optional_id(&self) -> Option<LogId> {
        (self.tag != 0).then_some(self.id)
    }

    pub(crate) fn encode(&self, salt: Salt, offset: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&MAGIC);
        bytes[6] = self.kind as u8;
        bytes[7] = self.tag;
        bytes[8..12].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_sum.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.synced.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.id.term.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.id.index.to_le_bytes());
        let sum = crc32c::crc32c_append(salt.at(offset), &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header at `offset`, unless `bytes` are anything else.
    pub(crate) fn decode(bytes: &[u8], salt: Salt, offset: u32) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        if bytes[4..6] != MAGIC
            || crc32c::crc32c_append(salt.at(offset), &bytes[4..]) != u32_at(bytes, 0)
        {
            return None;
        }
        Some(Self {
            kind: Kind::of(bytes[6])?,
            tag: bytes[7],
            group: GroupId(u32_at(bytes, 16)),
            id: LogId::new(u64_at(bytes, 24), u64_at(bytes, 32)),
            body_len: u32_at(bytes, 8),
            body_sum: u32_at(bytes, 12),
            synced: u32_at(bytes, 20),
        })
    }

    /// Bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> usize {
        record_bytes(self.body_len as usize)
    }
}

/// Bytes of a record whose body has `body_len`.
pub(crate) fn record_bytes(body_len: usize) -> usize {
    (HEADER_BYTES + table_bytes(body_len) + body_len).next_multiple_of(ALIGN)
}

/// Bytes of block checksums in front of a body of `body_len`.
pub(crate) fn table_bytes(body_len: usize) -> usize {
    if body_len <= BLOCK_BYTES {
        0
    } else {
        body_len.div_ceil(BLOCK_BYTES) * 4
    }
}

/// A body with its checksums.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// The block checksums; empty for a body of one block.
    pub(crate) table: Vec<u8>,
    pub(crate) sum: u32,
}

impl Body {
    pub(crate) fn new(bytes: Bytes) -> Self {
        if bytes.len() <= BLOCK_BYTES {
            let sum = crc32c::crc32c(&bytes);
            return Self {
                bytes,
                table: Vec::new(),
                sum,
            };
        }
        let table: Vec<u8> = bytes
            .chunks(BLOCK_BYTES)
            .flat_map(|block| crc32c::crc32c(block).to_le_bytes())
            .collect();
        let sum = crc32c::crc32c(&table);
        Self { bytes, table, sum }
    }
}

/// Whether `body` is what `header` was written with; `table` are the bytes between the two.
pub(crate) fn body_is_sound(header: &Header, table: &[u8], body: &[u8]) -> bool {
    if body.len() <= BLOCK_BYTES {
        return crc32c::crc32c(body) == header.body_sum;
    }
    crc32c::crc32c(table) == header.body_sum && blocks_are_sound(table, 0, body)
}

/// Whether `blocks` are the blocks of a body from number `first` on.
pub(crate) fn blocks_are_sound(table: &[u8], first: usize, blocks: &[u8]) -> bool {
    let mut blocks = blocks.chunks(BLOCK_BYTES).enumerate();
    blocks.all(|(n, block)| {
        let at = (first + n) * 4;
        table.len() >= at + 4 && u32_at(table, at) == crc32c::crc32c(block)
    })
}

/// The little-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

/// The little-endian number at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("a slice of eight bytes"),
    )
}
