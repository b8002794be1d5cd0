//! A ledger of one node in memory: the machine itself, over maps, and nothing that is durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use millrace_machine::{Departure, Machine, MemoryTables};
use millrace_model::catalog::Moving;
use millrace_model::command::{CatalogCommand, Delivered, Receive};
use millrace_model::ledger::{
    ChangeError, GroupStatus, MemberChange, MemberStatus, Message, Status,
};
use millrace_model::outcome::Taken;
use millrace_model::{
    Answer, Batch, BoxFuture, Command, GroupId, Ledger, Outcome, PayloadRef, Proposal, Query,
    Refusal, Revision, Timestamp, Topology, Unavailable,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Clock;

/// A group: its machine, and the bodies of its log.
struct Group {
    machine: Machine<MemoryTables>,
    log: BTreeMap<u64, Bytes>,
}

impl Group {
    fn new(id: GroupId) -> Self {
        let machine = Machine::open(id, MemoryTables::default()).expect("empty tables");
        let log = BTreeMap::new();
        Self { machine, log }
    }

    fn apply(&mut self, at: Timestamp, proposal: &Proposal) -> Outcome {
        let index = self.log.len() as u64 + 1;
        let body = Batch::encode(at, [proposal]);
        let mut applied = self.machine.apply(index, &body).expect("sound tables");
        self.log.insert(index, body);
        applied.outcomes.remove(0)
    }

    fn payload(&self, place: PayloadRef) -> Bytes {
        let from = place.offset as usize;
        self.log[&place.index].slice(from..from + place.len as usize)
    }
}

/// What the door sees of a node.
pub(super) struct MemoryLedger {
    clock: Clock,
    groups: Mutex<Vec<Group>>,
    arrived: Notify,
    /// What every commit answers, while it is set.
    outage: Mutex<Option<Unavailable>>,
    /// How many publishes are still to be told that their plan is stale.
    stale: Mutex<usize>,
    /// Whether nobody hands over what moves.
    holds: Mutex<bool>,
}

impl MemoryLedger {
    pub(super) fn new(clock: Clock, data_groups: u32) -> Arc<Self> {
        let groups = (0..=data_groups).map(GroupId).map(Group::new).collect();
        Arc::new(Self {
            clock,
            groups: Mutex::new(groups),
            arrived: Notify::new(),
            outage: Mutex::new(None),
            stale: Mutex::new(0),
            holds: Mutex::new(false),
        })
    }

    /// Makes every commit fail so, or work again.
    pub(super) fn fail_with(&self, outage: Option<Unavailable>) {
        *self.outage.lock().unwrap() = outage;
    }

    /// Tells the next publishes that their plan is stale.
    pub(super) fn make_stale(&self, publishes: usize) {
        *self.stale.lock().unwrap() = publishes;
    }

    /// Lets queues that move stand still, or go on.
    pub(super) fn hold_moves(&self, holds: bool) {
        *self.holds.lock().unwrap() = holds;
        if !holds {
            let mut groups = self.groups();
            hand_over(self.clock.now(), &mut groups);
            self.arrived.notify_waiters();
        }
    }

    /// Queues leave, and nothing of them is handed over.
    pub(super) fn leave_moves(&self) {
        leave(self.clock.now(), &mut self.groups());
        self.arrived.notify_waiters();
    }

    /// Only the beginning of each move is handed over.
    pub(super) fn begin_moves(&self) {
        let (at, mut groups) = (self.clock.now(), self.groups());
        leave(at, &mut groups);
        for departure in departures(&groups) {
            hand_part_over(at, &mut groups, &departure, Taken::Begin);
        }
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Group>> {
        self.groups.lock().unwrap()
    }

    fn run(&self, group: GroupId, proposal: &Proposal) -> Result<Outcome, Unavailable> {
        if let Some(outage) = &*self.outage.lock().unwrap() {
            return Err(outage.clone());
        }
        if matches!(proposal.command, Command::Publish(_)) {
            let mut stale = self.stale.lock().unwrap();
            if *stale > 0 {
                *stale -= 1;
                return Ok(Outcome::Refused(Refusal::StalePlan(Revision(0))));
            }
        }
        // A receive brings nothing: waking receivers for it would wake the one that asks.
        let brings = !matches!(proposal.command, Command::Tick | Command::Receive(_));
        let mut groups = self.groups();
        let at = self.clock.now();
        let outcome = groups[group.0 as usize].apply(at, proposal);
        adopt(at, &mut groups);
        if !*self.holds.lock().unwrap() {
            hand_over(at, &mut groups);
        }
        carry(at, &mut groups);
        if brings {
            self.arrived.notify_waiters();
        }
        Ok(outcome)
    }

    fn lease(
        &self,
        group: GroupId,
        receive: Receive,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        self.run(group, &Proposal::bare(Command::Tick))?;
        let leases = match self.run(group, &Proposal::bare(Command::Receive(receive)))? {
            Outcome::Received(leases) => leases,
            // As the cluster tells whoever waits.
            Outcome::Refused(Refusal::QueueMoving(queue)) => {
                return Ok(Err(Refusal::QueueNotFound(queue)));
            }
            Outcome::Refused(refusal) => return Ok(Err(refusal)),
            other => panic!("a receive came to {other:?}"),
        };
        let groups = self.groups();
        let message = |lease: millrace_model::outcome::Lease| Message {
            event: groups[group.0 as usize].payload(lease.payload),
            lease,
        };
        Ok(Ok(leases.into_iter().map(message).collect()))
    }
}

/// Tells all data groups what changed in the catalog.
fn adopt(at: Timestamp, groups: &mut [Group]) {
    let (meta, data) = groups.split_first_mut().expect("group 0");
    for (id, group) in (1..).map(GroupId).zip(data) {
        if meta.machine.revision() > group.machine.revision() {
            let news = meta.machine.news(group.machine.revision(), id);
            group.apply(at, &Proposal::bare(Command::Adopt(news.expect("news"))));
        }
    }
}

/// Hands over whatever leaves, to its end.
fn hand_over(at: Timestamp, groups: &mut [Group]) {
    leave(at, groups);
    let leaving = departures(groups);
    for departure in &leaving {
        let mut taken = Taken::Begin;
        while taken != Taken::Done {
            taken = hand_part_over(at, groups, departure, taken);
            for group in &mut groups[1..] {
                group.apply(at, &Proposal::bare(Command::Tick));
            }
        }
    }
    for Departure { revision, .. } in leaving {
        let end = CatalogCommand::EndMove { revision };
        groups[0].apply(at, &Proposal::bare(Command::Catalog(end)));
    }
    adopt(at, groups);
}

/// Lets leave what is to move, when nothing is left of an earlier stay.
fn leave(at: Timestamp, groups: &mut [Group]) {
    for group in &mut groups[1..] {
        while group.machine.next_due().is_some_and(|due| due <= at) {
            group.apply(at, &Proposal::bare(Command::Tick));
        }
    }
    let topology = groups[0].machine.topology();
    for (_, Moving { revision, .. }) in topology.placement.bound() {
        let leave = CatalogCommand::Leave { revision };
        groups[0].apply(at, &Proposal::bare(Command::Catalog(leave)));
    }
    adopt(at, groups);
}

fn departures(groups: &[Group]) -> Vec<Departure> {
    let groups = groups.iter();
    groups
        .flat_map(|group| group.machine.departures())
        .collect()
}

/// Hands the next part of a queue over: what it needs then.
fn hand_part_over(
    at: Timestamp,
    groups: &mut [Group],
    departure: &Departure,
    taken: Taken,
) -> Taken {
    let leaves = |group: &&Group| group.machine.departures().any(|it| it == *departure);
    let Some(home) = groups.iter().find(leaves) else {
        return Taken::Done;
    };
    let part = home.machine.next_part(departure.queue, taken);
    let Some(part) = part.expect("sound tables") else {
        return Taken::Done;
    };
    let places = part.places.iter();
    let payloads = places.map(|place| home.payload(*place)).collect();
    let command = Command::TakeOver(part.take_over);
    let to = &mut groups[departure.to.0 as usize];
    match to.apply(at, &Proposal { command, payloads }) {
        Outcome::TakenOver(taken) => taken[0],
        other => panic!("a part came to {other:?}"),
    }
}

/// Carries what waits from each data group to each other one.
fn carry(at: Timestamp, groups: &mut [Group]) {
    for from in 1..groups.len() {
        for to in 1..groups.len() {
            let id = GroupId(to as u32);
            let home = &groups[from];
            let Some(cargo) = home.machine.cargo(id, 0).expect("sound tables") else {
                continue;
            };
            let places = cargo.places.iter();
            let payloads = places.map(|place| home.payload(*place)).collect();
            let (upto, command) = (cargo.last(), Command::Deliver(cargo.deliver));
            let outcome = groups[to].apply(at, &Proposal { command, payloads });
            let Outcome::Carried(upto) = outcome else {
                panic!("{outcome:?} up to {upto}");
            };
            let delivered = Command::Delivered(Delivered { to: id, upto });
            groups[from].apply(at, &Proposal::bare(delivered));
        }
    }
}

impl Ledger for MemoryLedger {
    fn commit(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> BoxFuture<'_, Result<Outcome, Unavailable>> {
        Box::pin(async move { self.run(group, &proposal) })
    }

    fn receive(
        &self,
        group: GroupId,
        receive: Receive,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Result<Vec<Message>, Refusal>, Unavailable>> {
        Box::pin(async move {
            let until = Instant::now() + wait;
            loop {
                let arrived = self.arrived.notified();
                let found = self.lease(group, receive)?;
                let is_empty = found.as_ref().is_ok_and(Vec::is_empty);
                if !is_empty || tokio::time::timeout_at(until, arrived).await.is_err() {
                    return Ok(found);
                }
            }
        })
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, Unavailable>> {
        let answer = self.groups()[group.0 as usize].machine.query(&query);
        Box::pin(async move { Ok(answer.expect("sound tables")) })
    }

    fn payloads(
        &self,
        group: GroupId,
        places: Vec<PayloadRef>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, Unavailable>> {
        let groups = self.groups();
        let group = &groups[group.0 as usize];
        let payloads: Vec<_> = places
            .into_iter()
            .map(|place| group.payload(place))
            .collect();
        Box::pin(async move { Ok(payloads) })
    }

    fn fresh(&self) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async { Ok(()) })
    }

    fn cluster(&self) -> BoxFuture<'_, Status> {
        Box::pin(async { self.status() })
    }

    /// A node alone: it can add nobody, and hand over to nobody.
    fn change_members(&self, change: MemberChange) -> BoxFuture<'_, Result<(), ChangeError>> {
        let answer = match change {
            MemberChange::Add { node: 2, .. } => Ok(()),
            MemberChange::Add { node, .. } => {
                Err(ChangeError::Unreachable(format!("node {node} is away")))
            }
            MemberChange::Remove { node: 1 } => Err(ChangeError::Conflict("the only one".into())),
            MemberChange::Remove { node } => Err(ChangeError::NotFound(node)),
            MemberChange::Transfer { node: 1, .. } => Ok(()),
            MemberChange::Transfer { .. } => Err(ChangeError::Unavailable("no leader".into())),
        };
        Box::pin(async { answer })
    }

    fn topology(&self) -> Arc<Topology> {
        self.groups()[0].machine.topology()
    }

    fn data_groups(&self) -> Vec<GroupId> {
        let count = self.groups().len() as u32;
        (1..count).map(GroupId).collect()
    }

    fn status(&self) -> Status {
        let outage = self.outage.lock().unwrap();
        let member = MemberStatus {
            node: 1,
            state: "leader".to_owned(),
            match_index: Some(1),
        };
        Status {
            node: 1,
            reasons: outage.iter().map(ToString::to_string).collect(),
            storage_full: false,
            groups: vec![GroupStatus {
                id: GroupId::META,
                leader: Some(1),
                term: 1,
                applied: 1,
                members: vec![member],
            }],
            ..Status::default()
        }
    }

    fn metrics(&self) -> String {
        "# TYPE millrace_log_bytes gauge\nmillrace_log_bytes 7".to_owned()
    }
}
