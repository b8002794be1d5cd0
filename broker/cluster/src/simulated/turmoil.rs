//! The same, simulated.

use std::convert::Infallible;
use std::fmt::{Debug, Formatter};
use std::future::{Future, Ready, ready};
use std::time::Duration;

use millrace_model::GroupId;
use millrace_store::log::GroupLog;
use millrace_store::simulation;
use openraft::rt::AsyncRuntime;
use openraft::{EntryPayload, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::types::Entry;

pub(crate) use ::turmoil::net;

/// Milliseconds since 1970, by the clock of this node, whose host is called `node-N`.
pub(crate) fn time_of_day_ms() -> u64 {
    simulation::time_of_day_ms(here())
}

/// The number of the node that is running.
fn here() -> u64 {
    simulation::node_here().expect("the harness says which node runs")
}

/// Says what is applied, to be compared with what others apply.
pub(crate) fn note_applied(group: GroupId, entry: &Entry) {
    let sum = match &entry.payload {
        EntryPayload::Normal(body) => crc32c::crc32c(&body.0),
        _ => 0,
    };
    let at = entry.log_id;
    simulation::note_applied(group.0, at.index, at.committed_leader_id().term, sum);
}

/// One that never was.
pub(crate) fn uuid() -> Uuid {
    Uuid::from_u64_pair(simulation::random(), simulation::random())
}

/// Does `work`.
pub(crate) fn waiting<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Never: `work` runs at once, on the one thread of the simulation.
pub(crate) fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Ready<Result<R, Infallible>> {
    ready(Ok(work()))
}

/// Waits until the log is on the disk up to `index`, or has failed: a full disk keeps it waiting, and nobody may block.
pub(crate) async fn durable(log: &GroupLog, index: Option<u64>) {
    let Some(index) = index.filter(|index| log.log_id(*index).is_some()) else {
        return;
    };
    let (tell, told) = oneshot::channel();
    let tell = move |_| {
        let _ = tell.send(());
    };
    log.when_durable(index, Box::new(tell));
    let _ = told.await;
}

/// Gives the items one by one to whoever takes them.
pub(crate) fn feed<T: Send + 'static>(
    items: impl Iterator<Item = T> + Send + 'static,
    give: mpsc::Sender<T>,
) {
    tokio::spawn(async move {
        for item in items {
            if give.send(item).await.is_err() {
                return;
            }
        }
    });
}

/// Tokio's, with randomness from the seed.
pub(crate) struct Runtime(TokioRuntime);

impl Debug for Runtime {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(error)
    }

    fn thread_rng() -> SmallRng {
        SmallRng::seed_from_u64(simulation::random())
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
