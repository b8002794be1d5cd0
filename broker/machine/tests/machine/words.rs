//! The words of a script line become a command.

use bytes::Bytes;
use millrace_model::command::{
    CatalogCommand, Deduplication, Delivered, Delivery, Elsewhere, Expect, Extend, Nack, Park,
    Publish, PublishAcross, Receive, Redrive, RedriveAcross, Routed, Send, Settle, Unpark,
    UnparkAcross, Unparked,
};
use millrace_model::plugin::{Description, World};
use millrace_model::topic::JsonDocument;
use millrace_model::{
    Command, DeduplicationKey, FormatVersion, GroupId, Name, PluginVersion, Proposal, QueueId,
    Receipt, Revision, SubscriptionId, Timestamp, TopicId,
};
use serde::de::DeserializeOwned;

/// A line: its verb, its plain words, its `name=value` words and its JSON.
pub(crate) struct Line<'a> {
    pub(crate) verb: &'a str,
    words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
    json: Option<&'a str>,
}

const OPTIONS: &[&str] = &[
    "after",
    "among",
    "away",
    "cascade",
    "delay",
    "expect",
    "group",
    "key",
    "limit",
    "max",
    "nonce",
    "request",
    "revision",
    "states",
    "to",
    "visibility",
    "window",
];

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a str) -> Self {
        let (line, json) = match line.find(" {") {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let mut all = line.split_whitespace();
        let verb = all.next().unwrap();
        let (mut words, mut options) = (Vec::new(), Vec::new());
        for word in all {
            match word.split_once('=') {
                Some((name, value)) if OPTIONS.contains(&name) => options.push((name, value)),
                _ => words.push(word),
            }
        }
        Self {
            verb,
            words,
            options,
            json,
        }
    }

    pub(crate) fn word(&self, at: usize) -> &'a str {
        self.words
            .get(at)
            .unwrap_or_else(|| panic!("{} lacks word {at}", self.verb))
    }

    pub(crate) fn option(&self, name: &str) -> Option<&'a str> {
        let mut options = self.options.iter();
        options
            .find(|(own, _)| *own == name)
            .map(|(_, value)| *value)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.option(name).map(|value| value.parse().unwrap())
    }

    /// The number behind a letter: `q1`, `t2`, `s3`.
    pub(crate) fn id(&self, at: usize) -> u32 {
        id(self.word(at))
    }

    fn name(&self, at: usize) -> Name {
        Name::new(self.word(at)).unwrap()
    }

    fn config<C: DeserializeOwned>(&self) -> C {
        serde_json::from_str(self.json.unwrap_or("{}")).unwrap()
    }

    fn expect(&self) -> Expect {
        match self.option("expect") {
            None => Expect::Any,
            Some("absent") => Expect::Absent,
            Some("present") => Expect::Present,
            Some(version) => Expect::Version(Revision(version.parse().unwrap())),
        }
    }

    pub(crate) fn deduplication(&self) -> Option<Deduplication> {
        let key = self.number("key")?;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&key.to_be_bytes());
        let request = self.number("request").unwrap_or(0);
        Some(Deduplication {
            key: DeduplicationKey {
                key: bytes,
                request,
            },
            window_ms: self.number("window").unwrap_or(300_000),
        })
    }

    /// Groups that a new thing may be placed in: `among=1,2`.
    fn among(&self) -> Vec<GroupId> {
        let groups = self.option("among").into_iter();
        let groups = groups.flat_map(|groups| groups.split(','));
        groups
            .map(|group| GroupId(group.parse().unwrap()))
            .collect()
    }

    /// What is in other groups: `away=q2@2,s1@3`.
    fn elsewhere(&self) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        let away = self.option("away").into_iter();
        for (thing, group) in away.flat_map(|away| away.split(',')).map(at_group) {
            if thing.starts_with('q') {
                elsewhere.queues.push((QueueId(id(thing)), group));
            } else {
                let subscription = SubscriptionId(id(thing));
                elsewhere.subscriptions.push((subscription, group));
            }
        }
        elsewhere
    }

    fn receipts(&self) -> Vec<Receipt> {
        let queue = QueueId(self.id(0));
        let receipts = self.words[1..].iter();
        receipts.map(|word| receipt(queue, word)).collect()
    }
}

/// A thing and its group: `q2@2`.
fn at_group(text: &str) -> (&str, GroupId) {
    let (thing, group) = text.split_once('@').unwrap();
    (thing, GroupId(group.parse().unwrap()))
}

