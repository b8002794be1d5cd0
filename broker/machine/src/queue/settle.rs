//! Ack, nack and extend: what consumers do with their leases.

use millrace_model::outcome::Settled;
use millrace_model::{PayloadRef, QueueId, Receipt, Refusal, Tables, Timestamp};

use super::Queue;
use super::entry::Source;
use crate::keys;

/// An entry that was received too often, on its way to the dead-letter queue. It keeps its reference.
#[derive(Debug)]
pub(crate) struct Dead {
    /// Where it goes.
    pub(crate) to: QueueId,
    /// Where it comes from.
    pub(crate) source: Box<Source>,
    /// The stored event.
    pub(crate) payload: PayloadRef,
}

impl Queue {
    /// Ends leases: the entries are done.
    pub(crate) fn ack<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        receipts: &[Receipt],
    ) -> Settled {
        settle(receipts, |receipt| {
            self.check(at, receipt)?;
            let entry = self.leases.remove(receipt.sequence);
            let entry = entry.expect("the receipt was checked against its lease");
            tables.remove(&keys::entry(self.id, receipt.sequence));
            tables.release(entry.payload, 1);
            self.discount(&entry);
            Ok(())
        })
    }

    /// Ends leases: the entries become ready, now or after `delay_ms`, or are dead.
    pub(crate) fn nack<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        receipts: &[Receipt],
        delay_ms: u64,
    ) -> (Settled, Vec<Dead>) {
        let due = (delay_ms > 0).then(|| at.plus_ms(delay_ms));
        let mut dead = Vec::new();
        let settled = settle(receipts, |receipt| {
            self.check(at, receipt)?;
            dead.extend(self.end_lease(tables, receipt.sequence, due));
            Ok(())
        });
        (settled, dead)
    }

    /// Sets the ends of leases anew.
    pub(crate) fn extend<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        receipts: &[Receipt],
        visibility_ms: u64,
    ) -> Settled {
        let visible_at = at.plus_ms(visibility_ms);
        settle(receipts, |receipt| {
            self.check(at, receipt)?;
            let entry = self.leases.extend(receipt.sequence, visible_at);
            let entry = entry.expect("the receipt was checked against its lease");
            tables.put(&keys::entry(self.id, receipt.sequence), entry.encode());
            Ok(())
        })
    }

    /// Whether a receipt names a lease that holds.
    fn check(&self, at: Timestamp, receipt: &Receipt) -> Result<(), Refusal> {
        if receipt.queue != self.id {
            return Err(Refusal::ReceiptInvalid);
        }
        let entry = self.leases.get(receipt.sequence);
        let holds = entry.is_some_and(|entry| {
            entry.receive_count == receipt.receive_count
                && entry
                    .lease
                    .is_some_and(|term| term.nonce == receipt.nonce && at < term.visible_at)
        });
        if holds {
            Ok(())
        } else if self.is_missing(receipt.sequence) {
            Err(Refusal::QueueMoving(self.rules.name.to_string()))
        } else {
            Err(Refusal::ReceiptExpired)
        }
    }

    /// Ends a lease without an ack. The entry is dead if it was received too often; otherwise it is ready
    /// again, or delayed until `due`.
    pub(super) fn end_lease<T: Tables>(
        &mut self,
        tables: &mut T,
        sequence: u64,
        due: Option<Timestamp>,
    ) -> Option<Dead> {
        let mut entry = self.leases.remove(sequence)?;
        let key = keys::entry(self.id, sequence);
        let rule = self.rules.dead_letter;
        if let Some(rule) = rule.filter(|rule| entry.receive_count >= rule.receives_max) {
            tables.remove(&key);
            self.discount(&entry);
            let name = self.rules.name.to_string();
            let source = Box::new(Source {
                queue: self.id,
                name,
            });
            return Some(Dead {
                to: rule.queue,
                source,
                payload: entry.payload,
            });
        }
        entry.lease = None;
        match due {
            Some(due) => self.delay(tables, sequence, &mut entry, due),
            None => {
                self.returned.insert(sequence);
            }
        }
        tables.put(&key, entry.encode());
        None
    }
}

/// Settles receipts one after the other; one that fails does not stop the others.
fn settle(receipts: &[Receipt], mut each: impl FnMut(&Receipt) -> Result<(), Refusal>) -> Settled {
    let mut settled = Settled::default();
    for (ordinal, receipt) in (0..).zip(receipts) {
        match each(receipt) {
            Ok(()) => settled.done += 1,
            Err(refusal) => settled.failed.push((ordinal, refusal)),
        }
    }
    settled
}
