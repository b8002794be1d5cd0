//! The receiving side.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use millrace_model::digest::Digester;
use millrace_model::tables::Row;
use millrace_model::{Fault, GroupId, PayloadRef};

use crate::snapshot::chunk::{Header, Kind, bad};
use crate::snapshot::{RECORD_HEADER_BYTES, RECORD_PAYLOAD, RECORD_ROW, VALUE_BYTES_MAX};
use crate::tables::{Staging, TableHandle, rows};

/// Bytes of records that are collected before they are written, 16 MiB.
pub const RUN_BYTES: usize = 16 << 20;

/// Bytes of the first chunk's payload.
const FIRST_BYTES: usize = 4 + 8;
/// Bytes of the last chunk's payload.
const LAST_BYTES: usize = 4 + 8 + 32;

/// A snapshot that is being received. Every call blocks; dropping it forgets what came. After an error it takes nothing
/// more: begin again.
pub struct Incoming {
    staging: Staging,
    stream: Option<u64>,
    sequence: u32,
    applied: u64,
    /// The beginning of a record.
    carry: BytesMut,
    payloads: Vec<(PayloadRef, u64, Bytes)>,
    rows: Vec<Row>,
    run_bytes: usize,
    records: u64,
    digester: Digester,
    ended: bool,
    fault: Option<Fault>,
}

impl Incoming {
    /// Begins to receive for the group of `tables`: one at a time. Nothing of the group is touched.
    ///
    /// # Errors
    /// As [`TableHandle::stage`].
    pub fn begin(tables: &TableHandle) -> Result<Self, Fault> {
        Ok(Self {
            staging: tables.stage()?,
            stream: None,
            sequence: 0,
            applied: 0,
            carry: BytesMut::new(),
            payloads: Vec::new(),
            rows: Vec::new(),
            run_bytes: 0,
            records: 0,
            digester: Digester::default(),
            ended: false,
            fault: None,
        })
    }

    /// Which group it is for.
    pub fn group(&self) -> GroupId {
        self.staging.group()
    }

    /// The sequence number of the chunk that must come next.
    pub fn expects(&self) -> u32 {
        self.sequence
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// It is damaged, cut off, too long, out of order, repeated, of another snapshot, of another group, or of a newer
    /// form; or the disk refused. All later calls fail.
    pub fn push(&mut self, chunk: &Bytes) -> Result<(), Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let taken = self.take(chunk);
        self.fault = taken.clone().err();
        taken
    }

    /// The last chunk came and everything agrees: makes it durable.
    ///
    /// # Errors
    /// Chunks are missing, or the disk refused.
    pub fn finish(mut self) -> Result<Staging, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.ended {
            return Err(bad(format!(
                "it ends after {} chunks, without the last one",
                self.sequence
            )));
        }
        self.staging.finish(self.applied)?;
        Ok(self.staging)
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), Fault> {
        let (header, payload) = Header::decode(chunk)?;
        self.check_order(&header)?;
        self.sequence += 1;
        match header.kind {
            Kind::First => self.first(&payload),
            Kind::Middle => {
                self.carry.extend_from_slice(&payload);
                while let Some((kind, key, value)) = self.record()? {
                    self.add(kind, &key, &value)?;
                }
                Ok(())
            }
            Kind::Last => self.last(&payload),
        }
    }

    fn check_order(&mut self, header: &Header) -> Result<(), Fault> {
        if self.ended {
            return Err(bad(format!(
                "chunk {} comes after the last one",
                header.sequence
            )));
        }
        if header.sequence != self.sequence {
            let reason = format!(
                "chunk {} came where {} was expected",
                header.sequence, self.sequence
            );
            return Err(bad(reason));
        }
        if *self.stream.get_or_insert(header.stream) != header.stream {
            return Err(bad(format!(
                "chunk {} belongs to another snapshot",
                header.sequence
            )));
        }
        if (header.kind == Kind::First) != (header.sequence == 0) {
            return Err(bad(format!(
                "chunk {} is of a kind that does not belong there",
                header.sequence
            )));
        }
        Ok(())
    }

    fn first(&mut self, payload: &Bytes) -> Result<(), Fault> {
        if payload.len() != FIRST_BYTES {
            return Err(bad("the first chunk has a wrong length"));
        }
        let mut rest = payload.clone();
        let group = GroupId(rest.get_u32_le());
        if group != self.group() {
            return Err(bad(format!(
                "it is of group {group}, not of {}",
                self.group()
            )));
        }
        self.applied = rest.get_u64_le();
        Ok(())
    }

    /// The next record, once all of it is here.
    fn record(&mut self) -> Result<Option<(u8, Bytes, Bytes)>, Fault> {
        let Some([kind, k0, k1, v0, v1, v2, v3]) =
            self.carry.first_chunk::<RECORD_HEADER_BYTES>().copied()
        else {
            return Ok(None);
        };
        let key_len = usize::from(u16::from_le_bytes([k0, k1]));
        let value_len = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        if value_len > VALUE_BYTES_MAX {
            return Err(bad(format!("a record of {value_len} bytes is too long")));
        }
        if self.carry.len() < RECORD_HEADER_BYTES + key_len + value_len {
            return Ok(None);
        }
        self.carry.advance(RECORD_HEADER_BYTES);
        let key = self.carry.split_to(key_len).freeze();
        let value = self.carry.split_to(value_len).freeze();
        Ok(Some((kind, key, value)))
    }

    fn add(&mut self, kind: u8, key: &Bytes, value: &Bytes) -> Result<(), Fault> {
        self.digester.row(key, value);
        self.records += 1;
        self.run_bytes += key.len() + value.len();
        match kind {
            RECORD_PAYLOAD => {
                let place = rows::read_payload_key(key);
                let count = value.first_chunk().map(|count| u64::from_le_bytes(*count));
                let found = place
                    .zip(count)
                    .ok_or_else(|| bad("a payload has no place or count"))?;
                self.payloads.push((found.0, found.1, value.slice(8..)));
            }
            RECORD_ROW => {
                if !self.payloads.is_empty() {
                    self.write()?;
                }
                self.rows.push((key.to_vec(), value.to_vec()));
            }
            other => return Err(bad(format!("a record is of the unknown kind {other}"))),
        }
        if self.run_bytes >= RUN_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Fault> {
        self.run_bytes = 0;
        if !self.payloads.is_empty() {
            self.staging
                .add_payloads(&std::mem::take(&mut self.payloads))?;
        }
        if !self.rows.is_empty() {
            self.staging.add_rows(std::mem::take(&mut self.rows))?;
        }
        Ok(())
    }

    fn last(&mut self, payload: &Bytes) -> Result<(), Fault> {
        if payload.len() != LAST_BYTES || !self.carry.is_empty() {
            return Err(bad(
                "the last chunk has a wrong length, or a record is cut off before it",
            ));
        }
        let mut rest = payload.clone();
        let (chunks, records) = (rest.get_u32_le(), rest.get_u64_le());
        let digest = self.digester.finish();
        if (chunks, records) != (self.sequence, self.records) || rest != digest.0[..] {
            let reason = format!(
                "the sender tells of {records} records in {chunks} chunks, {} came in {}; or their digests differ",
                self.records, self.sequence
            );
            return Err(bad(reason));
        }
        self.write()?;
        self.ended = true;
        Ok(())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("group", &self.group())
            .field("expects", &self.sequence)
            .finish_non_exhaustive()
    }
}
