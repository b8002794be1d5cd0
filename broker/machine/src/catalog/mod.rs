//! The catalog (group 0): topics, subscriptions, queues and plugin versions.

mod audit;
mod moving;
mod news;
mod open;
mod place;
mod plugin;
mod queue;
mod subscription;
mod topic;
mod version;

use std::sync::Arc;

use millrace_model::command::{CatalogCommand, Change, Expect};
use millrace_model::{
    Fault, GroupId, Name, Outcome, PayloadRef, Refusal, Revision, Tables, Timestamp, Topology,
    Versioned, row,
};

use crate::keys;
use crate::machine::Machine;
use crate::state::State;

/// The catalog in memory: one topology that everybody shares until it changes.
///
/// Invariants:
/// - The topology is what the rows say, at the revision of the state.
/// - Everything that configuration refers to exists: destinations, dead-letter queues and plugin versions.
/// - Topics form no cycle, and no chain of them is longer than [`millrace_model::limit::TOPIC_HOPS_MAX`].
/// - Every effective change is one revision; a confirmation is none.
#[derive(Debug)]
pub(crate) struct Catalog {
    topology: Arc<Topology>,
}

/// What a change of the catalog works on.
struct Changing<'a, T: Tables> {
    tables: &'a mut T,
    state: &'a mut State,
    topology: &'a mut Arc<Topology>,
    /// News of this revision so far.
    news: u32,
}

/// What comes of a change: refused, or done.
type Changed = Result<Outcome, Refusal>;

impl Catalog {
    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.topology.clone()
    }
}

impl<T: Tables> Machine<T> {
    /// Changes the catalog.
    pub(crate) fn run_catalog(
        &mut self,
        command: CatalogCommand,
        places: &[PayloadRef],
        body: &[u8],
    ) -> Result<Outcome, Fault> {
        if self.group != GroupId::META {
            return Err(Fault::new(
                "apply a change of the catalog",
                "this is a data group",
            ));
        }
        let mut change = Changing {
            tables: &mut self.tables,
            state: &mut self.state,
            topology: &mut self.catalog.topology,
            news: 0,
        };
        let changed = change.run(command, places, body)?;
        assert_eq!(
            self.catalog.topology.revision, self.state.revision,
            "the topology stands at the revision of the group"
        );
        Ok(changed.unwrap_or_else(Outcome::Refused))
    }
}

impl<T: Tables> Changing<'_, T> {
    fn run(
        &mut self,
        command: CatalogCommand,
        places: &[PayloadRef],
        body: &[u8],
    ) -> Result<Changed, Fault> {
        use CatalogCommand as C;
        Ok(match command {
            C::PutTopic {
                name,
                config,
                among,
                expect,
            } => self.put_topic(name, config, &among, expect),
            C::DeleteTopic {
                name,
                cascade,
                expect,
            } => self.delete_topic(&name, cascade, expect),
            C::PutSubscription {
                topic,
                name,
                config,
                expect,
            } => self.put_subscription(&topic, name, config, expect),
            C::DeleteSubscription {
                topic,
                name,
                expect,
            } => self.delete_subscription(&topic, &name, expect),
            C::PutQueue {
                name,
                config,
                group,
                among,
                expect,
            } => self.put_queue(name, config, (group, &among), expect),
            C::DeleteQueue { name, expect } => self.delete_queue(&name, expect),
            C::PutPlugin { version } => self.put_plugin(version, component(places, body)?),
            C::DeletePlugin { name, version } => return self.delete_plugin(&name, version),
            C::Forget { upto } => return self.forget(upto).map(Ok),
            C::RaiseVersion { to } => return self.raise_version(to).map(Ok),
            C::MoveQueue { name, to } => self.move_queue(&name, to),
            C::Leave { revision } => Ok(self.leave(revision)),
            C::EndMove { revision } => Ok(self.end_move(revision)),
        })
    }

    /// Begins an effective change: the next revision.
    fn revise(&mut self) -> Revision {
        self.state.revision.0 += 1;
        let revision = self.state.revision;
        Arc::make_mut(self.topology).revision = revision;
        revision
    }

    /// Tells the group that a change concerns of it. Belongs to the present revision.
    fn tell(&mut self, group: GroupId, change: Change) {
        let key = keys::news(self.state.revision, self.news);
        self.news += 1;
        let news = news::News { group, change };
        self.tables.insert(&key, row::encode_json(&news));
    }

    fn at(&self) -> Timestamp {
        self.state.at
    }

    /// Configuration at the revision that begins now, in place of `before`.
    fn versioned<C>(&mut self, before: Option<&Versioned<C>>, config: C) -> Versioned<C> {
        let at = self.at();
        Versioned {
            version: self.revise(),
            created_at: before.map_or(at, |before| before.created_at),
            updated_at: at,
            config,
        }
    }
}

/// Whether `present`, the version of the thing if it exists, is as expected.
fn check(expect: Expect, present: Option<Revision>) -> Result<(), Refusal> {
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => present.is_none(),
        Expect::Present => present.is_some(),
        Expect::Version(version) => present == Some(version),
    };
    if holds {
        Ok(())
    } else {
        Err(Refusal::PreconditionFailed(present))
    }
}

/// Whether there may be one more of `what`.
fn limit(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count < most {
        Ok(())
    } else {
        Err(Refusal::LimitReached(what.to_owned(), most as u64))
    }
}

/// The bytes of the component that came with a command.
fn component<'a>(places: &[PayloadRef], body: &'a [u8]) -> Result<&'a [u8], Fault> {
    let bytes = places.first().and_then(|place| {
        let from = place.offset as usize;
        body.get(from..from + place.len as usize)
    });
    bytes.ok_or_else(|| Fault::new("add a plugin version", "its component did not come with it"))
}

/// How a subscription is called in a message: its name needs its topic.
fn within(topic: &Name, name: &Name) -> String {
    format!("{topic}/{name}")
}
