//! Queues of the catalog that move to another group.
//!
//! Queues that dead letters tie together move together, by one revision: an entry that dies goes from one to the other
//! within an entry of the log. Three revisions make a move. One tells the new group what to await; when that is ready, one
//! lets the queues leave; when all has arrived, one ends it. How they get there is told in `machine/src/moves`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_model::catalog::{Moving, Placement, Queue};
use millrace_model::command::Change;
use millrace_model::{
    GroupId, Name, Outcome, QueueConfig, Refusal, Revision, Tables, Topology, limit,
};

use super::{Changed, Changing};

impl<T: Tables> Changing<'_, T> {
    /// Begins to move a queue and its family; confirms when it is there, or on the way there.
    pub(super) fn move_queue(&mut self, name: &Name, to: GroupId) -> Changed {
        let queue = self.queue(name)?;
        match queue.moving {
            _ if queue.target() == to => {}
            Some(moving) if !moving.leaves && moving.from == to => self.stay(moving.revision),
            _ => self.begin(name, to)?,
        }
        let queue = self.queue(name)?;
        Ok(Outcome::Queue {
            queue,
            created: false,
        })
    }

    fn begin(&mut self, name: &Name, to: GroupId) -> Result<(), Refusal> {
        let family = family(self.topology, name);
        if family.len() > limit::MOVE_QUEUES_MAX {
            let what = "queues that dead letters tie together and that move at once";
            let most = limit::MOVE_QUEUES_MAX as u64;
            return Err(Refusal::LimitReached(what.to_owned(), most));
        }
        let queues = family.iter().map(|name| self.queue(name));
        let queues = queues.collect::<Result<Vec<_>, _>>()?;
        queues.iter().try_for_each(|queue| settled(queue))?;
        let revision = self.revise();
        for queue in &queues {
            let moving = Moving {
                from: queue.group,
                to,
                revision,
                leaves: false,
            };
            self.begin_one(queue, moving);
        }
        Ok(())
    }

    fn queue(&self, name: &Name) -> Result<Arc<Queue>, Refusal> {
        let queue = self.topology.queues.get(name).cloned();
        queue.ok_or_else(|| Refusal::QueueNotFound(name.to_string()))
    }

    fn begin_one(&mut self, queue: &Queue, moving: Moving) {
        let config = queue.queue.config.clone();
        let dead_letter = config.dead_letter.as_ref();
        let dead_letter = dead_letter.and_then(|it| self.topology.queues.get(&it.queue));
        let awaited = Change::QueueAwaited {
            id: queue.id,
            name: queue.name.clone(),
            dead_letter: dead_letter.map(|queue| queue.id),
            config,
            from: moving.from,
            revision: moving.revision,
        };
        self.tell(moving.to, awaited);
        self.replace(Queue {
            moving: Some(moving),
            ..queue.clone()
        });
        self.placement().begin_move(queue.id, moving);
    }

    /// The queues of a move, with what is known of it.
    fn moving(&self, of: Revision) -> Vec<(Arc<Queue>, Moving)> {
        let queues = self.topology.queues.values();
        let moving = queues.filter_map(|queue| Some((Arc::clone(queue), queue.moving?)));
        moving.filter(|(_, it)| it.revision == of).collect()
    }

    /// Queues that do not leave yet stay.
    fn stay(&mut self, of: Revision) {
        self.revise();
        for (queue, moving) in self.moving(of) {
            let id = queue.id;
            self.tell(moving.to, Change::QueueStays { id });
            self.placement().end_move(id, moving.from, moving.to);
            self.replace(Queue {
                moving: None,
                ..(*queue).clone()
            });
        }
    }

    /// Queues leave: from here on their new group takes all requests.
    pub(super) fn leave(&mut self, of: Revision) -> Outcome {
        let mut queues = self.moving(of);
        queues.retain(|(_, moving)| !moving.leaves);
        if !queues.is_empty() {
            self.revise();
        }
        for (queue, moving) in queues {
            let (id, to, revision) = (queue.id, moving.to, of);
            self.tell(moving.from, Change::QueueLeaves { id, to, revision });
            self.placement().leave(id);
            let left = queue.left.iter().copied().filter(|it| *it != to);
            self.replace(Queue {
                group: to,
                moving: Some(Moving {
                    leaves: true,
                    ..moving
                }),
                left: left.collect(),
                ..(*queue).clone()
            });
        }
        Outcome::Adopted(self.state.revision)
    }

    /// All queues of a move are there: deliveries go to their new group from here on.
    pub(super) fn end_move(&mut self, of: Revision) -> Outcome {
        let mut queues = self.moving(of);
        queues.retain(|(_, moving)| moving.leaves);
        if !queues.is_empty() {
            self.revise();
        }
        for (queue, moving) in queues {
            let (id, revision) = (queue.id, of);
            self.tell(moving.from, Change::QueueLeft { id, revision });
            self.placement().end_move(id, moving.to, moving.from);
            let mut left = queue.left.clone();
            left.push(moving.from);
            self.replace(Queue {
                moving: None,
                left,
                ..(*queue).clone()
            });
        }
        Outcome::Adopted(self.state.revision)
    }

    fn placement(&mut self) -> &mut Placement {
        &mut Arc::make_mut(self.topology).placement
    }

    fn replace(&mut self, queue: Queue) {
        self.write_queue(&queue);
        let queues = &mut Arc::make_mut(self.topology).queues;
        queues.insert(queue.name.clone(), Arc::new(queue));
    }

    /// Refuses to tie a queue to another by dead letters while one of them moves, or to part them.
    pub(super) fn check_moves(
        &self,
        config: &QueueConfig,
        before: Option<&Queue>,
    ) -> Result<(), Refusal> {
        let was = before.and_then(|before| before.queue.config.dead_letter.as_ref());
        let was = was.map(|dead_letter| &dead_letter.queue);
        let is = config.dead_letter.as_ref().map(|it| &it.queue);
        if was == is {
            return Ok(());
        }
        before.map_or(Ok(()), settled)?;
        let target = is.and_then(|name| self.topology.queues.get(name));
        target.map_or(Ok(()), |queue| settled(queue))
    }
}

/// Refuses what a queue that moves cannot have done to it.
fn settled(queue: &Queue) -> Result<(), Refusal> {
    let Some(moving) = queue.moving else {
        return Ok(());
    };
    let (name, from, to) = (&queue.name, moving.from, moving.to);
    Err(Refusal::MoveInProgress(format!(
        "queue {name:?} moves from group {from} to group {to}: wait until that is over"
    )))
}

/// All queues that dead letters tie to a queue, itself included.
fn family(topology: &Topology, name: &Name) -> BTreeSet<Name> {
    let mut ties = BTreeMap::<&Name, Vec<&Name>>::new();
    for queue in topology.queues.values() {
        if let Some(dead_letter) = &queue.queue.config.dead_letter {
            let (source, target) = (&queue.name, &dead_letter.queue);
            ties.entry(source).or_default().push(target);
            ties.entry(target).or_default().push(source);
        }
    }
    let mut family = BTreeSet::from([name.clone()]);
    let mut next = vec![name];
    while let Some(name) = next.pop() {
        for tied in ties.get(name).into_iter().flatten() {
            if family.insert((*tied).clone()) {
                next.push(tied);
            }
        }
    }
    family
}
