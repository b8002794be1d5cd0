//! Outcomes and answers in words.

use std::fmt::Write as _;

use millrace_machine::Applied;
use millrace_model::command::{Adopt, Change};
use millrace_model::outcome::{Lease, Settled, Taken};
use millrace_model::query::{EntryState, ParkedEvent, Peeked};
use millrace_model::{Answer, FormatVersion, GroupId, Outcome, Refusal, Timestamp, Topology};

use crate::world::Group;

/// A batch: each outcome, and then how many entries are ready where.
pub(crate) fn applied(group: &Group, applied: &Applied) -> Vec<String> {
    let outcomes = applied.outcomes.iter();
    let mut lines: Vec<_> = outcomes
        .flat_map(|outcome| self::outcome(group, outcome))
        .collect();
    let touched = applied.touched.iter().map(|(queue, ready)| match ready {
        Some(ready) => format!("q{queue}={ready}"),
        None => format!("q{queue} gone"),
    });
    let touched: Vec<_> = touched.collect();
    if !touched.is_empty() {
        lines.push(format!("ready: {}", touched.join(" ")));
    }
    lines
}

fn refused(refusal: &Refusal) -> String {
    if let Refusal::PreconditionFailed(present) = refusal {
        let present = present.map_or("nothing".to_owned(), |version| format!("version {version}"));
        return format!("{}: there is {present}", refusal.code());
    }
    format!("{}: {refusal}", refusal.code())
}

fn made(created: bool) -> &'static str {
    if created { "created" } else { "not created" }
}

fn outcome(group: &Group, outcome: &Outcome) -> Vec<String> {
    let line = match outcome {
        Outcome::Refused(refusal) => format!("refused {}", refused(refusal)),
        Outcome::Topic { topic, created } => {
            let (id, version) = (topic.id, topic.topic.version);
            format!("topic t{id} {} version {version}", made(*created))
        }
        Outcome::Subscription {
            subscription,
            created,
        } => {
            let (id, version) = (subscription.id, subscription.subscription.version);
            format!("subscription s{id} {} version {version}", made(*created))
        }
        Outcome::Queue { queue, created } => {
            let (id, version) = (queue.id, queue.queue.version);
            format!("queue q{id} {} version {version}", made(*created))
        }
        Outcome::Plugin { version, created } => {
            let (at, digest) = (version.uploaded_at.0, &version.digest);
            format!("plugin {} {digest} uploaded at {at}", made(*created))
        }
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::Adopted(revision) => format!("adopted {revision}"),
        Outcome::Accepted(events) => return events.iter().map(accepted).collect(),
        Outcome::Received(leases) if leases.is_empty() => "received nothing".to_owned(),
        Outcome::Received(leases) => {
            return leases
                .iter()
                .map(|lease| self::lease(group, lease))
                .collect();
        }
        Outcome::Settled(settled) => self::settled(settled),
        Outcome::Purged(count) => format!("purged {count}"),
        Outcome::Redriven(count) => format!("redriven {count}"),
        Outcome::Unparked(unparked) => {
            format!("redriven {}, parked {}", unparked.redriven, unparked.parked)
        }
        Outcome::Ticked { work } => format!("did {work}"),
        Outcome::Carried(upto) => format!("carried up to {upto}"),
        Outcome::TakenOver(taken) => {
            let taken: Vec<_> = taken.iter().map(self::taken).collect();
            format!("needs {}", taken.join(", "))
        }
    };
    vec![line]
}

/// What a queue that moves needs next.
fn taken(taken: &Taken) -> String {
    match taken {
        Taken::Waits => "to wait".to_owned(),
        Taken::Begin => "the beginning".to_owned(),
        Taken::Entries { next } => format!("entries from {next}"),
        Taken::Keys { after: None } => "keys".to_owned(),
        Taken::Keys { after: Some(key) } => format!("keys after {}", key[15]),
        Taken::Done => "nothing".to_owned(),
    }
}

fn accepted(event: &Result<millrace_model::outcome::Accepted, Refusal>) -> String {
    match event {
        Ok(event) => {
            let (sequence, deliveries) = (event.sequence, event.deliveries);
            format!("accepted {sequence}, deliveries {deliveries}")
        }
        Err(refusal) => format!("refused {}", refused(refusal)),
    }
}

fn lease(group: &Group, lease: &Lease) -> String {
    let (receipt, text) = (&lease.receipt, group.text(lease.payload));
    let mut line = format!(
        "received {}#{}/{} {text:?} enqueued {} first {} until {}",
        receipt.sequence,
        receipt.receive_count,
        receipt.nonce,
        lease.enqueued_at.0,
        lease.first_received_at.0,
        lease.visible_at.0
    );
    if let Some(source) = &lease.dead_letter_source {
        write!(line, " from {source}").unwrap();
    }
    line
}

fn settled(settled: &Settled) -> String {
    let failed = settled.failed.iter();
    let failed = failed.map(|(ordinal, refusal)| format!(", {ordinal} {}", refusal.code()));
    format!("settled {}{}", settled.done, failed.collect::<String>())
}

