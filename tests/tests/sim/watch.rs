//! Changes leaders and members, and looks how everything stands.

use std::time::Duration;

use millrace_model::ledger::{ChangeError, MemberChange};
use millrace_model::{Answer, GroupId, Ledger as _, Query};
use tokio::time::Instant;

use crate::client::{Client, below, name, pause};
use crate::moves::list;
use crate::places::QUEUES;
use crate::scene::{Audited, Phase};

/// Longest time from one audit of a node to the next.
const AUDIT_MS: u64 = 5_000;

impl Client {
    /// Changes leaders and members, says when queues are empty, and how the groups stand here.
    pub(crate) async fn watch_all(self) {
        let mut audit_at = Instant::now();
        loop {
            pause(200).await;
            if self.phase() == Phase::Done {
                return;
            }
            self.transfer().await;
            self.change_members().await;
            self.count().await;
            // An audit reads all rows, so it is for now and then, and for the end.
            if Instant::now() >= audit_at || self.scene.left.get() == Some(0) {
                audit_at = Instant::now() + Duration::from_millis(below(AUDIT_MS));
                self.audit().await;
            }
        }
    }

    async fn transfer(&self) {
        if let Some(node) = self.scene.leader_wanted.take() {
            let change = MemberChange::Transfer { node, group: None };
            let _ = self.cluster.change_members(change).await;
        }
    }

    /// Makes the change that is wanted; again, through whatever node, until it is made.
    async fn change_members(&self) {
        let Some(change) = self.scene.change.borrow().clone() else {
            return;
        };
        let made = self.cluster.change_members(change.clone()).await;
        let mut wanted = self.scene.change.borrow_mut();
        if wanted.as_ref() != Some(&change) {
            return;
        }
        let is_made = match (&change, &made) {
            (_, Ok(())) => true,
            (MemberChange::Remove { node }, Err(ChangeError::NotFound(other))) => node == other,
            (MemberChange::Add { .. }, Err(ChangeError::Conflict(reason))) => {
                reason.ends_with("already")
            }
            _ => false,
        };
        self.scene
            .tell(format!("node {}: {change:?}: {made:?}", self.node));
        if is_made {
            *wanted = None;
            match change {
                MemberChange::Remove { node } => self.scene.members.borrow_mut().remove(&node),
                MemberChange::Add { node, .. } => self.scene.members.borrow_mut().insert(node),
                MemberChange::Transfer { .. } => true,
            };
        }
    }

    async fn audit(&self) {
        let mut groups = vec![GroupId::META];
        groups.extend(self.cluster.data_groups());
        for group in groups {
            if let Ok(Answer::Audit(audit)) = self.cluster.query(group, Query::Audit).await {
                let audited = Audited {
                    applied: audit.applied,
                    digest: audit.digest,
                    violations: audit.violations,
                    under_way: self.under_way(group),
                };
                self.scene.audited(self.node, group, audited);
            }
        }
    }

    /// How much waits here to be carried from `group` to others.
    fn under_way(&self, group: GroupId) -> u64 {
        let from = format!("millrace_outbox_deliveries{{group=\"{group}\"");
        let metrics = self.cluster.metrics();
        let rows = metrics.lines().filter(|line| line.starts_with(&from));
        let rows = rows.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        rows.sum()
    }

    /// Says how much there is left to be consumed.
    async fn count(&self) {
        if self.phase() == Phase::Drain
            && let Some(left) = self.left().await
        {
            self.scene.left.set(Some(left));
        }
    }

    /// How many entries there are in all queues, and how many events are parked, as far as it matters; `None` when nobody
    /// can tell, or a queue moves.
    async fn left(&self) -> Option<u64> {
        self.cluster.fresh().await.ok()?;
        let topology = self.topology()?;
        let moving = topology.queues.values();
        let moving =
            moving.filter_map(|queue| Some(format!("{}: {:?}", queue.name, queue.moving?)));
        *self.scene.moving.borrow_mut() = moving.collect();
        if !self.scene.moving.borrow().is_empty() {
            return None;
        }
        let mut left = 0;
        for queue in QUEUES {
            let queue = &topology.queues[&name(queue)];
            let question = Query::Counters(queue.id);
            match self.cluster.query(queue.group, question).await {
                Ok(Answer::Counters(counters)) => {
                    left += counters.ready + counters.leased + counters.delayed;
                }
                _ => return None,
            }
        }
        let (group, subscription) = list(&topology);
        let (after, limit) = (None, 1);
        let question = Query::Parked {
            subscription,
            after,
            limit,
        };
        match self.cluster.query(group, question).await {
            Ok(Answer::Parked(parked)) => Some(left + parked.len() as u64),
            _ => None,
        }
    }
}
