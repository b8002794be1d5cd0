//! Integration tests: a real broker process for each test, spoken to over HTTP as a client would.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod bad_events;
mod bad_input;
mod batches;
mod components;
mod damage;
mod disk;
mod door;
mod events;
mod hostile;
mod house;
mod life;
mod parked;
mod process;
mod queues;
mod readme;
mod scene;
mod topics;