/// An answer.
pub(crate) fn answer(group: &Group, answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Refused(refusal) => vec![format!("refused {}", refused(refusal))],
        Answer::Component(bytes) => vec![format!("bytes {:?}", String::from_utf8_lossy(bytes))],
        Answer::Counters(counters) => {
            let age = counters.oldest_ready_age_seconds;
            let age = age.map_or("none".to_owned(), |age| format!("{age}s"));
            vec![format!(
                "ready {} leased {} delayed {} oldest {age} bytes {}",
                counters.ready, counters.leased, counters.delayed, counters.bytes
            )]
        }
        Answer::Peeked(entries) => entries.iter().map(|entry| peeked(group, entry)).collect(),
        Answer::Parked(events) => events.iter().map(|event| parked(group, event)).collect(),
        Answer::Topology(topology) => self::topology(topology),
        Answer::Moving(entries) => vec![format!("{entries} are not handed over")],
        Answer::Remembered(None) => vec!["not remembered".to_owned()],
        Answer::Remembered(Some(results)) => results.iter().map(accepted).collect(),
        Answer::Audit(audit) => vec![format!("violations {:?}", audit.violations)],
    }
}

fn peeked(group: &Group, entry: &Peeked) -> String {
    let state = match entry.state {
        EntryState::Ready => "ready",
        EntryState::Delayed => "delayed",
        EntryState::Leased => "leased",
    };
    let mut line = format!("{} {state} {:?}", entry.sequence, group.text(entry.payload));
    write!(line, " received {} times", entry.receive_count).unwrap();
    if let Some(Timestamp(until)) = entry.visible_at {
        write!(line, " until {until}").unwrap();
    }
    if let Some(source) = &entry.dead_letter_source {
        write!(line, " from {source}").unwrap();
    }
    line
}

fn parked(group: &Group, event: &ParkedEvent) -> String {
    format!(
        "{} {:?} at {} {} {:?} by {}",
        event.sequence,
        group.text(event.payload),
        event.parked_at.0,
        event.code,
        event.detail,
        event.plugin.as_deref().unwrap_or("nobody"),
    )
}

fn topology(topology: &Topology) -> Vec<String> {
    let mut lines = vec![format!("revision {}", topology.revision)];
    if topology.version > FormatVersion::MIN {
        lines.push(format!("format version {}", topology.version));
    }
    for (name, route) in &topology.topics {
        let (id, version) = (route.topic.id, route.topic.topic.version);
        let group = group_of(route.topic.group);
        lines.push(format!("topic {name} t{id} version {version}{group}"));
        for (name, subscription) in &route.subscriptions {
            let (id, version) = (subscription.id, subscription.subscription.version);
            lines.push(format!("  subscription {name} s{id} version {version}"));
        }
    }
    for (name, queue) in &topology.queues {
        let set = &queue.queue;
        let (created, updated) = (set.created_at.0, set.updated_at.0);
        let (id, version) = (queue.id, set.version);
        let group = group_of(queue.group);
        let moving = queue.moving.map_or_else(String::new, |it| {
            let verb = if it.leaves { "leaves" } else { "is to leave" };
            format!(" {verb} group {} for {}", it.from, it.to)
        });
        let left = queue.left.iter().map(|it| format!(" left group {it}"));
        let left: String = left.collect();
        lines.push(format!(
            "queue {name} q{id} version {version} created {created} updated {updated}{group}{moving}{left}"
        ));
    }
    for ((name, version), plugin) in &topology.plugins {
        lines.push(format!("plugin {name}@{version} {}", plugin.digest));
    }
    lines
}

/// A group other than the first.
fn group_of(group: GroupId) -> String {
    match group {
        GroupId::DATA => String::new(),
        group => format!(" in group {group}"),
    }
}

/// News.
pub(crate) fn news(news: &Adopt) -> Vec<String> {
    let mut lines = vec![format!("revision {}", news.revision)];
    lines.extend(news.changes.iter().map(|change| match change {
        Change::Queue {
            id,
            name,
            dead_letter,
            ..
        } => match dead_letter {
            Some(dead) => format!("queue {name} q{id} dead letters to q{dead}"),
            None => format!("queue {name} q{id}"),
        },
        Change::QueueDeleted { id } => format!("queue q{id} gone"),
        Change::TopicDeleted { id } => format!("topic t{id} gone"),
        Change::SubscriptionDeleted { id } => format!("subscription s{id} gone"),
        Change::SubscriptionGone { id } => format!("subscription s{id} gone for good"),
        Change::QueueLeaves { id, to, revision } => {
            format!("queue q{id} leaves for group {to} since {revision}")
        }
        Change::QueueAwaited {
            id,
            name,
            dead_letter,
            from,
            revision,
            ..
        } => {
            let dead = dead_letter.map_or_else(String::new, |id| format!(" dead letters to q{id}"));
            format!("queue {name} q{id} awaited from group {from} since {revision}{dead}")
        }
        Change::QueueStays { id } => format!("queue q{id} stays"),
        Change::QueueLeft { id, revision } => format!("queue q{id} left since {revision}"),
    }));
    lines
}
