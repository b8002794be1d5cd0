//! Reads records that are no longer in memory, and verifies what it reads.

use bytes::Bytes;
use millrace_model::GroupId;

use crate::fault::{Damage, IoFault};
use crate::log::index::{Place, Slot};
use crate::log::record::{
    BLOCK_BYTES, HEADER_BYTES, Header, Kind, blocks_are_sound, body_is_sound, record_bytes,
    table_bytes,
};
use crate::log::segment::SegmentFile;
use crate::log::{LogEntry, LogError};

/// How bytes of a segment are read: [`SegmentFile::read_at`], or [`SegmentFile::read_cached`].
pub(crate) type Fill = fn(&SegmentFile, &mut [u8], u32) -> Result<(), IoFault>;

/// Reads the entry of `group` at `place`.
pub(crate) fn entry(
    file: &SegmentFile,
    group: GroupId,
    place: &Place,
    fill: Fill,
) -> Result<LogEntry, LogError> {
    let Slot { offset, body_len } = place.slot;
    let mut record = vec![0; record_bytes(body_len as usize)];
    fill(file, &mut record, offset)?;
    let header = check_header(file, group, place, &record)?;
    let start = HEADER_BYTES + table_bytes(body_len as usize);
    let end = start + body_len as usize;
    if !body_is_sound(&header, &record[HEADER_BYTES..start], &record[start..end]) {
        return Err(damaged(file, place, "the checksum of the body is wrong"));
    }
    let body = Bytes::from(record).slice(start..end);
    Ok(LogEntry {
        term: header.id.term,
        index: header.id.index,
        tag: header.tag,
        body,
    })
}

/// Reads bytes `from..to` of the body of the entry at `place`. Of a large body only the blocks around them are read.
pub(crate) fn slice(
    file: &SegmentFile,
    group: GroupId,
    place: &Place,
    from: usize,
    to: usize,
    fill: Fill,
) -> Result<Bytes, LogError> {
    let Slot { offset, body_len } = place.slot;
    let body_len = body_len as usize;
    assert!(
        from <= to && to <= body_len,
        "the caller compared {from}..{to} with the length {body_len}"
    );
    if body_len <= BLOCK_BYTES {
        return Ok(entry(file, group, place, fill)?.body.slice(from..to));
    }
    let mut head = vec![0; HEADER_BYTES + table_bytes(body_len)];
    fill(file, &mut head, offset)?;
    let header = check_header(file, group, place, &head)?;
    let table = &head[HEADER_BYTES..];
    if crc32c::crc32c(table) != header.body_sum {
        return Err(damaged(
            file,
            place,
            "the checksum of the block checksums is wrong",
        ));
    }
    let first = from / BLOCK_BYTES;
    let start = first * BLOCK_BYTES;
    let end = to.next_multiple_of(BLOCK_BYTES).min(body_len);
    let mut blocks = vec![0; end - start];
    let at = head.len() + start;
    fill(
        file,
        &mut blocks,
        offset + u32::try_from(at).expect("the body lies within the segment"),
    )?;
    if !blocks_are_sound(table, first, &blocks) {
        return Err(damaged(file, place, "the checksum of a block is wrong"));
    }
    Ok(Bytes::from(blocks).slice(from - start..to - start))
}

fn check_header(
    file: &SegmentFile,
    group: GroupId,
    place: &Place,
    bytes: &[u8],
) -> Result<Header, LogError> {
    let header = Header::decode(bytes, file.salt, place.slot.offset);
    let expected = |header: &Header| {
        (header.kind, header.group, header.id, header.body_len)
            == (Kind::Entry, group, place.id, place.slot.body_len)
    };
    header.filter(expected).ok_or_else(|| {
        damaged(
            file,
            place,
            "the header of the record is not the one written",
        )
    })
}

fn damaged(file: &SegmentFile, place: &Place, reason: &str) -> LogError {
    let reason = format!(
        "entry {} of term {}: {reason}",
        place.id.index, place.id.term
    );
    Damage::new(&file.path, place.slot.offset.into(), reason).into()
}
