//! Simulated disks, one a node, and all that a simulated node must not ask the system for: randomness and the time of day.
//!
//! Everything below the path `/sim/N` is the disk of node N. It has an image of what is synced and what was written
//! since. [`crash`] makes the synced image, with a seeded part of the rest, what the next life of the node finds;
//! until [`revive`] every operation fails, so that a node that is being torn down changes nothing.
//! One thread runs all nodes; the lock around the world is never contended.

pub(crate) mod disk;
mod image;
pub(crate) mod kv;
mod pages;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::Image;

/// What a crash does to what was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: the system still has it all.
    Nothing,
    /// The power failed, and nothing of it had reached the disk.
    Everything,
    /// The power failed, and each sector had reached the disk or not.
    Torn,
}

/// Everything simulated.
pub(crate) struct World {
    random: u64,
    /// Milliseconds since the simulation began, as the harness tells.
    now_ms: u64,
    disks: BTreeMap<u64, Disk>,
    /// Which node each runtime runs.
    nodes: Vec<(tokio::runtime::Id, u64)>,
    /// What was applied first at an index of a group: its term, and a checksum of its body.
    applied: BTreeMap<(u32, u64), (u64, u32)>,
    objections: Vec<String>,
}

/// The disk of one node.
#[derive(Default)]
pub(crate) struct Disk {
    /// Counts crashes: a handle of an earlier life is void.
    pub(crate) life: u64,
    dead: bool,
    /// Changes until the disk dies by itself, and how.
    fuse: Option<(u64, Loss)>,
    /// By how much the node's clock is wrong.
    skew_ms: i64,
    /// Longest time that a sync of the log takes, beyond what it always takes.
    slow_ms: u64,
    /// How many bytes of files it takes.
    bytes_max: Option<u64>,
    pub(crate) image: Image,
    pub(crate) databases: BTreeMap<PathBuf, kv::Stored>,
    /// What was asked of it, for the trace.
    changes: u64,
}

static WORLD: Mutex<World> = Mutex::new(World {
    random: 0,
    now_ms: 0,
    disks: BTreeMap::new(),
    nodes: Vec::new(),
    applied: BTreeMap::new(),
    objections: Vec::new(),
});

pub(crate) fn world() -> MutexGuard<'static, World> {
    WORLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of node `node`.
pub fn root(node: u64) -> PathBuf {
    PathBuf::from(format!("/sim/{node}"))
}

/// The node whose disk `path` lies on.
pub(crate) fn node_of(path: &Path) -> u64 {
    let mut parts = path.strip_prefix("/sim").into_iter().flatten();
    let node = parts.next().and_then(|node| node.to_str()?.parse().ok());
    node.expect("a simulated node keeps its data below /sim/N")
}

/// Begins a simulation: empty disks, and all randomness from `seed`.
pub fn begin(seed: u64) {
    *world() = World {
        random: seed,
        now_ms: 0,
        disks: BTreeMap::new(),
        nodes: Vec::new(),
        applied: BTreeMap::new(),
        objections: Vec::new(),
    };
}

/// Says that the runtime of the caller runs node `node`.
pub fn run_as(node: u64) {
    let here = tokio::runtime::Handle::current().id();
    let mut world = world();
    world.nodes.retain(|(_, other)| *other != node);
    world.nodes.push((here, node));
}

/// The node that the runtime of the caller runs.
pub fn node_here() -> Option<u64> {
    let here = tokio::runtime::Handle::try_current().ok()?.id();
    let world = world();
    let found = world.nodes.iter().find(|(runtime, _)| *runtime == here);
    found.map(|(_, node)| *node)
}

/// A node applies an entry: whoever comes to the same index must find the same there.
pub fn note_applied(group: u32, index: u64, term: u64, sum: u32) {
    let node = node_here().unwrap_or_default();
    let mut world = world();
    let first = *world.applied.entry((group, index)).or_insert((term, sum));
    if first != (term, sum) {
        let what = format!(
            "node {node} applies {term}/{sum:08x} at entry {index} of group {group}, where another applied {}/{:08x}",
            first.0, first.1
        );
        world.objections.push(what);
    }
}

/// What was found wrong since the last call.
pub fn objections() -> Vec<String> {
    std::mem::take(&mut world().objections)
}

/// The next random number of the simulation.
pub fn random() -> u64 {
    world().random()
}

/// Tells the time since the simulation began.
pub fn set_now(ms: u64) {
    world().now_ms = ms;
}

