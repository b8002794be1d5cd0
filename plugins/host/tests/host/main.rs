//! The host through its public API: hostile guests, planning, and the plugins that ship.
#![allow(clippy::unwrap_used, clippy::panic)]

mod guests;
mod hostile;
mod inspecting;
mod planning;
mod speed;
mod support;
