//! Makes zeroed segments ahead of need, so that the writer never waits for 64 MiB of zeros.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::disk;
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
            state = rest(shared, state);
        } else if is_at_limit(shared, &state) {
            state = starve(shared, state);
        } else {
            drop(state);
            let hurry = || shared.writer_waits.load(Relaxed);
            let made = has_room(shared)
                .and_then(|()| make(&shared.dir, number, shared.options.segment_bytes, hurry));
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

/// Waits until a segment is taken. When none was for a while, those that were kept for a burst are removed.
fn rest<'a>(
    shared: &'a Shared,
    state: std::sync::MutexGuard<'a, State>,
) -> std::sync::MutexGuard<'a, State> {
    let spares = shared.options.spare_segments;
    if state.free.len() <= spares {
        return shared.wait(&shared.spares, state);
    }
    let waited = shared.spares.wait_timeout(state, shared.options.idle_after);
    let (mut state, waited) =
        waited.expect("a panic under the log's lock is a bug, and nothing may be written after it");
    while waited.timed_out() && state.free.len() > spares {
        // Those given back last go first: what was zeroed ahead stays.
        if let Some(path) = state.free.pop()
            && let Err(error) = disk::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a segment that is not needed cannot be removed");
        }
    }
    let free = state.free.len() as u64;
    shared.metrics.segments_free.store(free, Relaxed);
    state
}

/// Leaves room on the disk to others: to the tables above all, without which nothing can be acked.
pub(crate) fn has_room(shared: &Shared) -> Result<(), IoFault> {
    let reserve = shared.options.disk_reserve_bytes;
    if reserve == 0 {
        return Ok(());
    }
    let stat = disk::statvfs(&shared.dir).map_err(IoFault::at("ask for room in", &shared.dir))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= reserve + u64::from(shared.options.segment_bytes) {
        return Ok(());
    }
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    Err(IoFault::at("leave room to others in", &shared.dir)(full))
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
    disk::rename(&making, &free).map_err(IoFault::at("rename", &making))?;
    Ok(free)
}
