//! The end of the stream: the segment that is being written, and the records that are framed for it.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use millrace_model::GroupId;

use crate::fault::IoFault;
use crate::log::SegmentId;
use crate::log::checkpoint::Checkpoint;
use crate::log::record::{ALIGN, Body, HEADER_BYTES, Header, Kind};
use crate::log::segment::{FIRST_RECORD, PAGE_BYTES, SegmentFile};

/// What padding is made of.
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// A record that is ready to be written.
struct Framed {
    header: [u8; HEADER_BYTES],
    body: Option<Body>,
    /// Zeros behind it.
    pad: usize,
}

/// The segment that is being written, and the records that are framed for it.
pub(crate) struct Tail {
    pub(crate) file: Arc<SegmentFile>,
    /// Where the next record goes.
    pub(crate) next: u32,
    /// Up to where the segment is known to be on disk.
    pub(crate) synced: u32,
    /// The segment has its end record.
    ended: bool,
    /// Records that are to be written from `framed_from` on.
    framed: Vec<Framed>,
    framed_from: u32,
}

impl Tail {
    /// Goes on behind `next`, which is on disk.
    pub(crate) fn resume(file: Arc<SegmentFile>, next: u32, ended: bool) -> Self {
        Self {
            file,
            next,
            synced: next,
            ended,
            framed: Vec::new(),
            framed_from: next,
        }
    }

    /// Begins segment `id` in the file at `free` with the checkpoint that every segment begins with. Its content is
    /// synced, its name is not.
    pub(crate) fn begin(
        free: &Path,
        id: SegmentId,
        log: u64,
        size: u32,
        stream: &Checkpoint,
    ) -> Result<Self, IoFault> {
        let (file, header) = SegmentFile::begin(free, id, log, size)?;
        file.write_bytes_at(&header, 0)?;
        let mut tail = Self::resume(Arc::new(file), FIRST_RECORD, false);
        tail.synced = 0;
        tail.frame_checkpoint(stream);
        tail.write()?;
        tail.sync()?;
        Ok(tail)
    }

    /// Whether `bytes` more fit.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        !self.ended && self.next as usize + bytes <= self.file.size as usize
    }

    /// Bytes left.
    pub(crate) fn left(&self) -> u32 {
        if self.ended {
            0
        } else {
            self.file.size - self.next
        }
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_written(&self) -> bool {
        self.framed.is_empty()
    }

    /// Frames a record, which fits; returns its offset.
    pub(crate) fn frame(&mut self, header: Header, body: Option<Body>) -> u32 {
        let offset = self.next;
        let header = Header {
            synced: self.synced,
            ..header
        };
        let unpadded = HEADER_BYTES
            + body
                .as_ref()
                .map_or(0, |body| body.table.len() + body.bytes.len());
        let pad = header.record_bytes() - unpadded;
        assert!(pad < ALIGN, "the header tells the true length of the body");
        assert!(
            self.fits(header.record_bytes()),
            "records end before their segment does"
        );
        self.framed.push(Framed {
            header: header.encode(self.file.salt, offset),
            body,
            pad,
        });
        self.next += u32::try_from(header.record_bytes()).expect("it fits into the segment");
        offset
    }

    /// Frames a checkpoint, which fits.
    pub(crate) fn frame_checkpoint(&mut self, stream: &Checkpoint) {
        let body = Body::new(stream.encode());
        self.frame(
            Header::bare(Kind::Checkpoint, GroupId::META, None).with_body(&body),
            Some(body),
        );
    }

    /// Writes what is framed; returns how many records and bytes that was. After an error nothing is forgotten: the
    /// same bytes may be written again.
    pub(crate) fn write(&mut self) -> Result<(usize, u32), IoFault> {
        let mut slices = slices(&self.framed);
        slices.push(IoSlice::new(&ZEROS[..self.rest_of_page()]));
        self.file.write_at(&mut slices, self.framed_from)?;
        let written = (self.framed.len(), self.next - self.framed_from);
        self.framed.clear();
        self.framed_from = self.next;
        Ok(written)
    }

    /// Bytes from the end of what is framed to the end of its page. They are written too: of a page that is not in memory
    /// and is not written whole, Linux would first have to read the rest.
    fn rest_of_page(&self) -> usize {
        let next = self.next as usize;
        next.next_multiple_of(PAGE_BYTES)
            .min(self.file.size as usize)
            - next
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> Result<(), IoFault> {
        assert!(self.is_written(), "what is not written cannot be synced");
        self.file.sync()?;
        self.synced = self.next;
        Ok(())
    }

    /// Ends the segment for good; its end record is durable on return.
    pub(crate) fn end(&mut self) -> Result<(), IoFault> {
        if !self.ended {
            self.frame(Header::bare(Kind::End, GroupId::META, None), None);
            self.ended = true;
            self.write()?;
            self.sync()?;
        }
        Ok(())
    }
}

/// The bytes of `framed` in order, where they lie.
fn slices(framed: &[Framed]) -> Vec<IoSlice<'_>> {
    let mut slices = Vec::with_capacity(framed.len() * 4 + 1);
    for record in framed {
        slices.push(IoSlice::new(&record.header));
        if let Some(body) = &record.body {
            slices.push(IoSlice::new(&body.table));
            slices.push(IoSlice::new(&body.bytes));
        }
        slices.push(IoSlice::new(&ZEROS[..record.pad]));
    }
    slices.retain(|slice| !slice.is_empty());
    slices
}
