//! A catalog and data groups, between which queues move: whoever carries and hands over stops anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_machine::Departure;
use millrace_model::command::CatalogCommand;
use millrace_model::outcome::Taken;
use millrace_model::{
    Command, GroupId, Outcome, Proposal, QueueId, Refusal, Revision, Timestamp, Topology,
};

use crate::world::Group;

/// All groups.
pub(crate) struct Groups {
    pub(crate) at: Timestamp,
    pub(crate) meta: Group,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// The catalog of before the last change.
    pub(crate) before: Arc<Topology>,
    /// Whether requests go by that one.
    pub(crate) lags: bool,
    /// How far each move is, as whoever hands over knows.
    pub(crate) taken: BTreeMap<(QueueId, Revision), Taken>,
    /// The last part that was handed over of each queue, and to whom.
    last: BTreeMap<QueueId, (GroupId, Proposal)>,
}

impl Groups {
    pub(crate) fn new(groups: u32) -> Self {
        let group = |id| (GroupId(id), Group::new(GroupId(id)));
        Self {
            at: Timestamp(1_000_000),
            meta: Group::new(GroupId::META),
            groups: (1..=groups).map(group).collect(),
            before: Arc::default(),
            lags: false,
            taken: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// The catalog that requests go by.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        if self.lags {
            self.before.clone()
        } else {
            self.meta.machine.topology()
        }
    }

    pub(crate) fn change(&mut self, command: CatalogCommand) -> Outcome {
        let before = self.meta.machine.topology();
        let outcome = self.meta.run(self.at, Command::Catalog(command));
        if self.meta.machine.revision() > before.revision {
            self.before = before;
        }
        outcome
    }

    /// A group hears of the catalog.
    pub(crate) fn adopt(&mut self, group: u32) {
        let group = self.groups.get_mut(&GroupId(group)).unwrap();
        let news = self.meta.machine.news(group.machine.revision(), group.id);
        group.run(self.at, Command::Adopt(news.unwrap()));
    }

    /// Everything that is due, everywhere.
    pub(crate) fn tick(&mut self) {
        for group in self.groups.values_mut() {
            group.run(self.at, Command::Tick);
            while group.machine.next_due().is_some_and(|due| due <= self.at) {
                group.run(self.at, Command::Tick);
            }
        }
    }

    /// Hands over the next part of a queue, at most so many entries; or the part of before once more.
    pub(crate) fn hand_over(&mut self, queue: QueueId, most: usize, again: bool) {
        if again {
            if let Some((to, part)) = self.last.get(&queue).cloned() {
                let group = self.groups.get_mut(&to).unwrap();
                group.apply(self.at, &[part]);
            }
            return;
        }
        self.may_leave(queue);
        let Some((home, departure)) = self.departure(queue) else {
            return;
        };
        let of = (queue, departure.revision);
        let taken = self.taken.get(&of).copied().unwrap_or(Taken::Begin);
        let Some(part) = self.groups[&home].portion(queue, taken, most) else {
            return self.may_end(home, departure.revision);
        };
        self.last.insert(queue, (departure.to, part.clone()));
        let begun = match &part.command {
            Command::TakeOver(it) => match &it.part {
                millrace_model::command::Part::Begin(queues) => {
                    queues.iter().map(|it| it.queue).collect()
                }
                _ => vec![queue],
            },
            other => panic!("{other:?}"),
        };
        let group = self.groups.get_mut(&departure.to).unwrap();
        match group.apply(self.at, &[part]).outcomes.remove(0) {
            Outcome::TakenOver(taken) => {
                let begun = begun.into_iter().map(|id| (id, departure.revision));
                self.taken.extend(begun.zip(taken));
            }
            Outcome::Refused(Refusal::StalePlan(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The group that a queue leaves.
    fn departure(&self, queue: QueueId) -> Option<(GroupId, Departure)> {
        let mut groups = self.groups.iter();
        groups.find_map(|(id, group)| {
            let mut departures = group.machine.departures();
            Some((*id, departures.find(|it| it.queue == queue)?))
        })
    }

    /// Ends a move of which everything is taken over.
    fn may_end(&mut self, home: GroupId, revision: Revision) {
        let mut of_move = self.groups[&home].machine.departures();
        let is_done = |it: Departure| {
            let taken = self.taken.get(&(it.queue, revision));
            it.revision != revision || taken == Some(&Taken::Done)
        };
        let is_over = of_move.all(is_done);
        drop(of_move);
        if is_over {
            self.change(CatalogCommand::EndMove { revision });
        }
    }

    /// Lets the queues of a move leave if their new group is ready.
    fn may_leave(&mut self, queue: QueueId) {
        let topology = self.meta.machine.topology();
        let mut bound = topology.placement.bound();
        let Some((_, moving)) = bound.find(|(id, _)| *id == queue) else {
            return;
        };
        let bound = topology.placement.bound();
        let together = bound.filter(|(_, it)| it.revision == moving.revision);
        let together = together.map(|(id, _)| id).collect();
        let home = &self.groups[&moving.from].machine;
        let ask = home.ask_part(moving.revision, together);
        let ask = Command::TakeOver(ask.take_over);
        let to = self.groups.get_mut(&moving.to).unwrap();
        match to.run(self.at, ask) {
            Outcome::TakenOver(taken) if !taken.contains(&Taken::Waits) => {
                assert!(taken.iter().all(|it| *it == Taken::Begin), "{taken:?}");
                let revision = moving.revision;
                self.change(CatalogCommand::Leave { revision });
            }
            Outcome::TakenOver(_) | Outcome::Refused(Refusal::StalePlan(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}
