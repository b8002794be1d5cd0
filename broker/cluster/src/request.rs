//! How a request of a client finds the leader of its group, on this node or another one.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use millrace_model::command::Receive;
use millrace_model::ledger::Message;
use millrace_model::{
    Answer, BoxFuture, Command, GroupId, Outcome, PayloadRef, Proposal, Query, Refusal, Revision,
    Unavailable,
};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::forward::{self, Reply, Request};
use crate::group::Group;
use crate::leadership::Leader;
use crate::peer::connection::Broken;
use crate::peer::message;

/// How long a request waits for a leader, or for another one than the node that said it does not lead. A planned change
/// takes a tenth of it; without a majority a client is told fast.
const LEADER_MAX: Duration = Duration::from_millis(500);

/// How long an answer waits for the catalog here to follow a change made elsewhere.
const CATALOG_MAX: Duration = Duration::from_secs(1);

/// Bytes of stored events that are asked of another node at once; a larger one travels alone.
const EVENTS_AT_ONCE: u64 = 8 << 20;

/// How much longer than its wait a forwarded receive may take.
const RECEIVE_EXTRA: Duration = Duration::from_secs(10);

/// Wait before the same leader is asked again that could not be reached, or did not lead.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(20);

impl Cluster {
    /// Does something with the leader of `group`, here or elsewhere, again while nothing was done and a leader may be
    /// found.
    pub(crate) async fn with_leader<T, F>(
        &self,
        group: &Group,
        deadline: Instant,
        attempt: impl Fn(Option<u64>) -> F,
    ) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Unavailable>>,
    {
        let mut patience = None;
        loop {
            let leader = group.leader();
            let result = match leader {
                Leader::Alone | Leader::Here => attempt(None).await,
                Leader::At(node) => attempt(Some(node)).await,
                Leader::Unknown => Err(Unavailable::NoQuorum),
            };
            if !matches!(result, Err(Unavailable::NoQuorum)) {
                return result;
            }
            let now = Instant::now();
            let until = *patience.get_or_insert(now + LEADER_MAX);
            if now >= until.min(deadline) {
                return Err(self.no_leader());
            }
            let pause = match leader {
                Leader::Unknown => until,
                _ => now + ASK_AGAIN,
            };
            group.leadership.change(leader, pause.min(until)).await;
        }
    }

    /// What a client is told when there is no leader.
    fn no_leader(&self) -> Unavailable {
        match self.standing.waits_for() {
            Some(reason) => Unavailable::NotReady(reason),
            None => Unavailable::NoQuorum,
        }
    }

