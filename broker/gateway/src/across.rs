//! What of plans lies in other groups than the one that accepts their events.

use millrace_model::command::{
    Delivery, Elsewhere, Park, Publish, PublishAcross, Unpark, UnparkAcross,
};
use millrace_model::{Command, GroupId, Ledger, Topology};

/// The data groups that a new topic or queue may be placed in: none to name when there is only one.
pub(crate) fn among(ledger: &dyn Ledger) -> Vec<GroupId> {
    let groups = ledger.data_groups();
    if groups.len() > 1 { groups } else { Vec::new() }
}

/// The command that publishes in group `home`.
pub(crate) fn publish(topology: &Topology, home: GroupId, publish: Publish) -> Command {
    let mut found = Finder::new(topology, home);
    for event in &publish.events {
        found.look(&event.deliveries, &event.parked);
    }
    let elsewhere = found.done();
    if elsewhere.is_empty() {
        return Command::Publish(publish);
    }
    Command::PublishAcross(PublishAcross { publish, elsewhere })
}

/// The command that delivers parked events in group `home`.
pub(crate) fn unpark(topology: &Topology, home: GroupId, unpark: Unpark) -> Command {
    let mut found = Finder::new(topology, home);
    for event in &unpark.events {
        found.look(&event.deliveries, &event.parked);
    }
    let elsewhere = found.done();
    if elsewhere.is_empty() {
        return Command::Unpark(unpark);
    }
    Command::UnparkAcross(UnparkAcross { unpark, elsewhere })
}

/// Finds what is not in one group.
struct Finder<'a> {
    topology: &'a Topology,
    home: GroupId,
    /// Whether there is more than one group to look in.
    looks: bool,
    elsewhere: Elsewhere,
}

impl<'a> Finder<'a> {
    fn new(topology: &'a Topology, home: GroupId) -> Self {
        Self {
            topology,
            home,
            looks: topology.placement.groups().any(|group| group != home),
            elsewhere: Elsewhere::default(),
        }
    }

    fn look(&mut self, deliveries: &[Delivery], parked: &[Park]) {
        if !self.looks {
            return;
        }
        let (home, placement) = (self.home, &self.topology.placement);
        let queues = deliveries.iter().map(|delivery| delivery.queue);
        let queues = queues.map(|queue| (queue, placement.queue(queue)));
        let queues = queues.filter(|(_, group)| *group != home);
        self.elsewhere.queues.extend(queues);
        let lists = parked.iter().map(|park| park.subscription);
        let lists = lists.map(|list| (list, placement.subscription(list)));
        let lists = lists.filter(|(_, group)| *group != home);
        self.elsewhere.subscriptions.extend(lists);
    }

    fn done(mut self) -> Elsewhere {
        self.elsewhere.queues.sort_unstable();
        self.elsewhere.queues.dedup();
        self.elsewhere.subscriptions.sort_unstable();
        self.elsewhere.subscriptions.dedup();
        self.elsewhere
    }
}
