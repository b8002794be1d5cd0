//! [`Machine`]: how much of the machine a test did not have while it ran.
//!
//! A promise in seconds is made for a machine that does nothing else. So a test adds to it what it was robbed of, and nothing that
//! its own processes did or left undone: what other processes computed, what the host gave to other guests, and the time in
//! which nothing ran at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One sleep of the watch.
const SLEEP: Duration = Duration::from_millis(10);
/// Sleeps between two looks at all processes, which take a millisecond.
const SLEEPS_A_LOOK: u32 = 20;
/// A sleep that is longer by this means that the machine stood still: Linux lets nobody who has slept wait so long for
/// processes that only compute.
const STOOD_STILL_FROM: Duration = Duration::from_millis(100);
/// A tick of `/proc`: `USER_HZ`, the same on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// Watches the machine from its making to its end.
#[derive(Debug)]
pub struct Machine {
    lost: Arc<Mutex<Vec<Lost>>>,
    is_over: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

/// What was lost between two looks.
#[derive(Clone, Copy, Debug)]
struct Lost {
    from: Instant,
    to: Instant,
    lost: Duration,
}

/// Processor time so far, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    /// Of this process, its children and theirs.
    own: u64,
    /// Of all other processes, and of other guests of the host.
    foreign: u64,
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Its ticks, with those of its children that have ended.
    ticks: u64,
}

impl Machine {
    /// Begins to watch.
    #[must_use]
    pub fn watch() -> Self {
        let lost = Arc::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = {
            let (lost, is_over) = (Arc::clone(&lost), Arc::clone(&is_over));
            std::thread::spawn(move || watch(&lost, &is_over))
        };
        Self {
            lost,
            is_over,
            watch: Some(watch),
        }
    }

    /// How much of the time between two moments was lost, to a look's precision.
    #[must_use]
    pub fn lost(&self, from: Instant, to: Instant) -> Duration {
        // What has just passed is known at the next look.
        std::thread::sleep(2 * SLEEP * SLEEPS_A_LOOK);
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.iter().map(|lost| lost.within(from, to)).sum()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

impl Lost {
    /// The share of it that lies between two moments; at most the time that it shares with them.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let shared = self
            .to
            .min(to)
            .saturating_duration_since(self.from.max(from));
        let whole = self.to.saturating_duration_since(self.from);
        if whole.is_zero() {
            return Duration::ZERO;
        }
        let share = shared.as_secs_f64() / whole.as_secs_f64();
        self.lost.mul_f64(share).min(shared)
    }
}

fn watch(lost: &Mutex<Vec<Lost>>, is_over: &AtomicBool) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (mut from, mut used) = (Instant::now(), used());
    while !is_over.load(Ordering::Relaxed) {
        let mut stood_still = Duration::ZERO;
        for _ in 0..SLEEPS_A_LOOK {
            let began = Instant::now();
            std::thread::sleep(SLEEP);
            stood_still += overslept(began.elapsed());
        }
        let (to, now) = (Instant::now(), self::used());
        let taken = taken(used, now, cores).max(stood_still);
        let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push(Lost {
            from,
            to,
            lost: taken,
        });
        (from, used) = (to, now);
    }
}

/// By how much a sleep was too long, if that means that the machine stood still.
fn overslept(slept: Duration) -> Duration {
    let late = slept.saturating_sub(SLEEP);
    if late < STOOD_STILL_FROM {
        return Duration::ZERO;
    }
    late
}

/// What others took between two looks, as time of the whole machine.
fn taken(before: Used, now: Used, cores: usize) -> Duration {
    // It goes back when a process ends that nobody waits for.
    let ticks = now.foreign.saturating_sub(before.foreign);
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX) / u32::try_from(cores).unwrap_or(1)
}

/// What was used so far.
fn used() -> Used {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|folder| {
        let id: u32 = folder.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(folder.path().join("stat")).ok()?;
        Some((id, process(&stat)?))
    });
    sum(std::process::id(), &processes.collect(), stolen(&stat))
}

/// Parts the ticks of all processes into those of `root` with its descendants, and the others.
fn sum(root: u32, processes: &BTreeMap<u32, Process>, stolen: u64) -> Used {
    let mut used = Used {
        own: 0,
        foreign: stolen,
    };
    for (id, process) in processes {
        if is_below(root, *id, processes) {
            used.own += process.ticks;
        } else {
            used.foreign += process.ticks;
        }
    }
    used
}

fn is_below(root: u32, id: u32, processes: &BTreeMap<u32, Process>) -> bool {
    let parent = |id: &u32| processes.get(id).map(|process| process.parent);
    // A chain of parents ends at process 0; the bound is against one that changed while it was read.
    std::iter::successors(Some(id), parent)
        .take(processes.len())
        .any(|id| id == root)
}

/// A process from its `/proc/ID/stat`; none for a thread of the kernel, which works for everybody.
fn process(stat: &str) -> Option<Process> {
    /// Where things stand behind the name, which may hold anything.
    const PARENT: usize = 1;
    const TICKS: std::ops::RangeInclusive<usize> = 11..=14;
    const KERNEL: u32 = 2;
    let id: u32 = stat.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(PARENT)?.parse().ok()?;
    if id == KERNEL || parent == KERNEL {
        return None;
    }
    let ticks = fields.get(TICKS)?.iter().map(|ticks| ticks.parse::<u64>());
    Some(Process {
        parent,
        ticks: ticks.sum::<Result<u64, _>>().ok()?,
    })
}

/// What the host gave to other guests, from `/proc/stat`.
fn stolen(stat: &str) -> u64 {
    let all = stat.lines().next().unwrap_or_default();
    let steal = all.split_whitespace().nth(8);
    steal.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// The parts of the watch, to be tested where tests are: the harness has none.
pub mod parts {
    use super::{BTreeMap, Duration, Process, Used};

    /// What a machine of so many cores lost between two looks at `/proc/stat` and at each process' own.
    #[must_use]
    pub fn taken(
        root: u32,
        before: (&str, &[&str]),
        now: (&str, &[&str]),
        cores: usize,
    ) -> Duration {
        super::taken(used(root, before), used(root, now), cores)
    }

    fn used(root: u32, (all, processes): (&str, &[&str])) -> Used {
        let processes = processes.iter().filter_map(|stat| {
            let id = stat.split(' ').next()?.parse().ok()?;
            Some((id, super::process(stat)?))
        });
        let processes: BTreeMap<u32, Process> = processes.collect();
        super::sum(root, &processes, super::stolen(all))
    }

    /// By how much a sleep of the watch was too long, as it counts.
    #[must_use]
    pub fn overslept(slept: Duration) -> Duration {
        super::overslept(slept)
    }
}
