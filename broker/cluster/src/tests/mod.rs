//! Tests of the room: openraft's own storage suite on the real stores, and whole nodes.
#![allow(clippy::unwrap_used)]

mod absent;
mod cold;
mod gate;
mod groups;
mod life;
mod load;
mod moves;
mod nodes;
mod piggyback;
mod rig;
mod snapshots;
mod strangers;
mod suite;
mod versions;
