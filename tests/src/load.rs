//! [`Load`]: publishers and consumers that go on while the broker, or nodes of it, die under them.

mod caller;
mod consumer;
mod publisher;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::history::History;
use crate::machine::Machine;
use caller::Caller;
use publisher::Publisher;

/// The topic that is published to; both queues subscribe to it.
const TOPIC: &str = "crash";
/// The queues.
const QUEUES: [&str; 2] = ["crash-a", "crash-b"];
const PUBLISHERS: u64 = 4;
const CONSUMERS_A_QUEUE: usize = 2;
/// The publisher of [`Load::probe`] has the first number that no other has.
const PROBES_FROM: u64 = PUBLISHERS;
/// Between two requests of one publisher: the consumers keep up, and the log stays short enough not to be purged, so that
/// all of it can be replayed.
const PACE: Duration = Duration::from_millis(10);
const DRAIN_SECONDS_MAX: u64 = 120;

/// A running load. What it does and sees goes into its [`History`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
    machine: Machine,
}

#[derive(Debug)]
struct Shared {
    /// Where the nodes are; only one for a broker that is alone.
    doors: RwLock<Vec<String>>,
    seed: u64,
    probes: AtomicU64,
    publishing: AtomicBool,
    consuming: AtomicBool,
    deliveries: AtomicU64,
    stall: Mutex<Stalls>,
    history: History,
}

/// A time in which no publisher was acknowledged anything.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// When it began.
    pub from: Instant,
    /// How long it lasted.
    pub took: Duration,
}

/// The longest of them.
#[derive(Debug)]
struct Stalls {
    last: Instant,
    longest: Stall,
}

impl Stalls {
    fn new() -> Self {
        let last = Instant::now();
        let took = Duration::ZERO;
        Self {
            last,
            longest: Stall { from: last, took },
        }
    }

    /// Ends the time without an acknowledgement, and begins the next.
    fn end(&mut self) {
        let (from, took) = (self.last, self.last.elapsed());
        if took > self.longest.took {
            self.longest = Stall { from, took };
        }
        self.last = Instant::now();
    }
}

impl Load {
    /// Creates topic, queues and subscriptions on a fresh broker, and starts. The clients spread over all `doors` (URLs), and
    /// go on at the next one when one does not answer. `seed` decides data and sizes; moments are up to the operating system.
    #[must_use]
    pub fn start(doors: &[String], seed: u64) -> Self {
        set_up(&Client::new(&doors[0]));
        let shared = Arc::new(Shared {
            doors: RwLock::new(doors.to_vec()),
            seed,
            probes: AtomicU64::new(PROBES_FROM),
            publishing: AtomicBool::new(true),
            consuming: AtomicBool::new(true),
            deliveries: AtomicU64::new(0),
            stall: Mutex::new(Stalls::new()),
            history: History::default(),
        });
        let publishers = (0..PUBLISHERS).map(|number| {
            let shared = shared.clone();
            std::thread::spawn(move || Publisher::new(shared, number).run())
        });
        let publishers = publishers.collect();
        let consumers = QUEUES.iter().flat_map(|queue| [*queue; CONSUMERS_A_QUEUE]);
        let consumers = consumers.enumerate().map(|(number, queue)| {
            let shared = shared.clone();
            std::thread::spawn(move || consumer::run(&shared, queue, number))
        });
        Self {
            consumers: consumers.collect(),
            publishers,
            shared,
            machine: Machine::watch(),
        }
    }

    /// The machine that all runs on, watched from the start of the load.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Tells everybody where the nodes are now.
    pub fn point_to(&self, doors: &[String]) {
        *self.shared.doors.write().expect("no client panicked") = doors.to_vec();
    }

    /// Publishes one event through `doors`, in turn and under one `Idempotency-Key`, until it is acknowledged: how long
    /// that took. `None` when it was not within `most`; its outcome is unknown then.
    #[must_use]
    pub fn probe(&self, doors: &[String], most: Duration) -> Option<Duration> {
        let number = self.shared.probes.fetch_add(1, Ordering::Relaxed);
        Publisher::new(self.shared.clone(), number).probe(doors, most)
    }

    /// The longest time without any acknowledged publish since it was asked last; probes do not count.
    #[must_use]
    pub fn stall(&self) -> Stall {
        let mut stall = self.shared.stall.lock().expect("no client panicked");
        stall.end();
        let longest = stall.longest;
        *stall = Stalls::new();
        longest
    }

    /// Events received so far.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.shared.deliveries.load(Ordering::Relaxed)
    }

    /// What was seen so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// Stops publishing, lets the consumers empty the queues, and stops them.
    ///
    /// # Panics
    /// When a client met what it must not meet, or the queues do not get empty.
    pub fn drain(&mut self) {
        self.shared.publishing.store(false, Ordering::Relaxed);
        for thread in self.publishers.drain(..) {
            thread
                .join()
                .expect("a publisher met what it must not meet");
        }
        self.wait_until_empty();
        self.shared.consuming.store(false, Ordering::Relaxed);
        for thread in self.consumers.drain(..) {
            thread.join().expect("a consumer met what it must not meet");
        }
    }

    fn wait_until_empty(&self) {
        let mut caller = Caller::new(self.shared.clone(), 0);
        let began = Instant::now();
        while !QUEUES.iter().all(|queue| is_empty(&mut caller, queue)) {
            assert!(
                began.elapsed() < Duration::from_secs(DRAIN_SECONDS_MAX),
                "the queues are not empty after {DRAIN_SECONDS_MAX} s"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn is_empty(caller: &mut Caller, queue: &str) -> bool {
    let answer = caller.call("GET", &format!("/v1/queues/{queue}"), &[], None);
    answer.is_some_and(|answer| {
        let queue = answer.json();
        let states = ["ready", "leased", "delayed"];
        states.iter().all(|state| counter(&queue, state) == Some(0))
    })
}

/// A counter of `GET /v1/queues/{queue}`, beside the configuration or in `counters`.
#[must_use]
pub fn counter(queue: &Value, counter: &str) -> Option<u64> {
    queue[counter]
        .as_u64()
        .or_else(|| queue["counters"][counter].as_u64())
}

fn set_up(client: &Client) {
    client
        .put(&format!("/v1/topics/{TOPIC}"), &json!({}))
        .expect(201);
    for queue in QUEUES {
        let config = json!({"retention_seconds": null});
        client
            .put(&format!("/v1/queues/{queue}"), &config)
            .expect(201);
        let path = format!("/v1/topics/{TOPIC}/subscriptions/{queue}");
        client
            .put(&path, &json!({"to": {"queue": queue}}))
            .expect(201);
    }
}
