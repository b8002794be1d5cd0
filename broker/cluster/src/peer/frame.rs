//! Frames: what goes over the peer port.
//!
//! ```text
//! frame  = length of body: u32 LE | kind: u8 | request id: u64 LE | crc32c of all before and of the body: u32 LE | body
//! ```
//! The length is checked against a limit before anything is allocated, and the buffer grows with what has arrived, so a
//! length that lies costs nothing. Bodies of log entries are sent from where they lie, never copied together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 17;

/// Largest body, in bytes: the largest entry of the log (48 MiB, three quarters of a segment), and room for its frame.
pub(crate) const FRAME_BYTES_MAX: usize = 49 << 20;

/// Largest body before both sides know each other, in bytes.
pub(crate) const HELLO_BYTES_MAX: usize = 16 << 10;

/// Bytes of a body that are allocated before any of it has arrived.
const BODY_BYTES_AT_ONCE: usize = 256 << 10;

/// Most buffers that one system call writes.
const SLICES_MAX: usize = 64;

const _: () = assert!(HELLO_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < u32::MAX as usize);

/// What a frame is. Numbers are never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The first frame of whoever connects: who is there.
    Hello = 1,
    /// The answer to it: come in.
    Welcome = 2,
    /// The other answer: why not. The last frame of a connection.
    Refused = 3,
    /// Are you there? Asked by whoever connected.
    Ping = 4,
    /// Yes.
    Pong = 5,
    /// Entries or a heartbeat, answered by itself.
    Append = 10,
    /// Entries of a stream of them, answered in order.
    StreamAppend = 11,
    /// A candidate asks for a vote.
    Vote = 12,
    /// It asks whether it would get it.
    PreVote = 13,
    /// The leader hands over.
    Transfer = 14,
    /// A snapshot begins: its group, vote and position.
    SnapshotBegin = 20,
    /// A chunk of it, opaque here.
    SnapshotChunk = 21,
    /// It is complete; answered when it is installed.
    SnapshotEnd = 22,
    /// A request of a client, forwarded.
    Request = 30,
    /// Nobody waits for that request any more.
    Cancel = 31,
    /// The answer to the request of the same id.
    Reply = 40,
    /// That request cannot be answered; the body says why, as text.
    Failed = 41,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Refused,
            4 => Self::Ping,
            5 => Self::Pong,
            10 => Self::Append,
            11 => Self::StreamAppend,
            12 => Self::Vote,
            13 => Self::PreVote,
            14 => Self::Transfer,
            20 => Self::SnapshotBegin,
            21 => Self::SnapshotChunk,
            22 => Self::SnapshotEnd,
            30 => Self::Request,
            31 => Self::Cancel,
            40 => Self::Reply,
            41 => Self::Failed,
            _ => return None,
        })
    }
}

/// A frame that came in.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) body: Bytes,
}

/// A frame on its way out; its body is `parts`, one after the other.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) parts: Vec<Bytes>,
}

impl Outgoing {
    /// A frame with a body of one part.
    pub(crate) fn new(kind: Kind, id: u64, body: impl Into<Bytes>) -> Self {
        let parts = vec![body.into()];
        Self { kind, id, parts }
    }

    /// Bytes of the body.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    fn header(&self) -> Bytes {
        let length = u32::try_from(self.bytes()).expect("senders keep bodies within the limit");
        let mut header = BytesMut::with_capacity(HEADER_BYTES);
        header.put_u32_le(length);
        header.put_u8(self.kind as u8);
        header.put_u64_le(self.id);
        let sum = self
            .parts
            .iter()
            .fold(crc32c::crc32c(&header), |sum, part| {
                crc32c::crc32c_append(sum, part)
            });
        header.put_u32_le(sum);
        header.freeze()
    }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Reads one frame with a body of at most `bytes_max`; `None` at a clean end.
///
/// # Errors
/// `InvalidData` for what is no frame, is too long or is damaged in between; else what the socket says.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    bytes_max: usize,
) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let mut fields = &header[..];
    let (length, kind) = (fields.get_u32_le() as usize, fields.get_u8());
    let (id, sum) = (fields.get_u64_le(), fields.get_u32_le());
    let kind = Kind::of(kind).ok_or_else(|| invalid(format!("no frame has the kind {kind}")))?;
    if length > bytes_max {
        let reason = format!("a frame of {length} bytes, at most {bytes_max} are taken");
        return Err(invalid(reason));
    }
    let body = read_body(reader, length).await?;
    let found = crc32c::crc32c_append(crc32c::crc32c(&header[..HEADER_BYTES - 4]), &body);
    if found != sum {
        return Err(invalid("the checksum of a frame does not match"));
    }
    Ok(Some(Frame { kind, id, body }))
}

async fn read_body<R: AsyncRead + Unpin>(reader: &mut R, length: usize) -> io::Result<Bytes> {
    let mut body = BytesMut::with_capacity(length.min(BODY_BYTES_AT_ONCE));
    let mut rest = reader.take(length as u64);
    while body.len() < length {
        if rest.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(body.freeze())
}

/// Frames as the buffers that a socket writes.
#[derive(Default)]
pub(crate) struct Parts {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Parts {
    /// Adds a frame at the end.
    pub(crate) fn push(&mut self, frame: Outgoing) {
        self.add(frame.header());
        frame.parts.into_iter().for_each(|part| self.add(part));
    }

    fn add(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// Writes some of it, in one system call where the socket can; how much is left.
    pub(crate) async fn write_some<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
    ) -> io::Result<usize> {
        if self.has_remaining() && writer.write_buf(self).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(self.bytes)
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let most = slices.len().min(SLICES_MAX);
        let mut count = 0;
        for (slice, part) in slices[..most].iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "no more is written than there was");
        self.bytes -= count;
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

/// Writes one frame and waits until the socket has it.
///
/// # Errors
/// What the socket says.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: Outgoing,
) -> io::Result<()> {
    let mut parts = Parts::default();
    parts.push(frame);
    while parts.write_some(writer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bytes(frame: Outgoing) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, frame).await.expect("memory takes it");
        bytes
    }

    #[tokio::test]
    async fn a_frame_comes_back_whole_and_what_is_damaged_or_too_long_is_refused() {
        let parts = vec!["one".into(), Bytes::new(), "two".into()];
        let sent = Outgoing {
            kind: Kind::Request,
            id: 7,
            parts,
        };
        let whole = bytes(sent).await;
        let frame = read(&mut &whole[..], 6).await.expect("sound").expect("one");
        assert_eq!(
            (frame.kind, frame.id, &frame.body[..]),
            (Kind::Request, 7, &b"onetwo"[..])
        );
        assert!(read(&mut &whole[..0], 6).await.expect("an end").is_none());
        assert!(read(&mut &whole[..], 5).await.is_err(), "too long");
        for cut in 1..whole.len() {
            assert!(read(&mut &whole[..cut], 6).await.is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x01;
            assert!(read(&mut &damaged[..], 1 << 30).await.is_err(), "{at}");
        }
    }

    #[tokio::test]
    async fn a_length_that_lies_allocates_no_more_than_what_comes() {
        let mut lie = vec![0xff, 0xff, 0xff, 0xff, Kind::Append as u8];
        lie.extend([0; 12]);
        let error = read(&mut &lie[..], FRAME_BYTES_MAX).await;
        assert_eq!(error.expect_err("cut").kind(), io::ErrorKind::InvalidData);
        lie[..4].copy_from_slice(&(40_u32 << 20).to_le_bytes());
        let error = read(&mut &lie[..], FRAME_BYTES_MAX).await;
        assert_eq!(error.expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
    }
}
