//! A catalog and a data group with their logs.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_machine::{Applied, Machine, MemoryTables, Portion};
use millrace_model::command::Part;
use millrace_model::outcome::Taken;
use millrace_model::{
    Batch, Command, GroupId, Outcome, PayloadRef, Proposal, QueueId, Revision, Timestamp,
};

/// One group: a machine and the bodies that it applied.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) machine: Machine<MemoryTables>,
    pub(crate) log: BTreeMap<u64, Bytes>,
}

impl Group {
    pub(crate) fn new(id: GroupId) -> Self {
        let machine = Machine::open(id, MemoryTables::default()).unwrap();
        let log = BTreeMap::new();
        Self { id, machine, log }
    }

    /// Applies one batch and checks everything that can be checked.
    pub(crate) fn apply(&mut self, at: Timestamp, proposals: &[Proposal]) -> Applied {
        let applied = self.apply_unchecked(at, proposals);
        self.check();
        applied
    }

    /// Applies one batch.
    pub(crate) fn apply_unchecked(&mut self, at: Timestamp, proposals: &[Proposal]) -> Applied {
        let index = self.log.len() as u64 + 1;
        let count = proposals.len();
        let body = Batch::encode(at, proposals);
        let applied = self.machine.apply(index, &body).unwrap();
        assert_eq!(applied.outcomes.len(), count);
        self.log.insert(index, body);
        for (queue, ready) in &applied.touched {
            assert_eq!(self.machine.ready(*queue), *ready);
        }
        applied
    }

    /// Applies one command without payloads.
    pub(crate) fn run(&mut self, at: Timestamp, command: Command) -> Outcome {
        let mut applied = self.apply(at, &[Proposal::bare(command)]);
        applied.outcomes.remove(0)
    }

    /// Every invariant holds, and every live row holds a reference.
    pub(crate) fn check(&self) {
        assert_eq!(self.machine.audit().unwrap(), Vec::<String>::new());
        let rows = self.machine.tables().rows().keys();
        let holders = rows
            .filter(|key| matches!(key[0], b'e' | b'p' | b'o'))
            .count();
        let references: u64 = self.machine.tables().references().values().sum();
        assert_eq!(references, holders as u64, "references and their holders");
    }

    /// The next part of a queue that leaves, at most so many entries of it.
    pub(crate) fn portion(&self, queue: QueueId, taken: Taken, most: usize) -> Option<Proposal> {
        let portion = self.machine.next_part(queue, taken).unwrap()?;
        let Portion {
            mut take_over,
            mut places,
        } = portion;
        if let Part::Entries { until, entries, .. } = &mut take_over.part
            && entries.len() > most
        {
            *until = entries[most].sequence;
            entries.truncate(most);
            places.truncate(most);
        }
        if let Part::Keys { keys, is_last, .. } = &mut take_over.part
            && keys.len() > most
        {
            *is_last = false;
            keys.truncate(most);
        }
        let texts = places.iter().map(|place| self.text(*place).into());
        Some(Proposal {
            payloads: texts.collect(),
            command: Command::TakeOver(take_over),
        })
    }

    /// Opens the machine again from its rows.
    pub(crate) fn reopen(&mut self) {
        let tables = self.machine.tables().clone();
        let before = (self.machine.digest().unwrap(), self.machine.next_due());
        self.machine = Machine::open(self.id, tables).unwrap();
        let after = (self.machine.digest().unwrap(), self.machine.next_due());
        assert_eq!(before, after, "opening changes nothing");
        self.check();
    }

    /// The text of a payload.
    pub(crate) fn text(&self, place: PayloadRef) -> String {
        let from = place.offset as usize;
        let bytes = self.log[&place.index].slice(from..from + place.len as usize);
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

/// A catalog and data groups, one of which is looked at.
pub(crate) struct World {
    pub(crate) meta: Group,
    pub(crate) data: Group,
    pub(crate) at: Timestamp,
    /// The data groups that are not looked at.
    others: BTreeMap<GroupId, Group>,
    /// How far queues are handed over, as whoever does it knows.
    taken: BTreeMap<QueueId, Taken>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            meta: Group::new(GroupId::META),
            data: Group::new(GroupId::DATA),
            at: Timestamp(0),
            others: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Looks at another data group from here on; a new one is empty.
    pub(crate) fn focus(&mut self, id: GroupId) {
        let group = self.others.remove(&id).unwrap_or_else(|| Group::new(id));
        let before = std::mem::replace(&mut self.data, group);
        self.others.insert(before.id, before);
    }

    /// Carries what waits first for another group there, and leaves it here as if the answer had been lost.
    pub(crate) fn carry(&mut self, to: GroupId) -> (&Group, Applied) {
        let cargo = self.data.machine.cargo(to, 0).unwrap();
        let cargo = cargo.expect("something waits");
        let texts = cargo
            .places
            .iter()
            .map(|place| self.data.text(*place).into());
        let proposal = Proposal {
            payloads: texts.collect(),
            command: Command::Deliver(cargo.deliver),
        };
        let target = self.others.entry(to).or_insert_with(|| Group::new(to));
        let applied = target.apply(self.at, &[proposal]);
        (target, applied)
    }

    /// Hands over the next part of a queue that leaves, at most so many entries of it.
    pub(crate) fn hand_over(&mut self, queue: QueueId, most: usize) -> (&Group, Applied) {
        let mut departures = self.data.machine.departures();
        let departure = departures.find(|it| it.queue == queue).expect("it leaves");
        let taken = self.taken.get(&queue).copied().unwrap_or(Taken::Begin);
        let portion = self.data.portion(queue, taken, most).expect("a part");
        let target = self.others.entry(departure.to);
        let target = target.or_insert_with(|| Group::new(departure.to));
        let applied = target.apply(self.at, &[portion]);
        if let Outcome::TakenOver(taken) = &applied.outcomes[0] {
            self.taken.insert(queue, taken[0]);
        }
        (target, applied)
    }

    /// Asks another group whether it is ready for a queue.
    pub(crate) fn ask(
        &mut self,
        queue: QueueId,
        revision: Revision,
        to: GroupId,
    ) -> (&Group, Applied) {
        let part = self.data.machine.ask_part(revision, vec![queue]);
        let ask = Proposal::bare(Command::TakeOver(part.take_over));
        let target = self.others.entry(to).or_insert_with(|| Group::new(to));
        let applied = target.apply(self.at, &[ask]);
        (target, applied)
    }

    /// Whoever hands over forgets how far it is: the next one begins again.
    pub(crate) fn forget_taken(&mut self, queue: QueueId) {
        self.taken.remove(&queue);
    }

    /// Makes the data group adopt what the catalog has for it.
    pub(crate) fn adopt(&mut self) -> Applied {
        self.adopt_after(self.data.machine.revision())
    }

    /// The same by somebody who knew the group as it was at a revision.
    pub(crate) fn adopt_after(&mut self, after: Revision) -> Applied {
        let news = self.meta.machine.news(after, self.data.id).unwrap();
        let adopt = Proposal::bare(Command::Adopt(news));
        self.data.apply(self.at, &[adopt])
    }
}