/// The number behind a letter.
fn id(word: &str) -> u32 {
    word[1..].parse().unwrap()
}

/// A receipt as scripts have it: `sequence#count/nonce`, and `@q2` when it names another queue.
fn receipt(queue: QueueId, word: &str) -> Receipt {
    let (word, queue) = match word.split_once('@') {
        Some((word, other)) => (word, QueueId(id(other))),
        None => (word, queue),
    };
    let (sequence, rest) = word.split_once('#').unwrap();
    let (count, nonce) = rest.split_once('/').unwrap();
    Receipt {
        queue,
        sequence: sequence.parse().unwrap(),
        receive_count: count.parse().unwrap(),
        nonce: nonce.parse().unwrap(),
    }
}

/// The command of group 0 that a line is, if it is one.
pub(crate) fn catalog(line: &Line<'_>) -> Option<Proposal> {
    let mut payloads = Vec::new();
    let command = match line.verb {
        "put-topic" => CatalogCommand::PutTopic {
            name: line.name(0),
            config: line.config(),
            among: line.among(),
            expect: line.expect(),
        },
        "delete-topic" => CatalogCommand::DeleteTopic {
            name: line.name(0),
            cascade: line.option("cascade") == Some("true"),
            expect: line.expect(),
        },
        "put-subscription" => CatalogCommand::PutSubscription {
            topic: line.name(0),
            name: line.name(1),
            config: line.config(),
            expect: line.expect(),
        },
        "delete-subscription" => CatalogCommand::DeleteSubscription {
            topic: line.name(0),
            name: line.name(1),
            expect: line.expect(),
        },
        "put-queue" => CatalogCommand::PutQueue {
            name: line.name(0),
            config: line.config(),
            group: GroupId(line.number("group").unwrap_or(1) as u32),
            among: line.among(),
            expect: line.expect(),
        },
        "delete-queue" => CatalogCommand::DeleteQueue {
            name: line.name(0),
            expect: line.expect(),
        },
        "put-plugin" => {
            payloads.push(line.word(2).to_owned().into());
            CatalogCommand::PutPlugin {
                version: plugin(line),
            }
        }
        "delete-plugin" => CatalogCommand::DeletePlugin {
            name: line.name(0),
            version: line.word(1).to_owned(),
        },
        "forget" => CatalogCommand::Forget {
            upto: Revision(line.word(0).parse().unwrap()),
        },
        "move-queue" => CatalogCommand::MoveQueue {
            name: line.name(0),
            to: GroupId(line.number("group").unwrap() as u32),
        },
        "leave" => CatalogCommand::Leave {
            revision: Revision(line.word(0).parse().unwrap()),
        },
        "end-move" => CatalogCommand::EndMove {
            revision: Revision(line.word(0).parse().unwrap()),
        },
        "raise-version" => CatalogCommand::RaiseVersion {
            to: FormatVersion(line.word(0).parse().unwrap()),
        },
        _ => return None,
    };
    let command = Command::Catalog(command);
    Some(Proposal { command, payloads })
}

fn plugin(line: &Line<'_>) -> PluginVersion {
    PluginVersion {
        name: line.name(0),
        version: line.word(1).to_owned(),
        digest: format!("sha256:{}", line.word(2)),
        bytes: line.word(2).len() as u64,
        uploaded_at: Timestamp(0),
        description: Description {
            world: World::Router,
            imports: vec![],
            description: String::new(),
            config_schema: JsonDocument(serde_json::json!({})),
            destinations: vec![],
        },
    }
}

