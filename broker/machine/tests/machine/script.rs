//! Runs one script: lines in, effects out.

use millrace_model::command::Adopt;
use millrace_model::query::States;
use millrace_model::{
    Command, GroupId, Proposal, Query, QueueId, Revision, SubscriptionId, Timestamp,
};

use crate::show;
use crate::words::{self, Line};
use crate::world::World;

/// A script that runs.
struct Script {
    world: World,
    /// Commands of the batch that is being written, if one is.
    batch: Option<Vec<Proposal>>,
}

/// Runs `text` and gives it back with the effects as they are. Effects stand behind their command, after
/// `= `; comments and empty lines stay.
pub(crate) fn run(text: &str) -> String {
    let mut script = Script {
        world: World::new(),
        batch: None,
    };
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("= ")) {
        out += line;
        out += "\n";
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for effect in script.step(&Line::parse(line)) {
            out += &format!("= {effect}\n");
        }
    }
    out
}

impl Script {
    fn step(&mut self, line: &Line<'_>) -> Vec<String> {
        let world = &mut self.world;
        if let Some(proposal) = words::catalog(line) {
            let applied = world.meta.apply(world.at, &[proposal]);
            return show::applied(&world.meta, &applied);
        }
        if let Some(proposal) = words::data(line, world.data.machine.revision()) {
            if let Some(batch) = &mut self.batch {
                batch.push(proposal);
                return vec![];
            }
            let applied = world.data.apply(world.at, &[proposal]);
            return show::applied(&world.data, &applied);
        }
        self.control(line).unwrap_or_else(|| self.ask(line))
    }

    /// Lines that steer the script.
    fn control(&mut self, line: &Line<'_>) -> Option<Vec<String>> {
        let world = &mut self.world;
        match line.verb {
            "at" => world.at = Timestamp(line.word(0).parse().unwrap()),
            "batch" => self.batch = Some(vec![]),
            "end" => {
                let applied = world.data.apply(world.at, &self.batch.take().unwrap());
                return Some(show::applied(&world.data, &applied));
            }
            "adopt" => {
                let applied = match line.number("after") {
                    Some(after) => world.adopt_after(Revision(after)),
                    None => world.adopt(),
                };
                return Some(show::applied(&world.data, &applied));
            }
            "adopt-nothing" => {
                let adopt = Adopt {
                    revision: Revision(line.word(0).parse().unwrap()),
                    after: None,
                    changes: vec![],
                };
                let proposal = Proposal::bare(Command::Adopt(adopt));
                let applied = world.data.apply(world.at, &[proposal]);
                return Some(show::applied(&world.data, &applied));
            }
            "group" => world.focus(GroupId(line.word(0).parse().unwrap())),
            "carry" => {
                let (group, applied) = world.carry(GroupId(line.word(0).parse().unwrap()));
                return Some(show::applied(group, &applied));
            }
            "hand-over" => {
                let most = line.number("max").unwrap_or(u64::MAX);
                let most = usize::try_from(most).unwrap();
                let (group, applied) = world.hand_over(QueueId(line.id(0)), most);
                return Some(show::applied(group, &applied));
            }
            "ask" => {
                let to = GroupId(line.number("group").unwrap() as u32);
                let revision = Revision(line.number("revision").unwrap());
                let (group, applied) = world.ask(QueueId(line.id(0)), revision, to);
                return Some(show::applied(group, &applied));
            }
            "hand-over-anew" => world.forget_taken(QueueId(line.id(0))),
            "outbox" => {
                let to = GroupId(line.word(0).parse().unwrap());
                let mut boxes = world.data.machine.outboxes();
                let outbox = boxes.find(|(group, _)| *group == to);
                return Some(vec![outbox.map_or("none".to_owned(), |(_, outbox)| {
                    let (first, rows) = (outbox.first, outbox.rows());
                    format!("{rows} from {first}, bytes {}", outbox.bytes)
                })]);
            }
            "dropped" => {
                let dropped = world.data.machine.dropped();
                let dropped = dropped.map(|(from, count)| format!("{count} from group {from}"));
                return Some(dropped.collect());
            }
            "reopen" => {
                world.meta.reopen();
                world.data.reopen();
            }
            _ => return None,
        }
        Some(vec![])
    }

    /// Lines that ask.
    fn ask(&self, line: &Line<'_>) -> Vec<String> {
        let World { meta, data, .. } = &self.world;
        let limit = line.number("limit").unwrap_or(100) as u32;
        let after = line.number("after");
        let query = match line.verb {
            "news" => {
                let group = GroupId(line.number("group").unwrap_or(1) as u32);
                let after = Revision(after.unwrap_or(0));
                return show::news(&meta.machine.news(after, group).unwrap());
            }
            "due" => {
                let due = data.machine.next_due();
                return vec![due.map_or("never".to_owned(), |due| due.0.to_string())];
            }
            "rows" => {
                let rows = data.machine.tables().rows().keys();
                let tag = line.word(0).as_bytes()[0];
                return vec![rows.filter(|key| key[0] == tag).count().to_string()];
            }
            "topology" => Query::Topology,
            "moving" => Query::Moving(QueueId(line.id(0))),
            "remembered" => Query::Remembered {
                queue: QueueId(line.id(0)),
                key: line.deduplication().unwrap().key,
            },
            "component" => Query::Component(line.word(0).to_owned()),
            "counters" => Query::Counters(QueueId(line.id(0))),
            "peek" => Query::Peek {
                queue: QueueId(line.id(0)),
                states: states(line.option("states").unwrap_or("ready,delayed,leased")),
                after,
                limit,
            },
            "parked" => Query::Parked {
                subscription: SubscriptionId(line.id(0)),
                after,
                limit,
            },
            verb => panic!("no script has the word {verb:?}"),
        };
        let catalog = matches!(query, Query::Topology | Query::Component(_));
        let group = if catalog { meta } else { data };
        show::answer(group, &group.machine.query(&query).unwrap())
    }
}

fn states(words: &str) -> States {
    let has = |state| words.split(',').any(|word| word == state);
    States {
        ready: has("ready"),
        delayed: has("delayed"),
        leased: has("leased"),
    }
}
