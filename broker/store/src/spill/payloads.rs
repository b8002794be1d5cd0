//! Reading payloads, wherever they are.

use bytes::Bytes;
use millrace_model::{Fault, PayloadRef};

use crate::log::{GroupLog, LogError};
use crate::tables::TableHandle;

/// The payloads of one group: in the log, or moved out of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Payloads {
    log: GroupLog,
    tables: TableHandle,
}

impl Payloads {
    /// Of the group that `log` and `tables` both belong to.
    pub fn new(log: GroupLog, tables: TableHandle) -> Self {
        debug_assert_eq!(log.id(), tables.id(), "log and tables of one group");
        Self { log, tables }
    }

    /// The bytes of `places`, in the order asked; neighbours in the log are read from disk together. Every byte that
    /// comes from the disk is verified.
    ///
    /// # Errors
    /// A payload is in neither place (its last reference is gone), is damaged, or cannot be read.
    pub fn read(&self, places: &[PayloadRef]) -> Result<Vec<Bytes>, Fault> {
        let floor = self.tables.floor();
        if places.iter().all(|place| place.index > floor) {
            match self.log.payloads(places) {
                Err(LogError::Missing { .. }) => {}
                found => return found.map_err(failed),
            }
        }
        places.iter().map(|place| self.one(*place, floor)).collect()
    }

    /// As [`Payloads::read`], of those that are in memory or in the page cache: waits for no disk. `None` when one of them is
    /// not there, or anything else is wrong, which [`Payloads::read`] tells.
    pub fn at_hand(&self, places: &[PayloadRef]) -> Option<Vec<Bytes>> {
        let floor = self.tables.floor();
        if places.iter().any(|place| place.index <= floor) {
            return None;
        }
        self.log.payloads_at_hand(places)
    }

    fn one(&self, place: PayloadRef, floor: u64) -> Result<Bytes, Fault> {
        if place.index > floor {
            match self.log.payload(place.index, place.offset, place.len) {
                Err(LogError::Missing { .. }) => {}
                found => return found.map_err(failed),
            }
        }
        self.tables.payload(place)?.ok_or_else(|| missing(place))
    }
}

fn failed(error: LogError) -> Fault {
    const CONTEXT: &str = "read a payload";
    match error {
        LogError::Damage(damage) => Fault::damage(CONTEXT, damage),
        other => Fault::new(CONTEXT, other),
    }
}

/// The fault of a payload that is nowhere.
pub(crate) fn missing(place: PayloadRef) -> Fault {
    let PayloadRef { index, offset, len } = place;
    let reason = format!(
        "{len} bytes at {offset} of entry {index} are neither in the log nor outside of it"
    );
    Fault::new("read a payload", reason)
}
