//! How the first members become a cluster: once, in whatever order they start.
//!
//! Each greets all others of its list until it has heard every one of them, and all lists were the same. Then each for
//! itself writes down the same first members in every group; the id of the cluster is a digest of them. A node that
//! crashes in between does the rest at its next start. Nobody forms a cluster with a node that is in one already: it
//! is told to wait until it is added.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use millrace_model::Fault;

use crate::node::Node;
use crate::peer::hello::{self, NoConnection, Purpose};
use crate::peer::standing::Standing;
use crate::types::{ClusterId, Member};

/// Wait between two rounds of greetings.
const GREET_EVERY: Duration = Duration::from_millis(300);

/// Forms a cluster of this node alone.
///
/// # Errors
/// A [`Fault`] when it cannot be written down.
pub(crate) async fn alone(node: &Node, standing: &Standing, address: &str) -> Result<(), Fault> {
    let member = Member {
        address: address.to_owned(),
        incarnation: standing.incarnation,
    };
    let founders = BTreeMap::from([(standing.node, member)]);
    form(node, standing, founders).await
}

/// Greets the others until there is a cluster, formed with them or by those who took this node in.
pub(crate) async fn together(node: Arc<Node>, standing: Arc<Standing>) {
    let mut cluster = standing.cluster();
    while cluster.borrow().is_none() {
        greet_all(&standing).await;
        if let Some(founders) = standing.all_heard()
            && cluster.borrow().is_none()
        {
            if let Err(fault) = form(&node, &standing, founders).await {
                tracing::error!(%fault, "the cluster cannot be formed");
            }
            continue;
        }
        let taken_in = tokio::time::timeout(GREET_EVERY, cluster.changed()).await;
        if taken_in.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}

async fn greet_all(standing: &Standing) {
    let greetings = standing
        .list
        .iter()
        .filter(|(node, _)| **node != standing.node)
        .map(|(node, address)| greet(standing, *node, address));
    join_all(greetings).await;
}

async fn greet(standing: &Standing, node: u64, address: &str) {
    let hello = standing.hello(node, None, Purpose::Greeting);
    match hello::greet(address, &hello).await {
        Ok((_, welcome)) if welcome.cluster.is_none() => {
            // Two nodes of one number: the refusal is in the log, and the cluster is not formed while both are there.
            let _ = standing.hear(node, welcome.incarnation);
        }
        // It is in a cluster that knows this node, and will take it in.
        Ok(_) => {}
        Err(NoConnection::Io(error)) => tracing::trace!(node, %error, "not heard yet"),
        Err(error) => standing.object(node, &error.to_string()),
    }
}

/// Writes down who the first members are, here and in every group.
///
/// # Errors
/// A [`Fault`] when that fails.
pub(crate) async fn form(
    node: &Node,
    standing: &Standing,
    founders: BTreeMap<u64, Member>,
) -> Result<(), Fault> {
    let cluster = ClusterId::of(&founders);
    standing.join(cluster, founders.clone())?;
    for group in node.groups() {
        group.found(&founders).await?;
    }
    if founders.len() > 1 {
        tracing::info!(%cluster, members = ?founders.keys().collect::<Vec<_>>(), "the cluster is formed");
    }
    Ok(())
}
