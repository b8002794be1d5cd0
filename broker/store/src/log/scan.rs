//! Reads a segment record by record, and tells a torn tail from damage.

use bytes::Bytes;

use crate::fault::IoFault;
use crate::log::record::{ALIGN, HEADER_BYTES, Header, Kind, body_is_sound, table_bytes};
use crate::log::segment::{FIRST_RECORD, SegmentFile};

/// A record of a segment.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) offset: u32,
    /// Of votes and checkpoints only.
    pub(crate) body: Option<Bytes>,
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) records: Vec<Found>,
    /// Behind the last sound record.
    pub(crate) end: u32,
    /// The last sound record is the end record.
    pub(crate) ended: bool,
    /// What is at `end` instead of a record.
    pub(crate) reason: &'static str,
    /// The highest `synced` of the sound records.
    pub(crate) synced: u32,
}

/// What was found behind the end of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// A record that says that more was synced than can be read, and where it is.
    pub(crate) proof: Option<(u32, u32)>,
    /// Behind the last thing that looks like a record.
    pub(crate) end: u32,
}

/// Reads `file` into `buffer` and its records up to the first that is not sound.
pub(crate) fn scan(file: &SegmentFile, buffer: &mut Vec<u8>) -> Result<Scan, IoFault> {
    buffer.resize(file.size as usize, 0);
    file.read_at(buffer, 0)?;
    let mut scan = Scan {
        records: Vec::new(),
        end: FIRST_RECORD,
        ended: false,
        reason: "no end record",
        synced: FIRST_RECORD,
    };
    while !scan.ended {
        match next(file, buffer, scan.end) {
            Ok((found, end)) => scan.add(found, end),
            Err(reason) => {
                scan.reason = reason;
                break;
            }
        }
    }
    Ok(scan)
}

impl Scan {
    fn add(&mut self, found: Found, end: u32) {
        self.ended = found.header.kind == Kind::End;
        self.synced = self.synced.max(found.header.synced);
        self.records.push(found);
        self.end = end;
    }

    /// The records that are checkpoints.
    pub(crate) fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &Found> {
        self.records
            .iter()
            .filter(|found| found.header.kind == Kind::Checkpoint)
    }
}

fn next(file: &SegmentFile, buffer: &[u8], at: u32) -> Result<(Found, u32), &'static str> {
    let rest = buffer.get(at as usize..).unwrap_or_default();
    let header = Header::decode(rest, file.salt, at).ok_or("no sound record header")?;
    let record = rest
        .get(..header.record_bytes())
        .ok_or("a record reaches beyond the end of the segment")?;
    let (table, body) = (
        table_bytes(header.body_len as usize),
        header.body_len as usize,
    );
    let (table, body) = record[HEADER_BYTES..HEADER_BYTES + table + body].split_at(table);
    if !body_is_sound(&header, table, body) {
        return Err("the checksum of a record's body is wrong");
    }
    let control = matches!(header.kind, Kind::Vote | Kind::Checkpoint);
    let body = control.then(|| Bytes::copy_from_slice(body));
    let end = at + u32::try_from(record.len()).expect("it lies within the segment");
    Ok((
        Found {
            header,
            offset: at,
            body,
        },
        end,
    ))
}

/// Looks behind `bad`, the end of a scan, for what was written there in the segment's present life. Nobody but the
/// writer can make bytes that look like it: the checksum's salt is not known outside.
pub(crate) fn look_behind(file: &SegmentFile, buffer: &[u8], bad: u32) -> Behind {
    let mut behind = Behind {
        proof: None,
        end: bad,
    };
    for at in (bad..file.size).step_by(ALIGN) {
        let Some(header) = Header::decode(&buffer[at as usize..], file.salt, at) else {
            continue;
        };
        if header.synced > bad && behind.proof.is_none() {
            behind.proof = Some((at, header.synced));
        }
        let end = u64::from(at) + header.record_bytes() as u64;
        behind.end = behind
            .end
            .max(u32::try_from(end).unwrap_or(u32::MAX).min(file.size));
    }
    behind
}
