//! The same request over many connections, as fast as answers come or at a fixed rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::answer;
use super::request::Request;
use super::tally::Tally;
use super::wire::Wire;

/// Longest time before a measurement that connections get to warm up.
const WARM_UP_MAX: Duration = Duration::from_secs(1);

/// The time that counts: what began before it is warming up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

impl Window {
    /// So many seconds, after a warm-up of a fifth of them.
    pub(super) fn starting_now(seconds: u64) -> Self {
        let length = Duration::from_secs(seconds);
        let from = Instant::now() + WARM_UP_MAX.min(length / 5);
        Self {
            from,
            until: from + length,
        }
    }

    /// Whether what happens at this time counts.
    pub(super) fn contains(&self, time: Instant) -> bool {
        self.from <= time && time < self.until
    }
}

/// When a connection sends its requests: at fixed times, or (with no period) as soon as the last was answered.
#[derive(Debug)]
pub(super) struct Pace {
    next: Instant,
    period: Option<Duration>,
}

impl Pace {
    /// Of `connections`, the one numbered `index`; together they send so many requests a second, evenly.
    pub(super) fn new(rate: Option<f64>, connections: usize, index: usize) -> Self {
        let now = Instant::now();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number of connections is small"
        )]
        let share = |count: usize, rate: f64| Duration::from_secs_f64(count as f64 / rate);
        Self {
            next: rate.map_or(now, |rate| now + share(index, rate)),
            period: rate.map(|rate| share(connections, rate)),
        }
    }

    /// Waits for the next turn, and gives the time from which its latency counts: a turn that comes late because the last
    /// answer did, counts from when it was due (else a slow server would be asked less and look faster).
    pub(super) async fn turn(&mut self) -> Instant {
        let Some(period) = self.period else {
            return Instant::now();
        };
        let due = self.next;
        self.next += period;
        if due <= Instant::now() {
            return due;
        }
        sleep_until(due.into()).await;
        Instant::now()
    }
}

/// What to send, and how.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) authority: String,
    pub(super) request: Request,
    pub(super) events_per_request: u64,
    pub(super) connections: usize,
    /// Requests a second over all connections; none for as fast as possible.
    pub(super) rate: Option<f64>,
}

impl Load {
    /// Starts every connection of the load; they end with the window.
    pub(super) async fn start(&self, window: Window) -> Result<JoinSet<Result<Tally>>> {
        let mut tasks = JoinSet::new();
        for index in 0..self.connections {
            let wire = Wire::connect(&self.authority).await?;
            let pace = Pace::new(self.rate, self.connections, index);
            tasks.spawn(repeat(
                wire,
                self.request.clone(),
                self.events_per_request,
                pace,
                window,
            ));
        }
        Ok(tasks)
    }

    /// Sends so many requests in all, as fast as possible.
    pub(super) async fn send(
        &self,
        requests: u64,
        sent: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Tally> {
        let left = Arc::new(AtomicU64::new(requests));
        let sent: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(sent);
        let mut tasks = JoinSet::new();
        for _ in 0..self.connections {
            let wire = Wire::connect(&self.authority).await?;
            tasks.spawn(use_up(
                wire,
                self.request.clone(),
                self.events_per_request,
                left.clone(),
                sent.clone(),
            ));
        }
        Tally::sum(tasks).await
    }
}

async fn repeat(
    mut wire: Wire,
    mut request: Request,
    events: u64,
    mut pace: Pace,
    window: Window,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    let bytes = request.stamped(0);
    loop {
        let began = pace.turn().await;
        if began >= window.until {
            return Ok(tally);
        }
        let counts = window.contains(began);
        if !once(
            &mut wire,
            bytes,
            events,
            counts.then_some(began),
            &mut tally,
        )
        .await
        {
            return Ok(tally);
        }
    }
}

async fn use_up(
    mut wire: Wire,
    mut request: Request,
    events: u64,
    left: Arc<AtomicU64>,
    sent: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    let bytes = request.stamped(0);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    {
        if !once(&mut wire, bytes, events, Some(Instant::now()), &mut tally).await {
            break;
        }
        sent(events);
    }
    Ok(tally)
}

/// One request, counted if it has a beginning; whether the connection can be used on.
async fn once(
    wire: &mut Wire,
    bytes: &[u8],
    events: u64,
    began: Option<Instant>,
    tally: &mut Tally,
) -> bool {
    let reply = match wire.exchange(bytes).await {
        Ok(reply) => reply,
        Err(error) => {
            tally.error(|| error.to_string());
            return false;
        }
    };
    if tally.judge(reply)
        && let Some(began) = began
    {
        let refused = answer::refused(reply.body);
        for _ in 0..refused {
            tally.error(|| answer::quote(reply.body));
        }
        tally.latency(began.elapsed());
        tally.requests += 1;
        tally.events += events - refused.min(events);
    }
    true
}
