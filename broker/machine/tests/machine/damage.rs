//! Damaged rows and bodies: a fault, or a violation that the audit tells.

use bytes::Bytes;
use millrace_machine::{Machine, MemoryTables};
use millrace_model::{Batch, GroupId, Proposal, Tables, Timestamp};

use crate::words::{self, Line};
use crate::world::World;

/// A world with a row of every kind.
fn world() -> World {
    let mut world = World::new();
    let lines = [
        "put-topic orders",
        "put-queue dead",
        r#"put-queue inbox {"dead_letter": {"queue": "dead", "max_receives": 1}}"#,
        "put-plugin router 1 wasm-a",
        r#"put-subscription orders a {"to": {"queue": "inbox"}}"#,
    ];
    for line in lines {
        let proposal = words::catalog(&Line::parse(line)).unwrap();
        world.meta.apply(world.at, &[proposal]);
    }
    world.adopt();
    let revision = world.data.machine.revision();
    let lines = [
        "publish t1 one:q2,s1 two:q2,q1+500 key=1",
        "send q2 a b c",
        "receive q2 max=2",
        "nack q2 1#1/7",
        "send q1 x y",
        "purge q1",
        "send q1 z",
    ];
    for line in lines {
        let proposal = words::data(&Line::parse(line), revision).unwrap();
        world.data.apply(world.at, &[proposal]);
    }
    world
}

/// Whether opening and auditing find something wrong with the rows.
fn is_found(group: GroupId, tables: MemoryTables) -> bool {
    match Machine::open(group, tables) {
        Err(_) => true,
        Ok(machine) => machine
            .audit()
            .map_or(true, |violations| !violations.is_empty()),
    }
}

#[test]
fn a_row_that_is_cut_short_is_found() {
    let world = world();
    for group in [&world.meta, &world.data] {
        let tables = group.machine.tables();
        assert!(!is_found(group.id, tables.clone()));
        for (key, value) in tables.rows() {
            // News are read by `news`, a component's chunk is compared by its length.
            if value.is_empty() || key[0] == b'N' {
                continue;
            }
            let mut damaged = tables.clone();
            damaged.put(key, value[..value.len() - 1].to_vec());
            let swept = dead(&world, group.id, key);
            assert!(
                swept || is_found(group.id, damaged),
                "{key:?} was cut short"
            );
        }
    }
}

#[test]
fn a_row_that_is_lost_is_found() {
    let world = world();
    for group in [&world.meta, &world.data] {
        let tables = group.machine.tables();
        for key in tables.rows().keys().filter(|key| !matches!(key[0], b'N')) {
            // Lost configuration is a smaller catalog, a lost sequence a topic without events: only what
            // refers to them tells.
            if matches!(key[0], b'T' | b'S' | b'P' | b'a' | b't') || dead(&world, group.id, key) {
                continue;
            }
            let mut damaged = tables.clone();
            damaged.remove(key);
            let found = std::panic::catch_unwind(|| is_found(group.id, damaged));
            assert!(found.unwrap_or(true), "{key:?} was lost");
        }
    }
}

/// Whether a row waits to be swept: nobody looks at it before.
fn dead(world: &World, group: GroupId, key: &[u8]) -> bool {
    let purged = world.data.id == group && matches!(key[0], b'e' | b'd');
    purged && key[1..5] == [0, 0, 0, 1] && key[key.len() - 1] < 5
}

#[test]
fn a_body_that_is_damaged_is_a_fault() {
    let body = Batch::encode(Timestamp(1), []);
    let mut machine = Machine::open(GroupId::DATA, MemoryTables::default()).unwrap();
    assert!(machine.apply(1, &body[..body.len() - 1]).is_err());
    let line = "publish t1 one:";
    let mut proposal = words::data(&Line::parse(line), machine.revision()).unwrap();
    proposal.payloads = Vec::<Bytes>::new();
    let body = Batch::encode(Timestamp(1), [&proposal]);
    assert!(
        machine.apply(1, &body).is_err(),
        "a plan without its payloads"
    );
}

#[test]
fn a_change_of_the_catalog_in_a_data_group_is_a_fault() {
    let mut machine = Machine::open(GroupId::DATA, MemoryTables::default()).unwrap();
    let proposal: Proposal = words::catalog(&Line::parse("put-topic orders")).unwrap();
    let body = Batch::encode(Timestamp(1), [&proposal]);
    assert!(machine.apply(1, &body).is_err());
}
