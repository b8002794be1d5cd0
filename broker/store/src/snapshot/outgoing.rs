//! The sending side.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_model::digest::Digester;
use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId, PayloadRef};

use crate::clock::Instant;
use crate::log::{GroupLog, LogError, LogPin};
use crate::snapshot::chunk::{CHUNK_BYTES_MAX, Header, Kind};
use crate::snapshot::{RECORD_HEADER_BYTES, RECORD_PAYLOAD, RECORD_ROW, VALUE_BYTES_MAX};
use crate::spill::{ReferenceOf, missing, window};
use crate::tables::{TableHandle, TableSnapshot, rows};

/// Places of payloads that are held in memory at once, 256 Ki: about 12 MiB. Each window costs a pass over the rows.
pub const WINDOW_PAYLOADS: usize = 256 << 10;

/// How old a snapshot may become while it is read, 30 minutes: it keeps segments of the log and old rows on the disk.
pub const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// Bytes of payloads that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A group at one moment: its rows, and all payloads that they refer to, kept from being given back. Cheap until it is
/// read; dropping it gives free what it keeps.
pub struct SnapshotSource {
    tables: TableSnapshot,
    log: GroupLog,
    floor: u64,
    reference: ReferenceOf,
    began: Instant,
    _pin: LogPin,
}

impl SnapshotSource {
    /// The group of `tables` and `log` as of now; `reference` reads its rows. Waits until the rows are in fjall, and
    /// synced if asked for: call it where blocking is fine.
    ///
    /// # Errors
    /// As [`TableHandle::snapshot`].
    pub fn take(
        tables: &TableHandle,
        log: GroupLog,
        reference: ReferenceOf,
        synced: bool,
    ) -> Result<Self, Fault> {
        // Before the view: what it refers to must not go in between.
        let mut pin = log.pin();
        let tables = tables.snapshot(synced)?;
        let segments: BTreeSet<_> = tables.live()?.into_keys().collect();
        pin.narrow(&segments);
        let floor = tables.spilled()?.floor;
        Ok(Self {
            tables,
            log,
            floor,
            reference,
            began: Instant::now(),
            _pin: pin,
        })
    }

    /// Which group it is of.
    pub fn group(&self) -> GroupId {
        self.tables.group()
    }

    /// The index of the last entry that the rows know of.
    pub fn applied(&self) -> u64 {
        self.tables.applied()
    }

    /// The system row `name`.
    ///
    /// # Errors
    /// A [`Fault`] when the row cannot be read.
    pub fn system(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.tables.system(name)
    }

    /// All of it in chunks, made as they are asked for. Each call begins a stream of its own.
    pub fn chunks(self: &Arc<Self>) -> Chunks {
        Chunks::new(Arc::clone(self))
    }

    fn payloads(&self, places: &[PayloadRef]) -> Result<Vec<Bytes>, Fault> {
        if places.iter().all(|place| place.index > self.floor) {
            match self.log.payloads(places) {
                Err(LogError::Missing { .. }) => {}
                found => return found.map_err(failed),
            }
        }
        places.iter().map(|place| self.payload(*place)).collect()
    }

    fn payload(&self, place: PayloadRef) -> Result<Bytes, Fault> {
        if place.index > self.floor {
            match self.log.payload(place.index, place.offset, place.len) {
                Err(LogError::Missing { .. }) => {}
                found => return found.map_err(failed),
            }
        }
        self.tables.payload(place)?.ok_or_else(|| missing(place))
    }
}

fn failed(error: impl fmt::Display) -> Fault {
    Fault::new("read a snapshot", error)
}

impl fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotSource")
            .field("group", &self.group())
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}

/// Where a stream stands.
enum Stage {
    First,
    Payloads { after: Option<PayloadRef> },
    Rows(Box<dyn Iterator<Item = Result<Row, Fault>> + Send>),
    Last,
    Done,
}

/// The chunks of a snapshot, in order. Reads the disk: iterate where blocking is fine. Ends after the first error.
pub struct Chunks {
    source: Arc<SnapshotSource>,
    stage: Stage,
    /// Places with their references that are yet to be read.
    window: std::vec::IntoIter<(PayloadRef, u64)>,
    /// Whether this window is the last.
    window_is_last: bool,
    out: BytesMut,
    stream: u64,
    sequence: u32,
    records: u64,
    digester: Digester,
}