/// The command of a data group that a line is, if it is one. `revision` is what plans are made against.
pub(crate) fn data(line: &Line<'_>, revision: Revision) -> Option<Proposal> {
    let queue = || QueueId(line.id(0));
    let revision = line.number("revision").map_or(revision, Revision);
    let mut payloads = Vec::new();
    let command = match line.verb {
        "publish" => {
            let events = line.words[1..].iter();
            let publish = Publish {
                topic: TopicId(line.id(0)),
                revision,
                deduplication: line.deduplication(),
                events: events.map(|word| routed(word, &mut payloads)).collect(),
            };
            let elsewhere = line.elsewhere();
            match elsewhere.is_empty() {
                true => Command::Publish(publish),
                false => Command::PublishAcross(PublishAcross { publish, elsewhere }),
            }
        }
        "send" => {
            let texts = line.words[1..].iter();
            payloads.extend(texts.map(|text| Bytes::copy_from_slice(text.as_bytes())));
            Command::Send(Send {
                queue: queue(),
                deduplication: line.deduplication(),
                delay_ms: line.number("delay"),
            })
        }
        "receive" => Command::Receive(Receive {
            queue: queue(),
            max: line.number("max").unwrap_or(1) as u32,
            visibility_ms: line.number("visibility"),
            nonce: line.number("nonce").unwrap_or(7),
        }),
        "ack" => Command::Ack(Settle {
            queue: queue(),
            receipts: line.receipts(),
        }),
        "nack" => Command::Nack(Nack {
            queue: queue(),
            receipts: line.receipts(),
            delay_ms: line.number("delay").unwrap_or(0),
        }),
        "extend" => Command::Extend(Extend {
            queue: queue(),
            receipts: line.receipts(),
            visibility_ms: line.number("visibility").unwrap(),
        }),
        "purge" => Command::Purge(queue()),
        "redrive" => {
            let to = line.option("to");
            let far = to.filter(|to| to.contains('@')).map(at_group);
            let redrive = Redrive {
                queue: queue(),
                to: to.map(|to| QueueId(id(to.split('@').next().unwrap()))),
                max: line.number("max").unwrap_or(1_000) as u32,
            };
            match far {
                None => Command::Redrive(redrive),
                Some((_, group)) => Command::RedriveAcross(RedriveAcross {
                    redrive,
                    group,
                    revision,
                }),
            }
        }
        "unpark" => {
            let events = line.words[1..].iter();
            let unpark = Unpark {
                subscription: SubscriptionId(line.id(0)),
                revision,
                events: events.map(|word| unparked(word, &mut payloads)).collect(),
            };
            let elsewhere = line.elsewhere();
            match elsewhere.is_empty() {
                true => Command::Unpark(unpark),
                false => Command::UnparkAcross(UnparkAcross { unpark, elsewhere }),
            }
        }
        "delivered" => Command::Delivered(Delivered {
            to: GroupId(line.word(0).parse().unwrap()),
            upto: line.word(1).parse().unwrap(),
        }),
        "tick" => Command::Tick,
        _ => return None,
    };
    Some(Proposal { command, payloads })
}

/// Where an event goes: `q1` (a queue), `q1+500` (delayed), `q1=other` (in another form), `s1` (parked).
/// `forms` counts the event's own payloads.
fn plan(
    places: &str,
    payloads: &mut Vec<Bytes>,
    mut forms: u32,
) -> (Vec<Delivery>, Vec<Park>, u32) {
    let (mut deliveries, mut parked) = (Vec::new(), Vec::new());
    for place in places.split(',').filter(|place| !place.is_empty()) {
        let (place, payload) = match place.split_once('=') {
            Some((place, form)) => {
                payloads.push(form.to_owned().into());
                forms += 1;
                (place, forms - 1)
            }
            None => (place, 0),
        };
        let (place, delay_ms) = match place.split_once('+') {
            Some((place, delay)) => (place, Some(delay.parse().unwrap())),
            None => (place, None),
        };
        if place.starts_with('q') {
            deliveries.push(Delivery {
                queue: QueueId(id(place)),
                payload,
                delay_ms,
            });
        } else {
            parked.push(Park {
                subscription: SubscriptionId(id(place)),
                payload,
                code: "plugin_trap".to_owned(),
                detail: format!("trapped on form {payload}"),
                plugin: Some("router@1".to_owned()),
            });
        }
    }
    (deliveries, parked, forms)
}

/// An event as scripts have it: `text:place,place`.
fn routed(word: &str, payloads: &mut Vec<Bytes>) -> Routed {
    let (text, places) = word.split_once(':').unwrap();
    payloads.push(text.to_owned().into());
    let (deliveries, parked, payloads) = plan(places, payloads, 1);
    Routed {
        payloads,
        deliveries,
        parked,
    }
}

/// A parked event with its new plan: `sequence:place,place`.
fn unparked(word: &str, payloads: &mut Vec<Bytes>) -> Unparked {
    let (sequence, places) = word.split_once(':').unwrap();
    let (deliveries, parked, forms) = plan(places, payloads, 1);
    Unparked {
        sequence: sequence.parse().unwrap(),
        payloads: forms - 1,
        deliveries,
        parked,
    }
}
