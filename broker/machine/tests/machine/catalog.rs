//! Random changes of the catalog: every invariant holds after each, rows alone are enough to go on, and a data
//! group that adopts the news knows exactly the queues that there are.

use millrace_model::command::{CatalogCommand, Expect};
use millrace_model::plugin::{Description, PluginVersion, World as Kind};
use millrace_model::queue::DeadLetter;
use millrace_model::subscription::{Destination, Destinations, OnFailure, PluginBinding};
use millrace_model::topic::JsonDocument;
use millrace_model::{
    Command, GroupId, Name, Outcome, Proposal, QueueConfig, Revision, SubscriptionConfig,
    Timestamp, TopicConfig,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::World;

#[derive(Clone, Debug)]
enum Do {
    Topic(u8, bool),
    Queue(u8, u32, Option<u8>),
    Subscription(u8, u8, Vec<(bool, u8)>, Option<u8>),
    Plugin(u8, u8),
    DeleteTopic(u8, bool),
    DeleteQueue(u8),
    DeleteSubscription(u8, u8),
    DeletePlugin(u8),
    Adopt,
    Forget,
    Reopen,
}

fn command() -> impl Strategy<Value = Do> {
    let subscription = (
        0..12_u8,
        0..3_u8,
        vec((any::<bool>(), 0..12_u8), 1..3),
        plugin(),
    );
    prop_oneof![
        4 => (0..12_u8, any::<bool>()).prop_map(|(topic, small)| Do::Topic(topic, small)),
        4 => (0..12_u8, 0..40_u32, prop::option::of(0..12_u8))
            .prop_map(|(queue, delay, dead)| Do::Queue(queue, delay, dead)),
        16 => subscription.prop_map(|(topic, name, to, plugin)| {
            Do::Subscription(topic, name, to, plugin)
        }),
        2 => (0..3_u8, 0..2_u8).prop_map(|(version, bytes)| Do::Plugin(version, bytes)),
        2 => (0..12_u8, any::<bool>()).prop_map(|(topic, cascade)| Do::DeleteTopic(topic, cascade)),
        2 => (0..12_u8).prop_map(Do::DeleteQueue),
        3 => (0..12_u8, 0..3_u8).prop_map(|(topic, name)| Do::DeleteSubscription(topic, name)),
        1 => (0..3_u8).prop_map(Do::DeletePlugin),
        2 => Just(Do::Adopt),
        1 => Just(Do::Forget),
        1 => Just(Do::Reopen),
    ]
}

fn plugin() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.2, 0..3_u8)
}

fn name(letter: char, number: u8) -> Name {
    Name::new(&format!("{letter}{number}")).unwrap()
}

fn proposal(command: &Do) -> Option<Proposal> {
    use CatalogCommand as C;
    let expect = Expect::Any;
    let mut payloads = vec![];
    let command = match command {
        Do::Topic(topic, small) => C::PutTopic {
            among: vec![],
            name: name('t', *topic),
            config: TopicConfig {
                max_message_bytes: small.then_some(100),
                ..TopicConfig::default()
            },
            expect,
        },
        Do::Queue(queue, delay, dead) => C::PutQueue {
            among: vec![],
            name: name('q', *queue),
            config: QueueConfig {
                delay_seconds: u64::from(*delay),
                dead_letter: dead.map(|dead| DeadLetter {
                    queue: name('q', dead),
                    max_receives: 1,
                }),
                ..QueueConfig::default()
            },
            group: GroupId(1 + u32::from(*queue == 11)),
            expect,
        },
        Do::Subscription(topic, own, to, plugin) => C::PutSubscription {
            topic: name('t', *topic),
            name: name('s', *own),
            config: subscription(to, *plugin),
            expect,
        },
        Do::Plugin(version, bytes) => {
            payloads.push(vec![*bytes; 300_000].into());
            C::PutPlugin {
                version: plugin_version(*version, *bytes),
            }
        }
        Do::DeleteTopic(topic, cascade) => C::DeleteTopic {
            name: name('t', *topic),
            cascade: *cascade,
            expect,
        },
        Do::DeleteQueue(queue) => C::DeleteQueue {
            name: name('q', *queue),
            expect,
        },
        Do::DeleteSubscription(topic, own) => C::DeleteSubscription {
            topic: name('t', *topic),
            name: name('s', *own),
            expect,
        },
        Do::DeletePlugin(version) => C::DeletePlugin {
            name: name('p', 0),
            version: version.to_string(),
        },
        Do::Adopt | Do::Forget | Do::Reopen => return None,
    };
    let command = Command::Catalog(command);
    Some(Proposal { command, payloads })
}

fn subscription(to: &[(bool, u8)], plugin: Option<u8>) -> SubscriptionConfig {
    let destination = |(queue, number): &(bool, u8)| match queue {
        true => Destination::Queue(name('q', *number)),
        false => Destination::Topic(name('t', *number)),
    };
    let to = (0..)
        .zip(to)
        .map(|(at, to)| (name('d', at), destination(to)));
    SubscriptionConfig {
        filter: None,
        plugin: plugin.map(|version| PluginBinding {
            name: name('p', 0),
            version: version.to_string(),
            config: JsonDocument(serde_json::json!({"a": 1})),
        }),
        to: Destinations::Destinations(to.collect()),
        on_failure: OnFailure::Park,
        paused: false,
    }
}

fn plugin_version(version: u8, bytes: u8) -> PluginVersion {
    PluginVersion {
        name: name('p', 0),
        version: version.to_string(),
        digest: format!("sha256:{bytes:064}"),
        bytes: 300_000,
        uploaded_at: Timestamp(0),
        description: Description {
            world: Kind::Filter,
            imports: vec![],
            description: String::new(),
            config_schema: JsonDocument(serde_json::json!({})),
            destinations: vec![],
        },
    }
}

fn step(world: &mut World, command: &Do) {
    let before = world.meta.machine.topology();
    match (proposal(command), command) {
        (Some(proposal), _) => {
            let applied = world.meta.apply(world.at, &[proposal]);
            let after = world.meta.machine.topology();
            assert_eq!(applied.topology_changed, before != after);
            if matches!(applied.outcomes[0], Outcome::Refused(_)) {
                assert_eq!(before, after, "what is refused changes nothing");
            }
        }
        (None, Do::Forget) => {
            let upto = world.data.machine.revision();
            let forget = Command::Catalog(CatalogCommand::Forget { upto });
            world.meta.run(world.at, forget);
            let other = world.meta.machine.news(Revision(0), GroupId(2)).unwrap();
            assert_eq!(other.revision, world.meta.machine.revision());
        }
        (None, Do::Reopen) => world.meta.reopen(),
        (None, _) => {
            world.adopt();
            knows(world);
        }
    }
}

/// The data group knows the queues that are placed in it.
fn knows(world: &World) {
    let topology = world.meta.machine.topology();
    let placed = topology.queues.values();
    let placed = placed.filter(|queue| queue.group == GroupId::DATA);
    let mut placed: Vec<_> = placed.map(|queue| queue.id).collect();
    placed.sort_unstable();
    let known = world.data.machine.queues_ready();
    assert_eq!(known.iter().map(|(id, _)| *id).collect::<Vec<_>>(), placed);
    assert_eq!(world.data.machine.revision(), topology.revision);
}

proptest! {
    #[test]
    fn the_catalog_stays_whole(commands in vec(command(), 1..120)) {
        let mut world = World::new();
        for command in &commands {
            step(&mut world, command);
        }
        world.adopt();
        knows(&world);
    }
}