/// The time of day at node `node`, in milliseconds since 1970.
pub fn time_of_day_ms(node: u64) -> u64 {
    /// 2026-01-01.
    const BEGIN_MS: u64 = 1_767_225_600_000;
    let mut world = world();
    let skew = world.disk(node).skew_ms;
    (BEGIN_MS + world.now_ms).saturating_add_signed(skew)
}

/// Sets by how much the clock of `node` is wrong.
pub fn set_skew(node: u64, ms: i64) {
    world().disk(node).skew_ms = ms;
}

/// Lets each sync of the log of `node` take up to `ms` longer.
pub fn set_slow(node: u64, ms: u64) {
    world().disk(node).slow_ms = ms;
}

/// Fills the disk of `node` but for so many bytes; or gives it room again.
pub fn set_full(node: u64, but_for: Option<u64>) {
    let mut world = world();
    let disk = world.disk(node);
    let bytes = disk.image.bytes();
    disk.bytes_max = but_for.map(|free| bytes + free);
}

/// How long the next sync at `path` takes, in milliseconds.
pub(crate) fn sync_ms(path: &Path) -> u64 {
    /// A sync takes up to so long.
    const SYNC_MS_MAX: u64 = 3;
    let mut world = world();
    let slow = world.disk(node_of(path)).slow_ms;
    world.random() % (SYNC_MS_MAX + slow + 1)
}

/// Kills node `node` between two operations: its disk is what `loss` leaves. Does nothing when it is dead already.
pub fn crash(node: u64, loss: Loss) {
    world().crash(node, loss);
}

/// Lets the disk of `node` die at its `changes`th change from now, in the middle of it.
pub fn crash_after(node: u64, changes: u64, loss: Loss) {
    world().disk(node).fuse = Some((changes, loss));
}

/// Whether the disk of `node` is dead: then its process must be ended too, before [`revive`].
pub fn is_dead(node: u64) -> bool {
    world().disk(node).dead
}

/// The disk can be used again, by new handles only.
pub fn revive(node: u64) {
    let mut world = world();
    let disk = world.disk(node);
    (disk.dead, disk.fuse) = (false, None);
}

/// Empties the disk of `node`.
pub fn wipe(node: u64) {
    let mut world = world();
    let life = world.disk(node).life + 1;
    let disk = Disk {
        life,
        ..Disk::default()
    };
    world.disks.insert(node, disk);
}

/// How many changes were made to the disk of `node`, for a trace.
pub fn changes(node: u64) -> u64 {
    world().disk(node).changes
}

impl Disk {
    /// Bytes that are free; plenty as long as nobody fills it.
    fn room(&self) -> u64 {
        let free = |max: u64| max.saturating_sub(self.image.bytes());
        self.bytes_max.map_or(1 << 40, free)
    }
}

impl World {
    /// SplitMix64.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn disk(&mut self, node: u64) -> &mut Disk {
        self.disks.entry(node).or_default()
    }

    /// The disk of `node`, for a handle of `life`.
    ///
    /// # Errors
    /// The node is off, or was since the handle was made.
    pub(crate) fn alive(&mut self, node: u64, life: u64) -> io::Result<&mut Disk> {
        let disk = self.disk(node);
        if disk.dead || disk.life != life {
            return Err(off());
        }
        Ok(disk)
    }

    /// The disk that `path` lies on, with the life of a new handle.
    ///
    /// # Errors
    /// The node is off.
    pub(crate) fn at(&mut self, path: &Path) -> io::Result<&mut Disk> {
        let disk = self.disk(node_of(path));
        if disk.dead {
            return Err(off());
        }
        Ok(disk)
    }

    /// To be called after each change of a disk: it may have been the last one.
    ///
    /// # Errors
    /// It was.
    pub(crate) fn changed(&mut self, node: u64) -> io::Result<()> {
        let disk = self.disk(node);
        disk.changes += 1;
        match &mut disk.fuse {
            Some((0, loss)) => {
                let loss = *loss;
                self.crash(node, loss);
                Err(off())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn crash(&mut self, node: u64, loss: Loss) {
        let mut disk = std::mem::take(self.disk(node));
        if !disk.dead {
            disk.dead = true;
            disk.life += 1;
            disk.image.crash(loss, &mut || self.random());
            for database in disk.databases.values_mut() {
                database.crash(loss, &mut || self.random());
            }
        }
        self.disks.insert(node, disk);
    }
}

/// What every operation of a dead disk says.
pub(crate) fn off() -> io::Error {
    io::Error::other("the machine is off")
}