    pub(crate) async fn ask(
        &self,
        leader: u64,
        request: &Request,
        follows: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<(Reply, Bytes), Broken> {
        forward::ask(&self.node.peers, leader, request, follows, deadline).await
    }

    /// Asks another node for what changes nothing: whatever goes wrong, nothing was done.
    pub(crate) async fn ask_safely(
        &self,
        leader: u64,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Reply, Bytes), Unavailable> {
        match self.ask(leader, request, Vec::new(), deadline).await {
            Ok((Reply::Unavailable(form), _)) => Err(form.into()),
            Ok(answered) => Ok(answered),
            Err(Broken::Overloaded) => Err(Unavailable::Overloaded),
            Err(Broken::Unsent | Broken::Lost) => Err(Unavailable::NoQuorum),
        }
    }

    async fn commit_anywhere(
        &self,
        group: &Group,
        proposal: Proposal,
    ) -> Result<Outcome, Unavailable> {
        let deadline = self.node.commit_deadline();
        let attempt = |leader| {
            let proposal = proposal.clone();
            async move {
                match leader {
                    None => self.node.commit(group.id, proposal).await,
                    Some(leader) => self.commit_at(leader, group.id, proposal, deadline).await,
                }
            }
        };
        let outcome = self.with_leader(group, deadline, attempt).await?;
        if let Outcome::Refused(Refusal::StalePlan(revision)) = &outcome {
            self.await_catalog(group, *revision).await;
        }
        Ok(outcome)
    }

    async fn commit_at(
        &self,
        leader: u64,
        group: GroupId,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Outcome, Unavailable> {
        let changes_catalog = matches!(proposal.command, Command::Catalog(_));
        let (request, payloads) = forward::commit(group, proposal);
        match self.ask(leader, &request, payloads, deadline).await {
            Ok((Reply::Outcome(outcome, revision), _)) => {
                if changes_catalog {
                    // Whoever made the change through this node finds it on this node.
                    self.node.catalog_at(revision, CATALOG_MAX).await;
                }
                Ok(outcome)
            }
            Ok((Reply::Unavailable(form), _)) => Err(form.into()),
            Err(Broken::Unsent) => Err(Unavailable::NoQuorum),
            Err(Broken::Overloaded) => Err(Unavailable::Overloaded),
            Ok(_) | Err(Broken::Lost) => Err(Unavailable::OutcomeUnknown),
        }
    }

    /// A plan was stale: waits until the next one need not be. Either this node is behind, or the group is.
    async fn await_catalog(&self, group: &Group, revision: Revision) {
        let here = self.node.topology.load().revision;
        if here < revision {
            self.node.catalog_at(revision, CATALOG_MAX).await;
        } else if here > revision {
            let mut stands_at = group.view.revision.subscribe();
            let there = stands_at.wait_for(|stands_at| *stands_at >= here);
            let _ = tokio::time::timeout(CATALOG_MAX, there).await;
        }
    }

    pub(crate) fn commit_in(
        &self,
        group: GroupId,
        proposal: Proposal,
    ) -> BoxFuture<'_, Result<Outcome, Unavailable>> {
        match self.node.group(group) {
            Err(unavailable) => Box::pin(async move { Err(unavailable) }),
            Ok(group) if group.leader() == Leader::Alone => {
                Box::pin(self.node.commit(group.id, proposal))
            }
            Ok(group) => Box::pin(self.commit_anywhere(group, proposal)),
        }
    }

    pub(crate) async fn receive_in(
        &self,
        group: GroupId,
        receive: Receive,
        wait: Duration,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        let until = Instant::now() + wait;
        let group = self.node.group(group)?;
        if group.leader() == Leader::Alone {
            return self.node.receive(group.id, receive, until).await;
        }
        let deadline = until + RECEIVE_EXTRA;
        let attempt = |leader| async move {
            match leader {
                None => self.node.receive(group.id, receive, until).await,
                Some(leader) => self.receive_at(leader, group.id, receive, until).await,
            }
        };
        // Boxed: the node alone pays nothing for the way round.
        Box::pin(self.with_leader(group, deadline, attempt)).await
    }

    async fn receive_at(
        &self,
        leader: u64,
        group: GroupId,
        receive: Receive,
        until: Instant,
    ) -> Result<Result<Vec<Message>, Refusal>, Unavailable> {
        let _waiting = self.node.waiters.enter().ok_or(Unavailable::Overloaded)?;
        let wait = until.saturating_duration_since(Instant::now());
        let request = Request::Receive {
            group,
            receive,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        match self
            .ask_safely(leader, &request, until + RECEIVE_EXTRA)
            .await?
        {
            (Reply::Received(leases, lengths), events) => {
                let messages = forward::messages(leases, lengths, events);
                messages.map(Ok).map_err(|_| Unavailable::NoQuorum)
            }
            (Reply::Refused(refusal), _) => Ok(Err(refusal)),
            _ => Err(Unavailable::NoQuorum),
        }
    }

    pub(crate) async fn query_in(
        &self,
        group: GroupId,
        query: Query,
    ) -> Result<Answer, Unavailable> {
        let group = self.node.group(group)?;
        match &query {
            Query::Audit => return group.query(query).await,
            Query::Topology => {
                self.fresh_in().await?;
                return group.query(query).await;
            }
            // A component is named by its digest: what is here is right.
            Query::Component(_) => match group.query(query.clone()).await? {
                Answer::Refused(_) => {}
                found => return Ok(found),
            },
            _ => {}
        }
        let deadline = self.node.commit_deadline();
        let attempt = |leader| {
            let query = query.clone();
            async move {
                let Some(leader) = leader else {
                    return self.node.query(group.id, query).await;
                };
                let group = group.id;
                let request = Request::Query { group, query };
                match self.ask_safely(leader, &request, deadline).await? {
                    (Reply::Answer(form), _) => Ok(form.into()),
                    _ => Err(Unavailable::NoQuorum),
                }
            }
        };
        self.with_leader(group, deadline, attempt).await
    }

    pub(crate) async fn payloads_in(
        &self,
        group: GroupId,
        places: &[PayloadRef],
    ) -> Result<Vec<Bytes>, Unavailable> {
        let group = self.node.group(group)?;
        let deadline = self.node.commit_deadline();
        let mut events = Vec::with_capacity(places.len());
        for some in portions(places) {
            let attempt = |leader| async move {
                let Some(leader) = leader else {
                    return self.node.payloads(group.id, some).await;
                };
                let (group, places) = (group.id, some.to_vec());
                let request = Request::Payloads { group, places };
                match self.ask_safely(leader, &request, deadline).await? {
                    (Reply::Payloads(lengths), events) => {
                        message::cut(events, lengths).map_err(|_| Unavailable::NoQuorum)
                    }
                    _ => Err(Unavailable::NoQuorum),
                }
            };
            events.extend(self.with_leader(group, deadline, attempt).await?);
        }
        Ok(events)
    }

    pub(crate) async fn fresh_in(&self) -> Result<(), Unavailable> {
        let meta = &self.node.meta;
        if meta.leader() == Leader::Alone {
            return Ok(());
        }
        let deadline = self.node.commit_deadline();
        let attempt = |leader| async move {
            let Some(leader) = leader else {
                return meta.linear(deadline).await;
            };
            let request = Request::ReadIndex { group: meta.id };
            match self.ask_safely(leader, &request, deadline).await? {
                (Reply::Index(index), _) => Ok(index),
                _ => Err(Unavailable::NoQuorum),
            }
        };
        let index = self.with_leader(meta, deadline, attempt).await?;
        meta.applied(index, deadline).await
    }
}

/// Parts `places` so that the events of each part fit into one answer.
fn portions(places: &[PayloadRef]) -> Vec<&[PayloadRef]> {
    let mut bytes = 0;
    let together = move |before: &PayloadRef, next: &PayloadRef| {
        bytes += u64::from(before.len);
        let fits = bytes + u64::from(next.len) <= EVENTS_AT_ONCE;
        if !fits {
            bytes = 0;
        }
        fits
    };
    places.chunk_by(together).collect()
}
