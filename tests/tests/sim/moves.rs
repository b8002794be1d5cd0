//! Gives what waits its second chance: parked events and dead letters.

use millrace_model::catalog::{Queue, Topology};
use millrace_model::command::{
    Delivery, Park, Redrive, RedriveAcross, Unpark, UnparkAcross, Unparked,
};
use millrace_model::query::ParkedEvent;
use millrace_model::{Answer, Command, GroupId, Ledger as _, Outcome, Proposal, Query, Refusal};
use millrace_model::{QueueId, SubscriptionId};

use crate::client::{Client, below, name, pause, percent};
use crate::places::{AGAIN, DEAD, SUBSCRIPTION, TOPIC, TWO};
use crate::plan::elsewhere;
use crate::scene::Phase;

/// Most parked events that one request plans anew.
const UNPARKED_MAX: u32 = 20;

/// The subscription that parks, with the group of its list.
pub(crate) fn list(topology: &Topology) -> (GroupId, SubscriptionId) {
    let route = &topology.topics[&name(TOPIC)];
    let subscription = &route.subscriptions[&name(SUBSCRIPTION)];
    (route.topic.group, subscription.id)
}

impl Client {
    pub(crate) async fn move_all(self) {
        while self.phase() != Phase::Done {
            pause(2_000).await;
            let Some(topology) = self.topology() else {
                continue;
            };
            self.unpark(&topology).await;
            if self.phase() == Phase::Load {
                self.redrive().await;
            }
        }
    }

    async fn unpark(&self, topology: &Topology) {
        let (group, subscription) = list(topology);
        let question = Query::Parked {
            subscription,
            after: None,
            limit: UNPARKED_MAX,
        };
        let Ok(Answer::Parked(found)) = self.cluster.query(group, question).await else {
            return;
        };
        if found.is_empty() {
            return;
        }
        let queue = topology.queues[&name(TWO)].id;
        let again = self.phase() == Phase::Load;
        let events = found
            .iter()
            .map(|parked| plan_anew(parked, subscription, queue, again && percent(20)));
        let unpark = Unpark {
            subscription,
            revision: topology.revision,
            events: events.collect(),
        };
        self.commit_unpark(topology, group, unpark).await;
    }

    async fn commit_unpark(&self, topology: &Topology, group: GroupId, unpark: Unpark) {
        let deliveries = unpark.events.iter().flat_map(|event| &event.deliveries);
        let elsewhere = elsewhere(topology, group, deliveries);
        let command = if elsewhere.is_empty() {
            Command::Unpark(unpark)
        } else {
            Command::UnparkAcross(UnparkAcross { unpark, elsewhere })
        };
        match self.cluster.commit(group, Proposal::bare(command)).await {
            Ok(Outcome::Unparked(done)) => {
                let (node, left) = (self.node, done.redriven);
                self.scene
                    .tell(format!("node {node}: {left} are parked no more"));
            }
            Ok(Outcome::Refused(Refusal::StalePlan(_))) | Err(_) => {}
            Ok(other) => self.scene.object(format!("an unpark got {other:?}")),
        }
    }

    async fn redrive(&self) {
        let max = 1 + u32::try_from(below(10)).unwrap();
        let answered = self.located(DEAD, |topology, from| {
            let command = redriving(&topology, &from, max);
            self.try_commit(from.group, Proposal::bare(command))
        });
        match answered.await {
            Ok(Ok(Outcome::Redriven(0))) | Err(_) => {}
            Ok(Err(Refusal::StalePlan(_) | Refusal::QueueMoving(_))) => {}
            Ok(Ok(Outcome::Redriven(count))) => {
                let node = self.node;
                self.scene
                    .tell(format!("node {node}: {count} dead letters are redriven"));
            }
            Ok(other) => self.scene.object(format!("a redrive got {other:?}")),
        }
    }
}

/// Gives dead letters to another queue: as deliveries go to where a queue that moves comes from, or is sent on from here.
fn redriving(topology: &Topology, from: &Queue, max: u32) -> Command {
    let to = &topology.queues[&name(AGAIN)];
    let redrive = Redrive {
        queue: from.id,
        to: Some(to.id),
        max,
    };
    if from.group == to.group {
        return Command::Redrive(redrive);
    }
    let group = Some(to.delivered_to()).filter(|group| *group != from.group);
    Command::RedriveAcross(RedriveAcross {
        redrive,
        group: group.unwrap_or(to.group),
        revision: topology.revision,
    })
}

/// Delivers a parked event, or parks it again.
fn plan_anew(
    parked: &ParkedEvent,
    subscription: SubscriptionId,
    queue: QueueId,
    again: bool,
) -> Unparked {
    let delivery = Delivery {
        queue,
        payload: 0,
        delay_ms: None,
    };
    Unparked {
        sequence: parked.sequence,
        payloads: 0,
        deliveries: if again { Vec::new() } else { vec![delivery] },
        parked: if again {
            vec![park(subscription, 0)]
        } else {
            Vec::new()
        },
    }
}

/// Parks a payload of an event.
pub(crate) fn park(subscription: SubscriptionId, payload: u32) -> Park {
    Park {
        subscription,
        payload,
        code: "paused".to_owned(),
        detail: "by the simulation".to_owned(),
        plugin: None,
    }
}
