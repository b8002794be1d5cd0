//! The log at its boundary: what a caller sees, what survives a crash, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod basics;
mod crash;
mod faults;
mod model;
mod recycle;
mod space;
mod support;
mod threads;
