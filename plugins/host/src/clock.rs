//! [`Clock`]: a thread that counts milliseconds while a plugin runs, and sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// Length of one epoch: how long a guest runs before it yields.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a run before the thread parks: waking it for every batch of a slow stream would cost more than ticking on.
const IDLE_TICKS_MAX: u32 = 50;

/// Advances the engine's epoch while at least one [`Running`] lives. An idle broker has no timer.
pub(crate) struct Clock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// Keeps the clock ticking.
pub(crate) struct Running<'c>(&'c Clock);

impl Clock {
    /// A clock for `engine`.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || tick(&ticking, &engine))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ticks until the result is dropped.
    pub(crate) fn run(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.wake();
        Running(self)
    }

    fn wake(&self) {
        // The flag is written before the thread looks at `running`, and read after `running` is written: one of the two
        // sees the other, so no run goes without a clock.
        if self.shared.parked.swap(false, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let before = self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "every end of a run follows its begin");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn tick(shared: &Shared, engine: &Engine) {
    let mut idle = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS_MAX {
            park(shared);
            idle = 0;
        }
        thread::sleep(TICK);
        engine.increment_epoch();
    }
}

fn park(shared: &Shared) {
    shared.parked.store(true, Ordering::SeqCst);
    while shared.running.load(Ordering::SeqCst) == 0
        && shared.parked.load(Ordering::SeqCst)
        && !shared.stopped.load(Ordering::SeqCst)
    {
        thread::park();
    }
    shared.parked.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// How often the clock's thread slept so far. No other test of this binary has a clock.
    fn sleeps() -> u64 {
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap().path();
            if std::fs::read_to_string(task.join("comm")).unwrap().trim() == "plugin-clock" {
                let status = std::fs::read_to_string(task.join("status")).unwrap();
                let line = status
                    .lines()
                    .find(|line| line.starts_with("voluntary_ctxt_switches"))
                    .unwrap();
                return line.rsplit('\t').next().unwrap().parse().unwrap();
            }
        }
        unreachable!("the clock has a thread");
    }

    #[test]
    fn it_ticks_while_something_runs_and_sleeps_otherwise() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let clock = Clock::start(Engine::new(&config).unwrap()).unwrap();
        // The thread names itself.
        thread::sleep(Duration::from_millis(100));
        for _ in 0..3 {
            let running = clock.run();
            let before = sleeps();
            thread::sleep(Duration::from_millis(100));
            assert!(sleeps() > before + 5, "it must tick while something runs");
            drop(running);
            thread::sleep(Duration::from_millis(500));
            let before = sleeps();
            thread::sleep(Duration::from_millis(200));
            assert!(sleeps() <= before + 1, "it must sleep when nothing runs");
        }
    }
}