impl Chunks {
    fn new(source: Arc<SnapshotSource>) -> Self {
        Self {
            source,
            stage: Stage::First,
            window: Vec::new().into_iter(),
            window_is_last: false,
            out: BytesMut::new(),
            stream: crate::log::random(),
            sequence: 0,
            records: 0,
            digester: Digester::default(),
        }
    }

    fn advance(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.source.began.elapsed() > AGE_MAX {
            return Err(failed("it took too long to be sent, and held up too much"));
        }
        loop {
            if self.out.len() >= CHUNK_BYTES_MAX {
                let payload = self.out.split_to(CHUNK_BYTES_MAX);
                return Ok(Some(self.chunk(Kind::Middle, &payload)));
            }
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::First => {
                    self.stage = Stage::Payloads { after: None };
                    return Ok(Some(self.first()));
                }
                Stage::Payloads { after } => self.stage = self.add_payloads(after)?,
                Stage::Rows(rows) => self.stage = self.add_rows(rows)?,
                Stage::Last if !self.out.is_empty() => {
                    self.stage = Stage::Last;
                    let payload = self.out.split();
                    return Ok(Some(self.chunk(Kind::Middle, &payload)));
                }
                Stage::Last => return Ok(Some(self.last())),
                Stage::Done => return Ok(None),
            }
        }
    }

    fn first(&mut self) -> Bytes {
        let group = self.source.group().0.to_le_bytes();
        let applied = self.source.applied().to_le_bytes();
        self.chunk(Kind::First, &[&group[..], &applied].concat())
    }

    fn last(&mut self) -> Bytes {
        let chunks = (self.sequence + 1).to_le_bytes();
        let records = self.records.to_le_bytes();
        let digest = self.digester.finish().0;
        self.chunk(Kind::Last, &[&chunks[..], &records, &digest].concat())
    }

    fn chunk(&mut self, kind: Kind, payload: &[u8]) -> Bytes {
        let header = Header {
            kind,
            stream: self.stream,
            sequence: self.sequence,
        };
        self.sequence += 1;
        header.encode(payload)
    }

    /// Adds some payloads; what is next.
    fn add_payloads(&mut self, mut after: Option<PayloadRef>) -> Result<Stage, Fault> {
        if self.window.len() == 0 {
            if self.window_is_last {
                return Ok(Stage::Rows(Box::new(self.source.tables.rows())));
            }
            let source = &self.source;
            let found = window(
                &source.tables,
                source.reference,
                after,
                WINDOW_PAYLOADS,
                |_| true,
            )?;
            self.window_is_last = found.len() < WINDOW_PAYLOADS;
            after = found.keys().next_back().copied().or(after);
            self.window = found.into_iter().collect::<Vec<_>>().into_iter();
        }
        let (mut some, mut bytes) = (Vec::new(), 0);
        while bytes < READ_BYTES
            && let Some((place, count)) = self.window.next()
        {
            bytes += place.len as usize;
            some.push((place, count));
        }
        let places: Vec<_> = some.iter().map(|(place, _)| *place).collect();
        let read = self.source.payloads(&places)?;
        for ((place, count), bytes) in some.iter().zip(read) {
            let value = [&count.to_le_bytes()[..], &bytes].concat();
            self.record(RECORD_PAYLOAD, &rows::payload_key(*place), &value)?;
        }
        Ok(Stage::Payloads { after })
    }

    fn add_rows(
        &mut self,
        mut rows: Box<dyn Iterator<Item = Result<Row, Fault>> + Send>,
    ) -> Result<Stage, Fault> {
        while self.out.len() < CHUNK_BYTES_MAX {
            let Some(row) = rows.next() else {
                return Ok(Stage::Last);
            };
            let (key, value) = row?;
            self.record(RECORD_ROW, &key, &value)?;
        }
        Ok(Stage::Rows(rows))
    }

    fn record(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let len = u32::try_from(value.len()).ok();
        let lens = u16::try_from(key.len())
            .ok()
            .zip(len.filter(|len| *len as usize <= VALUE_BYTES_MAX));
        let (key_len, value_len) =
            lens.ok_or_else(|| failed("a row is too long for a snapshot"))?;
        self.out
            .reserve(RECORD_HEADER_BYTES + key.len() + value.len());
        self.out.extend_from_slice(&[kind]);
        self.out.extend_from_slice(&key_len.to_le_bytes());
        self.out.extend_from_slice(&value_len.to_le_bytes());
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(value);
        self.digester.row(key, value);
        self.records += 1;
        Ok(())
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.stage = Stage::Done;
            self.out.clear();
        }
        next.transpose()
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("source", &self.source)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
