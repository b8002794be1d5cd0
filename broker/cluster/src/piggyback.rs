//! Receives that are proposed for those who wait, in the batch that brings what they wait for.
//!
//! A receiver that is woken by an applied event proposes its receive then, which is a second agreement and a second sync
//! for each event. At 1,000 events a second that was a fifth of the time from a publish to its receipt.

use std::collections::BTreeMap;

use millrace_model::command::{Carried, CarriedTo, Publish};
use millrace_model::{Command, Proposal, QueueId, limit};

/// A batch of more commands brings no receives along. A busy broker has larger answers when receivers are woken by what was
/// applied: of ten queues with 32 receivers, a batch of any size that brought them took a tenth off the rate.
const COMMANDS_MAX: usize = 4;

const _: () = assert!(COMMANDS_MAX < limit::BATCH_COMMANDS_MAX);

/// How many entries the commands of a batch bring to queues that can be received at once, as far as can be told before they are
/// applied; nothing of a batch that brings no receives along.
pub(crate) fn arrivals<'p>(
    proposals: impl ExactSizeIterator<Item = &'p Proposal>,
) -> BTreeMap<QueueId, u64> {
    let mut arrivals = BTreeMap::new();
    if proposals.len() > COMMANDS_MAX {
        return arrivals;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use millrace_model::command::{Deliver, Delivery, Elsewhere, PublishAcross, Routed, Send};
    use millrace_model::{GroupId, Revision, Timestamp, TopicId};

    const SOON: QueueId = QueueId(1);
    const LATER: QueueId = QueueId(2);

    /// One event for a queue at once, one that takes the queue's delay, one with a delay of its own.
    const DELAYS: [(QueueId, Option<u64>); 3] = [(SOON, Some(0)), (SOON, None), (LATER, Some(5))];

    fn publish() -> Publish {
        let delivery = |(queue, delay_ms)| Delivery {
            queue,
            payload: 0,
            delay_ms,
        };
        let event = Routed {
            payloads: 1,
            deliveries: DELAYS.map(delivery).to_vec(),
            parked: Vec::new(),
        };
        Publish {
            topic: TopicId(1),
            revision: Revision(1),
            deduplication: None,
            events: vec![event],
        }
    }

    fn deliver() -> Deliver {
        let carried = |(queue, delay_ms)| Carried {
            payload: 0,
            accepted_at: Timestamp(0),
            to: CarriedTo::Queue { queue, delay_ms },
        };
        Deliver {
            source: GroupId(2),
            first: 1,
            revision: Revision(1),
            items: DELAYS.map(carried).to_vec(),
        }
    }

    fn send(queue: QueueId, delay_ms: Option<u64>) -> Proposal {
        let command = Command::Send(Send {
            queue,
            deduplication: None,
            delay_ms,
        });
        let payloads = vec![Bytes::from_static(b"x"); 2];
        Proposal { command, payloads }
    }

    #[test]
    fn whatever_brings_entries_is_counted_and_what_it_delays_is_not() {
        let across = PublishAcross {
            publish: publish(),
            elsewhere: Elsewhere::default(),
        };
        let proposals = [
            Proposal::bare(Command::Publish(publish())),
            Proposal::bare(Command::PublishAcross(across)),
            Proposal::bare(Command::Deliver(deliver())),
            send(SOON, None),
        ];
        for proposal in &proposals {
            let one = arrivals(std::iter::once(proposal));
            assert_eq!(one, BTreeMap::from([(SOON, 2)]), "{proposal:?}");
        }
        let all = arrivals(proposals.iter());
        assert_eq!(all, BTreeMap::from([(SOON, 8)]));
        for nothing in [send(LATER, Some(5)), Proposal::bare(Command::Tick)] {
            assert!(arrivals(std::iter::once(&nothing)).is_empty());
        }
    }

    #[test]
    fn a_large_batch_brings_nothing_along() {
        let most = vec![send(SOON, None); COMMANDS_MAX];
        assert_eq!(arrivals(most.iter()).len(), 1);
        let more = vec![send(SOON, None); COMMANDS_MAX + 1];
        assert!(arrivals(more.iter()).is_empty());
    }
}
