//! The checker itself, with planted violations: a checker that finds nothing proves nothing.

use millrace_tests::{Fact, History, Outcome, Violation};

fn published(id: &str, data: &[u8], once: bool, outcome: Outcome) -> Fact {
    Fact::Published {
        id: id.to_owned(),
        digest: History::digest(data),
        queues: vec!["q".to_owned()],
        once,
        outcome,
    }
}

fn delivered(queue: &str, id: &str, data: &[u8], sequence: u64, asked_at: u64) -> Fact {
    Fact::Delivered {
        queue: queue.to_owned(),
        id: id.to_owned(),
        sequence,
        digest: History::digest(data),
        asked_at,
    }
}

fn acked(sequence: u64, answered_at: u64) -> Fact {
    Fact::Acked {
        queue: "q".to_owned(),
        sequence,
        answered_at,
    }
}

fn violations(facts: impl IntoIterator<Item = Fact>) -> Vec<Violation> {
    let history = History::default();
    facts.into_iter().for_each(|fact| history.record(fact));
    history.violations()
}

fn named(id: &str, queue: &str) -> (String, String) {
    (id.to_owned(), queue.to_owned())
}

#[test]
fn a_clean_history_passes() {
    let facts = [
        published("a", b"1", true, Outcome::Acknowledged),
        published("b", b"2", false, Outcome::Unknown),
        published("c", b"3", false, Outcome::Unknown),
        delivered("q", "a", b"1", 1, 1),
        delivered("q", "a", b"1", 1, 2),
        // Asked before the ack was answered: it may come.
        delivered("q", "a", b"1", 1, 3),
        acked(1, 4),
        // Unknown outcomes may come, also twice, or never.
        delivered("q", "b", b"2", 2, 5),
        delivered("q", "b", b"2", 3, 6),
    ];
    assert_eq!(violations(facts), []);
}

#[test]
fn a_lost_event_is_found() {
    let (id, queue) = named("a", "q");
    let facts = [published("a", b"1", false, Outcome::Acknowledged)];
    assert_eq!(violations(facts), [Violation::Lost { id, queue }]);
}

#[test]
fn an_invented_event_is_found() {
    let (id, queue) = named("ghost", "q");
    let facts = [delivered("q", "ghost", b"1", 1, 1)];
    assert_eq!(violations(facts), [Violation::NeverPublished { id, queue }]);
}

#[test]
fn an_event_that_was_refused_and_comes_is_found() {
    let (id, queue) = named("a", "q");
    let facts = [
        published("a", b"1", false, Outcome::Refused),
        delivered("q", "a", b"1", 1, 1),
    ];
    assert_eq!(violations(facts), [Violation::NeverPublished { id, queue }]);
}

#[test]
fn a_batch_that_is_applied_twice_is_found() {
    // Nobody tried these again, so each may come once only, with a key or without.
    let events = ["a", "b"];
    let published = events.map(|id| published(id, b"1", true, Outcome::Acknowledged));
    let times = [(1, "a"), (2, "b"), (3, "a"), (4, "b")];
    let delivered = times.map(|(at, id)| delivered("q", id, b"1", at, at));
    let twice = events.map(|id| {
        let (id, queue) = named(id, "q");
        Violation::Twice { id, queue }
    });
    assert_eq!(violations(published.into_iter().chain(delivered)), twice);
}

#[test]
fn an_event_in_the_wrong_queue_is_found() {
    let (id, queue) = named("a", "other");
    let facts = [
        published("a", b"1", false, Outcome::Unknown),
        delivered("other", "a", b"1", 1, 1),
    ];
    assert_eq!(violations(facts), [Violation::NeverPublished { id, queue }]);
}

#[test]
fn changed_bytes_are_found() {
    let (id, queue) = named("a", "q");
    let facts = [
        published("a", b"1", false, Outcome::Acknowledged),
        delivered("q", "a", b"2", 1, 1),
    ];
    assert_eq!(violations(facts), [Violation::OtherBytes { id, queue }]);
}

#[test]
fn an_acked_message_that_comes_back_is_found() {
    let queue = "q".to_owned();
    let facts = [
        published("a", b"1", false, Outcome::Acknowledged),
        delivered("q", "a", b"1", 7, 1),
        acked(7, 2),
        delivered("q", "a", b"1", 7, 3),
    ];
    let sequence = 7;
    assert_eq!(
        violations(facts),
        [Violation::BackAfterAck { queue, sequence }]
    );
}

#[test]
fn a_keyed_event_taken_twice_is_found() {
    let (id, queue) = named("a", "q");
    let facts = [
        published("a", b"1", true, Outcome::Acknowledged),
        delivered("q", "a", b"1", 1, 1),
        delivered("q", "a", b"1", 2, 2),
    ];
    assert_eq!(violations(facts), [Violation::Twice { id, queue }]);
}

fn moves(from: &str, to: &str) -> Fact {
    let (from, to) = (from.to_owned(), to.to_owned());
    Fact::Moves { from, to }
}

#[test]
fn what_was_moved_counts_as_delivered_and_belongs_where_it_came() {
    let facts = [
        moves("q", "dead"),
        moves("dead", "again"),
        published("a", b"1", true, Outcome::Acknowledged),
        delivered("again", "a", b"1", 1, 1),
    ];
    assert_eq!(violations(facts), []);
}

#[test]
fn a_moved_event_that_stays_where_it_was_is_found() {
    let ((id, queue), from) = (named("a", "q"), "q".to_owned());
    let facts = [
        moves("q", "dead"),
        published("a", b"1", true, Outcome::Acknowledged),
        // Asked before it came from the other queue: it may come.
        delivered("q", "a", b"1", 1, 1),
        delivered("dead", "a", b"1", 1, 2),
        Fact::Moved {
            id: id.clone(),
            from,
            answered_at: 3,
        },
        delivered("q", "a", b"1", 1, 4),
    ];
    assert_eq!(violations(facts), [Violation::StillThere { id, queue }]);
}

#[test]
fn what_a_plugin_made_is_due_in_its_queue_alone() {
    let (id, queue) = named("a", "q");
    let changed = Fact::Changed {
        id: id.clone(),
        queue: queue.clone(),
        digest: History::digest(b"2"),
    };
    let published = || published("a", b"1", false, Outcome::Acknowledged);
    let facts = [
        published(),
        changed.clone(),
        delivered("q", "a", b"2", 1, 1),
    ];
    assert_eq!(violations(facts), []);
    let facts = [published(), changed, delivered("q", "a", b"1", 1, 1)];
    assert_eq!(violations(facts), [Violation::OtherBytes { id, queue }]);
}
