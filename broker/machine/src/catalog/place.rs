//! Where new topics and queues are placed.
//!
//! A queue that is named after a topic lives with it: `orders-email` and `orders.audit` with `orders`. So what belongs
//! together is accepted by one entry without anybody having to say so. What is named after nothing goes where the least
//! is, so that unrelated things spread. A dead-letter queue and its source are always together.

use std::ops::Bound;

use millrace_model::{GroupId, Name, Topology};

/// What may stand between the name of a thing and what is added to it.
const SEPARATORS: [char; 3] = ['-', '.', '_'];

/// The group of `among` for a new topic or queue.
pub(super) fn place(topology: &Topology, name: &Name, among: &[GroupId]) -> Option<GroupId> {
    let family = namesake(topology, name).or_else(|| follower(topology, name));
    let least = among
        .iter()
        .copied()
        .min_by_key(|group| (topology.placement.load(*group), *group));
    family.filter(|group| among.contains(group)).or(least)
}

/// The group of the topic or queue that has this name already, or that this name continues; the longest such name.
fn namesake(topology: &Topology, name: &Name) -> Option<GroupId> {
    let cuts = name.as_str().rmatch_indices(SEPARATORS);
    let shorter = cuts.map(|(at, _)| &name.as_str()[..at]);
    std::iter::once(name.as_str())
        .chain(shorter)
        .find_map(|name| {
            let topic = topology.topics.get(name).map(|route| route.topic.group);
            topic.or_else(|| topology.queues.get(name).map(|queue| queue.group))
        })
}

/// The group of the first queue or topic that continues this name.
fn follower(topology: &Topology, name: &Name) -> Option<GroupId> {
    SEPARATORS.into_iter().find_map(|separator| {
        let prefix = format!("{name}{separator}");
        let from = (Bound::Excluded(prefix.as_str()), Bound::Unbounded);
        let queue = topology.queues.range::<str, _>(from).next();
        let queue = queue.map(|(name, queue)| (name, queue.group));
        let topic = topology.topics.range::<str, _>(from).next();
        let topic = topic.map(|(name, route)| (name, route.topic.group));
        let mut next = [queue, topic].into_iter().flatten();
        let follower = next.find(|(name, _)| name.as_str().starts_with(&prefix));
        follower.map(|(_, group)| group)
    })
}
