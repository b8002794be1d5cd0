//! Receives that are proposed for those who wait, in the batch that brings what they wait for.
//!
//! A receiver that is woken by an applied event proposes its receive then, which is a second agreement and a second sync
//! for each event. At low load that was half of the time from a publish to its receipt.

use std::collections::BTreeMap;

use millrace_model::command::{Carried, CarriedTo, Publish};
use millrace_model::{Command, Proposal, QueueId, limit};

/// A batch of more commands brings no receives along. A busy broker has larger answers when receivers are woken by what was
/// applied: of ten queues with 32 receivers, a batch of any size that brought them took a tenth off the rate.
pub(crate) const COMMANDS_MAX: usize = 4;

const _: () = assert!(COMMANDS_MAX < limit::BATCH_COMMANDS_MAX);

/// How many entries commands bring to queues that can be received at once, as far as can be told before they are applied.
pub(crate) fn arrivals<'p>(
    proposals: impl Iterator<Item = &'p Proposal>,
) -> BTreeMap<QueueId, u64> {
    let mut arrivals = BTreeMap::new();
    for proposal in proposals {
        let mut arrive = |queue, delay_ms: Option<u64>, entries| {
            if delay_ms.is_none_or(|delay| delay == 0) {
                *arrivals.entry(queue).or_default() += entries;
            }
        };
        match &proposal.command {
            Command::Publish(publish) => published(publish, arrive),
            Command::PublishAcross(across) => published(&across.publish, arrive),
            Command::Send(send) => {
                let events = proposal.payloads.len() as u64;
                arrive(send.queue, send.delay_ms, events);
            }
            Command::Deliver(deliver) => delivered(&deliver.items, arrive),
            _ => {}
        }
    }
    arrivals
}

fn published(publish: &Publish, mut arrive: impl FnMut(QueueId, Option<u64>, u64)) {
    let deliveries = publish.events.iter().flat_map(|event| &event.deliveries);
    deliveries.for_each(|delivery| arrive(delivery.queue, delivery.delay_ms, 1));
}

fn delivered(items: &[Carried], mut arrive: impl FnMut(QueueId, Option<u64>, u64)) {
    for item in items {
        if let CarriedTo::Queue { queue, delay_ms } = &item.to {
            arrive(*queue, *delay_ms, 1);
        }
    }
}
