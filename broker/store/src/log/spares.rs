//! Makes zeroed segments ahead of need, so that the writer never waits for 64 MiB of zeros.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::fault::IoFault;
use crate::log::segment::make_zeroed;
use crate::log::shared::Shared;
use crate::log::state::State;

/// The name of a file that can become a segment.
pub(crate) fn free_name(number: u64) -> String {
    format!("{number:016x}.free")
}

/// The name of a file that is being filled with zeros.
fn making_name(number: u64) -> String {
    format!("{number:016x}.new")
}

/// The thread that keeps [`spare_segments`](crate::log::LogOptions::spare_segments) ready. Sleeps while there are.
pub(crate) fn run(shared: &Arc<Shared>, mut number: u64) {
    let mut state = shared.lock();
    while !state.closing && state.poison.is_none() {
        if state.free.len() >= shared.options.spare_segments {
            state.starved = false;
            shared.tell_full(&state);
            state = shared.wait(&shared.spares, state);
        } else if is_at_limit(shared, &state) {
            state = starve(shared, state);
        } else {
            drop(state);
            let hurry = || shared.writer_waits.load(Relaxed);
            let made = make(&shared.dir, number, shared.options.segment_bytes, hurry);
            state = shared.lock();
            match made {
                Ok(path) => {
                    state.free.push(path);
                    number += 1;
                    shared
                        .metrics
                        .segments_free
                        .store(state.free.len() as u64, Relaxed);
                    shared.tell_full(&state);
                    shared.work.notify_all();
                }
                Err(fault) => {
                    if !state.starved {
                        tracing::warn!(%fault, "no further log segment can be had; trying again until it can");
                    }
                    state = starve(shared, state);
                }
            }
        }
    }
}

fn is_at_limit(shared: &Shared, state: &State) -> bool {
    shared
        .options
        .segments_max
        .is_some_and(|max| state.segments.len() + state.free.len() + state.moving >= max)
}

/// Says that the disk is full and waits before the next attempt; a segment given back ends it early.
fn starve<'a>(
    shared: &Shared,
    mut state: std::sync::MutexGuard<'a, State>,
) -> std::sync::MutexGuard<'a, State> {
    state.starved = true;
    shared.tell_full(&state);
    let waited = shared.spares.wait_timeout(state, shared.options.full_retry);
    waited
        .expect("a panic under the log's lock is a bug, and nothing may be written after it")
        .0
}

/// Makes one free segment; `hurry` says that somebody waits for it.
pub(crate) fn make(
    dir: &Path,
    number: u64,
    size: u32,
    hurry: impl Fn() -> bool,
) -> Result<PathBuf, IoFault> {
    let (making, free) = (dir.join(making_name(number)), dir.join(free_name(number)));
    make_zeroed(&making, size, hurry)?;
    std::fs::rename(&making, &free).map_err(IoFault::at("rename", &making))?;
    Ok(free)
}
