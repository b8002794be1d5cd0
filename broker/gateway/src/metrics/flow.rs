//! Events and messages that pass the door.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::publish::Receipt;

/// Counts of events and messages.
#[derive(Debug)]
pub(crate) struct Flow {
    published: Counter,
    delivered: Counter,
    parked: Counter,
    dropped: Counter,
    warned: Counter,
    sent: Counter,
    received: Counter,
    acked: Counter,
}

impl Flow {
    /// Counters at zero, known to `registry`.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut counter = |name: &str, about: &str| {
            let counter = Counter::default();
            registry.register(format!("millrace_{name}"), about, counter.clone());
            counter
        };
        Self {
            published: counter("events_published", "Events accepted by topics"),
            delivered: counter("events_delivered", "Entries that published events became"),
            parked: counter("events_parked", "Events that went to parked lists"),
            dropped: counter(
                "events_dropped",
                "Published events that nothing took or parked",
            ),
            warned: counter(
                "events_warned",
                "Events that break a schema that only warns",
            ),
            sent: counter("events_sent", "Events accepted by queues directly"),
            received: counter("messages_received", "Messages leased to consumers"),
            acked: counter("messages_acked", "Messages acknowledged"),
        }
    }

    /// Counts what came of a publish.
    pub(crate) fn published(&self, receipts: &[Receipt]) {
        let (mut published, mut delivered, mut parked, mut dropped) = (0, 0, 0, 0);
        for receipt in receipts {
            let Ok(accepted) = &receipt.result else {
                continue;
            };
            published += 1;
            delivered += u64::from(accepted.deliveries);
            parked += receipt.parked as u64;
            dropped += u64::from(accepted.deliveries == 0 && receipt.parked == 0);
        }
        let counts = [
            (&self.published, published),
            (&self.delivered, delivered),
            (&self.parked, parked),
            (&self.dropped, dropped),
        ];
        // All cores count in the same place, so what adds nothing is left out.
        let counts = counts.into_iter().filter(|(_, more)| *more > 0);
        counts.for_each(|(counter, more)| {
            counter.inc_by(more);
        });
    }

    /// Counts an event that breaks the schema of a topic that only warns.
    pub(crate) fn warned(&self) {
        self.warned.inc();
    }

    /// Counts what came of a send.
    pub(crate) fn sent(&self, receipts: &[Receipt]) {
        let accepted = receipts.iter().filter(|receipt| receipt.result.is_ok());
        self.sent.inc_by(accepted.count() as u64);
    }

    /// Counts messages handed to a consumer.
    pub(crate) fn received(&self, messages: usize) {
        self.received.inc_by(messages as u64);
    }

    /// Counts messages that are done.
    pub(crate) fn acked(&self, messages: u32) {
        self.acked.inc_by(messages.into());
    }
}
